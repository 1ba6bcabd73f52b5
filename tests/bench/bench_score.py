"""How fast a data set is scored, as ratios to what the work is made of, measured in one run.

    pytest tests/bench/bench_score.py -n 0

All cores work on it: hence -n 0. It takes about ten minutes on two cores.
"""

import contextlib
import ctypes
import itertools
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from bench_explain import limit
from PIL import Image

import plqlite
from plqlite.networks import onnx
from plqlite.scale import score
from plqlite.scale.memory import M_MMAP_MAX, M_TRIM_THRESHOLD, keep_freed_memory

torch.set_num_threads(os.cpu_count())  # the other tests have one each, see conftest.py

CUDA = torch.cuda.is_available()


@pytest.fixture(params=["sface", "facenet"])
def pair(request, monkeypatch):
    """A model, and the same with the network as it comes: nothing folded, torch's own memory format."""
    build = getattr(plqlite, request.param)
    model = build()
    monkeypatch.setattr(onnx, "fold_batch_norm", lambda backbone, _: backbone)
    bare = build()
    bare.features = lambda images: bare.backbone(bare.input.normalise(images).contiguous()).flatten(1)
    return model, bare


def perturbed(faces, count):
    """Yield sample faces, (H, W, 3), each under a small perturbation of its own."""
    generator = torch.Generator().manual_seed(0)
    for number, face in zip(range(count), itertools.cycle(faces)):
        noise = 4 * torch.randn(face.shape, generator=generator)
        yield f"{number:05}.png", (torch.from_numpy(face) + noise).clamp(0, 255).byte().numpy()


def write(folder, images):
    """Write images to a folder."""
    folder.mkdir()
    for name, pixels in images:
        Image.fromarray(pixels).save(folder / name, compress_level=1)
    return folder


def seconds(work, *arguments, **options):
    """Time one call."""
    start = time.perf_counter()
    work(*arguments, **options)
    if CUDA:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def of_limit(model, images, batch):
    """Seconds an image of one forward pass and one input gradient."""
    some = images.repeat(-(-batch // len(images)), 1, 1, 1)[:batch]
    return statistics.median(seconds(limit, model, some) for _ in range(5)) / batch


def rate_of_score(model, few, many, folder, **options):
    """Images a second; the start, which does not grow with their number, is taken off."""
    times = [  # the first one imports what all workers use
        seconds(score, photos, folder / f"out {number}", model, quiet=True, **options)
        for number, photos in enumerate((few, few, many))
    ]
    return (len(os.listdir(many)) - len(os.listdir(few))) / (times[2] - times[1])


@contextlib.contextmanager
def freed_memory_kept():
    """As in `plqlite score`; afterwards glibc returns memory as it does by default."""
    keep_freed_memory()
    yield
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_MAX, 65536)
        library.mallopt(M_TRIM_THRESHOLD, 128 * 1024)


def test_aligned_faces(pair, tmp_path, capsys):
    """Ten portions take turns with the network alone, so that a slow moment hits both."""
    model = pair[0]
    faces = [plqlite.load_face(photo, model)[0] for photo in plqlite.sample_faces().values()]
    pixels = [face.permute(1, 2, 0).byte().cpu().numpy() for face in faces]
    images, count = torch.stack(faces), 960 if CUDA else 192  # whole batches
    batches = (16, 64, 256) if CUDA else (4, 8, 16, 32)
    workers = os.cpu_count() if CUDA else 0
    options = {"aligned": True, "workers": workers, "batch": 64 if CUDA else 32, "quiet": True}
    best = [min(batches, key=lambda batch: of_limit(each, images, batch)) for each in pair]
    ratios = []
    for number in range(10):
        crops = write(tmp_path / f"crops {number}", perturbed(pixels, count))
        out = tmp_path / f"out {number}"
        with freed_memory_kept():
            took = seconds(score, crops, out, model, **options) / count
        alone = [of_limit(each, images, batch) for each, batch in zip(pair, best, strict=True)]
        ratios.append([each / took for each in alone])
    own, as_it_comes = (statistics.median(each) for each in zip(*ratios, strict=True))
    with capsys.disabled():
        print(f"\n{model.name}: {1 / took:.1f} faces a second, with the start of {workers} workers;", end=" ")
        print(f"of the network alone, as it comes (batches of {best[1]}) {as_it_comes:.2f},", end=" ")
        print(f"folded ({best[0]}) {own:.2f}")
    if not CUDA:  # a GPU waits for the processes that feed it
        assert as_it_comes > 0.92


def naive(folder, model):
    """Score the photos of a folder one after the other."""
    for path in sorted(folder.iterdir()):
        plqlite.explain(model, plqlite.load_face(path, model))


def test_photos(tmp_path, capsys):
    """Detection included."""
    model, cores = plqlite.sface(), os.cpu_count()
    faces = [plqlite.sample_faces()[name] for name in ("astronaut", "grace_hopper")]
    few = write(tmp_path / "few", perturbed(faces, 4 * cores))
    many = write(tmp_path / "many", perturbed(faces, 50 * cores))
    slow = 4 * cores / seconds(naive, few, model)
    fast = rate_of_score(model, few, many, tmp_path, workers=cores)
    with capsys.disabled():
        print(f"\nfrom photos, {cores} cores: {fast:.1f} a second, {fast / slow:.2f} × the naive loop")
    assert fast / slow > (3 if cores > 4 else 1.25)  # on two cores, explain alone takes a third of the loop


PEAK = """
import re, sys, torch
sys.path.insert(0, "tests")
from conftest import tiny_model
from plqlite.scale import score
from plqlite.scale.memory import keep_freed_memory
torch.set_num_threads(1)
keep_freed_memory()
score(sys.argv[1], sys.argv[2], tiny_model(), aligned=True, workers=0, quiet=True)
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
"""


def test_memory_does_not_grow(tmp_path, capsys):
    """A tiny network, so that 20,000 images take seconds; what grows with them would grow with any."""
    peaks = []
    for count in (2000, 20_000):
        folder = tmp_path / str(count)
        folder.mkdir()
        Image.fromarray(plqlite.sample_faces()["astronaut"][:16, :16]).save(folder / "0.png")
        for number in range(1, count):
            os.link(folder / "0.png", folder / f"{number}.png")
        line = [sys.executable, "-c", PEAK, str(folder), str(tmp_path / f"out {count}")]
        done = subprocess.run(line, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=True)
        peaks.append(int(done.stdout) / 1024)
    with capsys.disabled():
        print(f"\npeak of memory at 2000 and 20,000 images: {peaks[0]:.0f} and {peaks[1]:.0f} MiB")
    assert peaks[1] < 1.1 * peaks[0]
