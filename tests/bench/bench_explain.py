"""How much the three steps cost beyond what no method can avoid.

    pytest tests/bench/bench_explain.py -n 0 --benchmark-columns=min,median --benchmark-sort=name

The limit is one forward pass of the backbone and one input gradient. The ratios to it are measured in one
run, in turn, and compared by their medians. All cores work on it, in one process: hence -n 0.
"""

import os
import statistics
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from networks import iresnet
from torch.nn.functional import normalize

import plqlite
from plqlite.quality import robustness

torch.set_num_threads(os.cpu_count())  # the other tests have one each, see conftest.py

PORTRAIT = plqlite.sample_faces()["astronaut"]


def limit(model, images):
    """One forward pass and one input gradient."""
    images = images.clone().requires_grad_()
    torch.autograd.grad(model(images).sum(), images)


@torch.no_grad()
def published(model, images, passes=100):
    """SER-FIQ by repeating the whole network."""
    masks = torch.Generator().manual_seed(0)
    embeddings = []
    for _ in range(passes):
        features = model.features(images)
        keep = torch.rand(features.shape[-1], generator=masks) >= 0.5
        embeddings.append(normalize(model.head(2 * features * keep), dim=-1))
    return robustness(torch.stack(embeddings, dim=1))


WAYS = {
    "limit": limit,
    "explain, closed form": plqlite.explain,
    "explain, 100 passes": partial(plqlite.explain, passes=100),
    "SER-FIQ, closed form": plqlite.ser_fiq_closed_form,
    "SER-FIQ, 100 passes": plqlite.ser_fiq,
    "SER-FIQ as published": published,
}


@pytest.fixture(scope="module", params=["sface", "facenet"])
def model(request):
    return getattr(plqlite, request.param)(device="cpu")


@pytest.mark.parametrize("batch", [1, 16])
@pytest.mark.parametrize("way", WAYS)
def test_time(benchmark, model, batch, way):
    images = plqlite.load_face(PORTRAIT, model).repeat(batch, 1, 1, 1)
    rounds = 1 if way == "SER-FIQ as published" else 7
    benchmark.pedantic(WAYS[way], (model, images), rounds=rounds, warmup_rounds=1 if rounds > 1 else 0)


def seconds(way, model, images):
    """Time one call."""
    start = time.perf_counter()
    WAYS[way](model, images)
    return time.perf_counter() - start


def ratio(way, to, model, images, rounds=21):
    """Median of the ratio of two ways that take turns, so that a slow moment hits both."""
    pairs = [(seconds(way, model, images), seconds(to, model, images)) for _ in range(rounds + 1)]
    return statistics.median(one / other for one, other in pairs[1:])  # the first pair warms up


def test_ratios(model, capsys):
    images = plqlite.load_face(PORTRAIT, model).repeat(16, 1, 1, 1)
    ratios = {
        way: ratio(way, "limit", model, images) for way in ("explain, closed form", "explain, 100 passes")
    }
    published = seconds("SER-FIQ as published", model, images)
    faster = {way: published / seconds(way, model, images) for way in list(WAYS)[1:-1]}
    with capsys.disabled():
        print(f"\n{model.name}, batch 16, limit {seconds('limit', model, images) / 16 * 1e3:.0f} ms an image")
        for way, value in ratios.items():
            print(f"  {way:<22} {value:.2f} × limit")
        for way, value in faster.items():
            print(f"  {way:<22} {value:.0f} times faster than SER-FIQ as published")
    assert ratios["explain, closed form"] < 1.10
    assert ratios["explain, 100 passes"] < 1.25
    assert faster["SER-FIQ, closed form"] > 50


@pytest.fixture(scope="module")
def resnet100():
    """ArcFace's IResNet-100 with random weights: the largest network in common use."""
    return plqlite.from_module(iresnet((3, 13, 30, 3)), last_layer="54", size=112, device="cpu")


def peak(way, model, images):
    """Most memory that the process holds during one call, in GiB."""
    Path("/proc/self/clear_refs").write_text("5")  # starts the count again
    WAYS[way](model, images)
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    return int(line.split()[1]) / 2**20


@pytest.mark.filterwarnings("ignore:.* is not calibrated")
def test_resnet100(resnet100, capsys):
    images = torch.rand(4, 3, 112, 112, generator=torch.Generator().manual_seed(0)) * 255
    ways = ("explain, closed form", "explain, 100 passes")
    ratios = {way: ratio(way, "limit", resnet100, images, rounds=9) for way in ways}
    memory = {way: peak(way, resnet100, images) for way in ways} if sys.platform == "linux" else {}
    with capsys.disabled():
        limit = seconds("limit", resnet100, images) / 4
        print(f"\nIResNet-100, batch 4, limit {limit * 1e3:.0f} ms an image")
        for way in ways:
            print(f"  {way:<22} {ratios[way]:.2f} × limit, {memory.get(way, float('nan')):.2f} GiB")
    assert ratios["explain, closed form"] < 1.05
    assert ratios["explain, 100 passes"] < 1.25
    if memory:
        assert memory["explain, 100 passes"] < 1.2 * memory["explain, closed form"]
