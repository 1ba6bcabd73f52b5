from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from facenet_pytorch import InceptionResnetV1, fixed_image_standardization
from networks import export, iresnet, with_statistics
from torch.nn.functional import normalize

import plqlite
from conftest import random_images
from plqlite.networks import weights
from plqlite.networks.weights import SFACE, find_weights


def test_facenet_equals_tensorflow(facenet):
    golden = np.load(Path(__file__).parent / "data" / "facenet_casia_golden.npz")["embedding"]
    whitened = np.random.default_rng(0).normal(size=(1, 160, 160, 3)).astype("float32")
    features = facenet.backbone(torch.tensor(whitened).permute(0, 3, 1, 2)).flatten(1)
    np.testing.assert_allclose(normalize(facenet.head(features), dim=-1).numpy(), golden, atol=1e-6, rtol=0)


def test_facenet_takes_pixels_as_it_was_trained_to(facenet):
    """(x − 127.5)/128 (facenet-pytorch's fixed_image_standardization)."""
    images = random_images(2, size=160)
    features = facenet.backbone(fixed_image_standardization(images)).flatten(1)
    torch.testing.assert_close(facenet.features(images), features)


def test_sface_equals_onnx_runtime(sface):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # it warns of weights that are listed as inputs
    session = onnxruntime.InferenceSession(find_weights(SFACE), options)
    types = {"tensor(float)": np.float32, "tensor(int8)": np.int8, "tensor(int64)": np.int64}
    images = random_images(1, size=112)
    feeds = {each.name: np.zeros(each.shape, types[each.type]) for each in session.get_inputs()}
    expected = session.run(None, feeds | {"data": images.numpy()})[0]
    np.testing.assert_allclose(sface.head(sface.features(images)).numpy(), expected, atol=1e-5, rtol=0)


def test_embeddings_tell_faces_apart(model):
    """The two portraits are of two subjects, and each mirrored portrait is of the same subject."""
    photos = [plqlite.sample_faces()[name] for name in ("astronaut", "grace_hopper")]
    photos += [photo[:, ::-1] for photo in photos]
    e = model(torch.cat([plqlite.load_face(np.ascontiguousarray(photo), model) for photo in photos]))
    similarity = e @ e.T
    assert min(similarity[0, 2], similarity[1, 3]) > 0.6
    assert similarity[:2, :2][0, 1] < 0.3


def test_missing_device_is_named():
    with pytest.raises(ValueError, match=r"'tpu' is not available here: choose from .*cpu"):
        plqlite.sface(device="tpu")


# --- ArcFace, in InsightFace's own folder ---


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pack", "file", "blocks", "name", "folder"),
    [
        ("buffalo_l", "w600k_r50.onnx", (3, 4, 14, 3), "arcface", ""),
        # As its zip unpacks; twice the blocks would take twice the time and show no more.
        ("antelopev2", "glintr100.onnx", (1, 1, 1, 1), "arcface-r100", "antelopev2"),
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


# --- FaceNet trained on VGGFace2, in facenet-pytorch's own cache ---


@pytest.mark.slow
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
