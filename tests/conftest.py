import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

import plqlite
from plqlite.models import Usual

ROOT = Path(__file__).parents[1]


def tiny_model(seed=0, size=16, dimensions=6):
    """A seeded network of the same kind as the real ones: convolution, then an affine head."""
    torch.manual_seed(seed)
    backbone = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, stride=2), torch.nn.Softplus())
    width = backbone(torch.zeros(1, 3, size, size)).numel()
    head = torch.nn.Linear(width, dimensions)
    scaling = plqlite.Scaling(alpha=20.0, r=0.7, gamma=8.0)
    return plqlite.FaceModel("tiny", backbone, head, size, 127.5, 128.0, None, scaling, {})


def usual_map(mean, spread):
    """What is usual to a model, as far as `below_usual` asks."""
    return Usual(mean, spread, torch.zeros(8), torch.ones(8), torch.linspace(0, 1, 101))


def random_images(count, size=16, seed=1):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 254 + 1


@pytest.fixture
def tiny():
    return tiny_model()


@pytest.fixture
def images():
    return random_images(3)


@pytest.fixture(scope="session", params=["sface", "facenet"])
def model(request):
    """Both embedded models, in turn."""
    return getattr(plqlite, request.param)(device="cpu")


@pytest.fixture(scope="session")
def faces(model):
    """The nine sample faces, aligned for `model`."""
    return torch.cat([plqlite.load_face(photo, model) for photo in plqlite.sample_faces().values()])


@pytest.fixture
def run_script(monkeypatch):
    """Run a data script in this process, as its command line would."""

    def run(name, *arguments):
        script = ROOT / "data_scripts" / f"{name}.py"
        monkeypatch.setattr(sys, "argv", [str(script), *map(str, arguments)])
        return runpy.run_path(str(script), run_name="__main__")

    return run


@pytest.fixture
def interrupt(monkeypatch):
    """Let a function of a module be interrupted at one of its calls, as by Ctrl-C."""

    def interrupt(module, name, at):
        original, calls = getattr(module, name), []

        def interrupted(*arguments):
            calls.append(arguments)
            if len(calls) == at:
                raise KeyboardInterrupt
            return original(*arguments)

        monkeypatch.setattr(module, name, interrupted)
        return calls

    return interrupt


@pytest.fixture
def people(tmp_path):
    """The nine sample photos in the layout of LFW, and two that cannot be used."""
    folder = tmp_path / "people"
    for name, photo in plqlite.sample_faces().items():
        (folder / name).mkdir(parents=True)
        Image.fromarray(photo).save(folder / name / f"{name}_0001.png")
    (folder / "letter.jpg").write_text("I am a letter")
    Image.new("RGB", (200, 200)).save(folder / "nobody.png")
    return folder


@pytest.fixture
def pytester_run():
    """Run pytest on one notebook, with this project's own settings; returns its exit status."""

    def run(path):
        command = [sys.executable, "-m", "pytest", "-q", "-c", str(ROOT / "pyproject.toml")]
        return subprocess.run(
            [*command, f"--rootdir={path.parent}", str(path)], cwd=ROOT, capture_output=True
        ).returncode

    return run
