"""How much the three steps cost beyond what no method can avoid.

    pytest tests/bench/bench_explain.py --benchmark-columns=min,median --benchmark-sort=name

The limit is one forward pass of the backbone and one gradient with respect to the pixels. The
ratios to it are measured in one run, in turn, and compared by their medians.
"""

import statistics
import time
from functools import partial

import pytest
import torch
from torch.nn.functional import normalize

import plqlite
from plqlite.quality import robustness

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
    "explain, closed form": partial(plqlite.explain, passes=None),
    "explain, 100 passes": plqlite.explain,
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
    assert ratios["explain, 100 passes"] < 1.35
    assert faster["SER-FIQ, closed form"] > 50
