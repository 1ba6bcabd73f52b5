"""Helpers and fixtures of the tests; networks, photos and data sets are made once and shared."""

import copy
import functools
import runpy
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings
from networks import export, small
from PIL import Image

import plqlite
from plqlite.calibration import ReferenceStatistics, Statistic
from plqlite.development import measure
from plqlite.experiments.noncompliance import NON_COMPLIANCES
from plqlite.networks import weights, zoo
from plqlite.reference import fit_reference_statistics

ROOT = Path(__file__).parents[1]
LFW100 = ROOT.parent / "shared" / "data" / "lfw100"  # of the maintainers: no part of the product

# A busy machine is slow, and that is no fault.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def tiny_model(seed=0, size=16, dimensions=6):
    """A seeded network of the same kind as the real ones: convolution, then an affine head."""
    torch.manual_seed(seed)
    backbone = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, stride=2), torch.nn.Softplus())
    width = backbone(torch.zeros(1, 3, size, size)).numel()
    head = torch.nn.Linear(width, dimensions)
    scaling = plqlite.Scaling(alpha=20.0, r=0.7, gamma=8.0)
    return plqlite.FaceModel("tiny", backbone, head, plqlite.Input(size, 127.5, 128.0), {}, scaling)


def reference_map(mean, std):
    """Reference statistics of a map alone."""
    return ReferenceStatistics({"level": Statistic(mean, std)}, torch.linspace(0, 1, 101))


def random_images(count, size=16, seed=1):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 254 + 1


def square(size=112, top=30, left=20, side=30):
    """A mask (size, size) of bool."""
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[top : top + side, left : left + side] = True
    return mask


def contents(folder, pattern="*"):
    """Return each file's bytes by name."""
    files = (path for path in folder.rglob(pattern) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@functools.cache
def built(name):
    """Build SFace or FaceNet once; a test that changes it takes a copy."""
    return getattr(plqlite, name)(device="cpu")


@functools.cache
def aligned_samples(name):
    return torch.cat([plqlite.load_face(photo, built(name)) for photo in plqlite.sample_faces().values()])


@pytest.fixture
def tiny():
    return tiny_model()


@pytest.fixture
def tiny_reference():
    """A tiny model with reference statistics from nine random images."""
    model = tiny_model(size=112)
    model.reference_statistics = fit_reference_statistics(measure(model, random_images(9, size=112, seed=5)))
    return model


@pytest.fixture
def images():
    return random_images(3)


@pytest.fixture(scope="session")
def sface():
    return built("sface")


@pytest.fixture(scope="session")
def facenet():
    return built("facenet")


@pytest.fixture(scope="session", params=["sface", "facenet"])
def model(request):
    """Both embedded models, in turn."""
    return built(request.param)


@pytest.fixture(scope="session")
def faces(model):
    """The nine sample faces, aligned for `model`."""
    return aligned_samples(model.name)


@pytest.fixture(scope="session")
def small_onnx(tmp_path_factory):
    """The smallest of ArcFace's kind, as a file; not to be changed."""
    return export(small(), tmp_path_factory.mktemp("small") / "small.onnx")


@pytest.fixture
def small_copy(small_onnx, tmp_path):
    """A copy of it, in a folder of its own."""
    return Path(shutil.copy(small_onnx, tmp_path / "r.onnx"))


@pytest.fixture
def torch_home(tmp_path, monkeypatch):
    """An empty cache of torch; returns where FaceNet's weights of VGGFace2 would be in it."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = tmp_path / "checkpoints" / weights.VGGFACE2.file
    path.parent.mkdir()
    return path


def reuse_networks(patch):
    """Give whoever asks for SFace or FaceNet by its name a copy of the one that was built."""

    def reused(name, build):
        def builder(*, device="auto"):
            return copy.deepcopy(built(name)) if device in ("auto", "cpu") else build(device=device)

        return builder

    for name in ("sface", "facenet"):
        patch.setitem(zoo.BUILDERS, name, reused(name, zoo.BUILDERS[name]))


def run_as_main(name, *arguments):
    """Run a data script in this process, as its command line would."""
    script = ROOT / "data_scripts" / f"{name}.py"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(script), *map(str, arguments)])
        reuse_networks(patch)
        return runpy.run_path(str(script), run_name="__main__")


def press_ctrl_c(program, when):
    """Interrupt a program when it has printed a line; return its exit status, and what it says."""

    def hear():  # what a shell starts in the background ignores Ctrl-C, and passes that on
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "preexec_fn": hear}
    with subprocess.Popen([sys.executable, "-c", program], **options) as started:
        assert started.stdout.readline() == when + "\n"
        started.send_signal(signal.SIGINT)
        said = started.communicate()[1]
    return started.returncode, said


@pytest.fixture
def run_script():
    return run_as_main


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


@pytest.fixture(scope="session")
def people_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("once") / "people"
    for name, photo in plqlite.sample_faces().items():
        (folder / name).mkdir(parents=True)
        Image.fromarray(photo).save(folder / name / f"{name}_0001.png")
    (folder / "letter.jpg").write_text("I am a letter")
    Image.new("RGB", (200, 200)).save(folder / "nobody.png")
    return folder


@pytest.fixture(scope="session")
def prepared_once(people_once):
    run_as_main("prepare_lfw", people_once, "--out", people_once.with_name("aligned"))
    return people_once.with_name("aligned")


@pytest.fixture
def people(people_once, tmp_path):
    """The nine sample photos in the layout of LFW, and two that cannot be used."""
    return shutil.copytree(people_once, tmp_path / "people")


@pytest.fixture
def few_people(people):
    """Three of the nine."""
    for name in ("actor", "group_1", "group_2", "group_3", "group_4", "group_5"):
        shutil.rmtree(people / name)
    return people


@pytest.fixture
def prepared(prepared_once, people_once, tmp_path):
    """Their crops and index, as prepare_lfw.py writes them."""
    folder = shutil.copytree(prepared_once, tmp_path / "aligned")
    skipped = (folder / "skipped.csv").read_text("utf-8")  # its reasons name the photos
    (folder / "skipped.csv").write_text(skipped.replace(str(people_once), str(tmp_path / "people")), "utf-8")
    return folder


@pytest.fixture
def keep_only():
    """Let a test keep a few non-compliances that tell as much as all; then they are back, in their order."""
    before = dict(NON_COMPLIANCES)

    def keep(names):
        for name in before.keys() - set(names):
            del NON_COMPLIANCES[name]

    yield keep
    NON_COMPLIANCES.clear()
    NON_COMPLIANCES.update(before)
