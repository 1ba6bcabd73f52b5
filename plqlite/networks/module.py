"""Any torch module as a model: split where dropout acts, into a backbone and a head."""

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch.nn.functional import normalize
from torch.nn.utils.fusion import fuse_conv_bn_weights

from plqlite.faces import align_arcface
from plqlite.networks.model import FaceModel, Input, UnusableModel, pick_device

LARGEST_EMBEDDING = 4096  # numbers; beyond, it is a classifier's output


def from_module(
    module: torch.nn.Module,
    last_layer: str,
    size: int,
    mean: float | Sequence[float] = 127.5,
    std: float | Sequence[float] = 127.5,
    channels: str = "RGB",
    align: Callable = align_arcface,
    name: str | None = None,
    *,
    device: str = "auto",
) -> FaceModel:
    """Build a model from any torch module that returns embeddings (B, d).

    The input of the last linear layer are the features that dropout acts on; the head is that layer
    and the layers called after it. The module is copied, not changed.

    Parameters
    ----------
    module : takes images (B, 3, size, size)
    last_layer : name of its last linear layer, as in `module.named_modules()`
    size : height and width of an image in pixels
    mean, std, channels, align : how images enter the module, see `Input`
    name : of the model; default: the module's class
    device : "auto" takes cuda, then mps, then cpu

    Raises
    ------
    TypeError
        It is no module.
    ValueError
        There is no layer of that name, or the input cannot be right.
    UnusableModel
        See `head_after`, `check_batch` and `check_gradient`.

    Examples
    --------
    >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 8))
    >>> from_module(network, last_layer="1", size=16).card["head"]
    'affine, 768 → 8'
    """
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"from_module takes a torch.nn.Module, found {type(module).__name__}.")
    if last_layer not in dict(module.named_modules()):
        linear = [each for each, layer in module.named_modules() if isinstance(layer, torch.nn.Linear)]
        raise ValueError(
            f"There is no layer {last_layer!r}; the linear ones are {', '.join(linear) or 'none'}."
        )
    input = Input(size, mean, std, channels, align)
    name = name or type(module).__name__
    with name_in_errors(name):
        module = copy.deepcopy(module).cpu().eval()
        layer, weight = module.get_submodule(last_layer), next(module.parameters())
        if weight.dtype not in (torch.float32, torch.float64):
            raise UnusableModel(
                "half precision is too coarse for the distances of Eq. 1: give it as .float()."
            )
        pixels = input.normalise(probe_images(size).to(weight))
        head = head_after(module, layer, pixels)
        backbone = fold_batch_norm(Before(module, layer), pixels)
        card = {"licence": "unknown, ask its source", "source": type(module).__name__, "split": last_layer}
        card["head"] = describe_head(head)
        model = FaceModel(name, backbone, head, input, card)
        check_batch(model)
        check_gradient(model)
    return model.to(pick_device(device))


@contextlib.contextmanager
def name_in_errors(name: str) -> Iterator[None]:
    """Name the model in whatever goes wrong: a stranger's network can be wrong in any way.

    Examples
    --------
    >>> with name_in_errors("net.onnx"):
    ...     raise UnusableModel("it holds no network.")
    Traceback (most recent call last):
    plqlite.networks.model.UnusableModel: net.onnx: it holds no network.
    """
    try:
        yield
    except UnusableModel as error:
        raise UnusableModel(f"{name}: {error}") from error
    except Exception as error:
        raise UnusableModel(f"{name} cannot be used ({type(error).__name__}: {error}).") from error


def probe_images(size: int) -> torch.Tensor:
    """Make three images that differ much, RGB 0..255: noise, a slope and a flat one.

    Examples
    --------
    >>> probe_images(112).shape
    torch.Size([3, 3, 112, 112])
    """
    noise = torch.rand(3, size, size, generator=torch.Generator().manual_seed(0)) * 255
    slope = torch.linspace(0, 255, size).expand(3, size, size)
    return torch.stack([noise, slope, torch.full_like(noise, 200.0)])


@torch.no_grad()
def check_batch(model: FaceModel) -> None:
    """Refuse a model in which the embedding of one image depends on the others of the batch.

    Examples
    --------
    >>> import plqlite
    >>> check_batch(plqlite.sface(device="cpu"))
    """
    images = probe_images(model.size).to(next(model.parameters()))
    together = model(images)
    alone = torch.cat([model(image[None]) for image in images])
    difference = (together - alone).abs().max()
    if not difference < 1e-4:  # also if it is not a number
        raise UnusableModel(
            f"an image's embedding depends on the others of its batch: it changes by {difference:.1e}."
        )


def check_gradient(model: FaceModel) -> None:
    """Refuse a model whose embedding has no input gradient: its maps would be empty.

    Examples
    --------
    >>> import plqlite
    >>> check_gradient(plqlite.sface(device="cpu"))
    """
    images = probe_images(model.size)[:1].to(next(model.parameters())).requires_grad_()
    with torch.enable_grad():
        embedding = model(images)
        gradient = torch.autograd.grad(embedding.sum(), images)[0] if embedding.requires_grad else None
    if gradient is None or not gradient.abs().max() > 0:
        raise UnusableModel("no gradient comes back to the pixels (rounding, no_grad or detach inside?).")


class Before(torch.nn.Module):
    """What a module computes before one of its layers: the input of that layer."""

    def __init__(self, module: torch.nn.Module, layer: torch.nn.Module) -> None:
        super().__init__()
        self.module, self.layer = module, layer

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Run the module and catch the input of its layer: (B, 3, H, W) -> (B, …)."""
        inputs = []
        hook = self.layer.register_forward_pre_hook(
            lambda _, arguments, named: inputs.append([*arguments, *named.values()][0]), with_kwargs=True
        )
        try:
            self.module(pixels)
        finally:
            hook.remove()
        if not inputs:
            raise UnusableModel("it never calls that layer: name the last linear one that it calls.")
        return inputs[-1]


class Head(torch.nn.Module):
    """A head that is not affine: layers, given features in the shape that they expect."""

    def __init__(self, layers: torch.nn.Module, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.layers, self.shape = layers, shape

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Compute embeddings, not normalised: (..., D) -> (..., d)."""
        embeddings = self.layers(features.reshape(-1, *self.shape))
        return embeddings.reshape(*features.shape[:-1], -1)


@torch.no_grad()
def head_after(
    module: torch.nn.Module, layer: torch.nn.Module, pixels: torch.Tensor
) -> "torch.nn.Linear | Head":
    """Build the head of a module: its last linear layer, and the layers that it calls after that one.

    A final L2 normalisation is left out, as FaceModel normalises itself. That the head returns what the
    module returns, up to its length, is checked on the images.

    Parameters
    ----------
    module : in evaluation mode
    layer : one of its layers
    pixels : (B, 3, H, W), a few images that differ, as the module takes them

    Raises
    ------
    UnusableModel
        The module fails, leaves evaluation mode, does not return embeddings, never calls the layer, or
        what follows the layer is not a chain of layers.

    Examples
    --------
    >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 8), torch.nn.BatchNorm1d(8))
    >>> head_after(network.eval(), network[1], torch.rand(2, 3, 4, 4))
    Linear(in_features=48, out_features=8, bias=True)
    """
    try:
        called, output = _calls(module, layer, pixels.clone())  # it may scale them in place
        features = Before(module, layer)(pixels.clone())
    except UnusableModel:
        raise
    except Exception as error:  # a stranger's module may raise anything: pass the reason on
        raise UnusableModel(f"it fails on images of shape {tuple(pixels.shape)}: {error}") from error
    if not isinstance(output, torch.Tensor) or output.ndim != 2:
        found = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        raise UnusableModel(f"it returns {found}: wrap it so that it returns embeddings (B, d) alone.")
    if any(each.training for each in module.modules()):
        raise UnusableModel("its forward switches layers to training mode: take that out.")
    last = max(i for i, each in enumerate(called) if each is layer)
    try:
        head = fold_head(torch.nn.Sequential(*called[last:]), features)
        difference = (normalize(head(features.flatten(1))) - normalize(output)).abs().max()
    except RuntimeError:  # these layers do not even fit together
        difference = torch.tensor(torch.inf)
    if not difference < 1e-4:  # also if it is not a number
        raise UnusableModel(
            f"what it does after that layer is not a chain of layers: embeddings would be off by "
            f"{difference:.1e}. Wrap it in a module that ends in such a chain."
        )
    return head


def _calls(
    module: torch.nn.Module, layer: torch.nn.Module, pixels: torch.Tensor
) -> tuple[list[torch.nn.Module], torch.Tensor]:
    """Run a module; return its layers in the order in which they are called, and its output."""
    called = []
    layers = [each for each in module.modules() if each is layer or not list(each.children())]
    hooks = [each.register_forward_hook(lambda each, *_: called.append(each)) for each in layers]
    try:
        return called, module(pixels)
    finally:
        for hook in hooks:
            hook.remove()


def fold_head(layers: torch.nn.Module, features: torch.Tensor) -> torch.nn.Linear | Head:
    """Fold an affine head, such as a linear layer and BatchNorm, into one linear layer.

    The bias is the head's value at 0, the weight its Jacobian there. Whether the head is affine is
    checked on random features; where it is not, the layers stay as they are.

    Parameters
    ----------
    layers : in evaluation mode
    features : an example of their input, (B, …)

    Examples
    --------
    >>> layers = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.BatchNorm1d(4)).eval()
    >>> fold_head(layers, torch.rand(1, 8))
    Linear(in_features=8, out_features=4, bias=True)
    """
    head = Head(layers, tuple(features.shape[1:]))
    exact = copy.deepcopy(head).double()  # no rounding added
    width = features[0].numel()
    count = exact(torch.zeros(1, width, dtype=torch.float64)).shape[-1]
    if count > LARGEST_EMBEDDING:
        raise UnusableModel(f"An embedding has a few hundred numbers, this one has {count}: a classifier?")
    zeros = torch.zeros(count, width, dtype=torch.float64, requires_grad=True)
    with torch.enable_grad():
        values = exact(zeros)  # (d, d): row i for output i
    (weight,) = torch.autograd.grad(values, zeros, torch.eye(count, dtype=torch.float64))  # (d, D)
    linear = torch.nn.Linear(width, count, device="meta")
    linear.weight, linear.bias = torch.nn.Parameter(weight), torch.nn.Parameter(values[0].detach())
    random = torch.randn(4, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    random *= torch.tensor([[1.0], [10.0], [100.0], [1000.0]])  # a bend may be far out
    places = torch.cat([random, features.flatten(1).double()])
    with torch.no_grad():
        expected, found = exact(places), linear(places)  # (4 + B, d) each
    affine = (found - expected).abs().amax(1) <= 1e-6 * expected.abs().amax(1)
    return (linear if affine.all() else head).to(features.dtype)


@torch.no_grad()
def fold_batch_norm(backbone: torch.nn.Module, pixels: torch.Tensor) -> torch.nn.Module:
    """Fold each BatchNorm into the convolution before it: the same features in less time.

    Its constants scale and shift the convolution's output, so weight and bias can do that as well. Which
    belong together is seen by running the backbone. Where something else takes the output of such a
    convolution too, features change: then all stays as it was.

    Parameters
    ----------
    backbone : in evaluation mode; it is not changed
    pixels : (B, 3, H, W), a few images that differ, as the backbone takes them

    Examples
    --------
    >>> layers = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).eval()
    >>> fold_batch_norm(layers, torch.rand(1, 3, 8, 8))[1]
    Identity()
    """
    pairs = _convolutions_and_norms(backbone, pixels.clone())
    if not pairs:
        return backbone
    folded = copy.deepcopy(backbone)
    for convolution, norm in pairs:
        layer: Any = folded.get_submodule(convolution)
        by: Any = folded.get_submodule(norm)
        statistics = by.running_mean, by.running_var, by.eps, by.weight, by.bias
        layer.weight, layer.bias = fuse_conv_bn_weights(layer.weight, layer.bias, *statistics)
        above, _, name = norm.rpartition(".")
        setattr(folded.get_submodule(above), name, torch.nn.Identity())
    expected, found = backbone(pixels.clone()), folded(pixels.clone())
    return folded if (found - expected).abs().max() <= 1e-4 * expected.abs().max() else backbone


def _convolutions_and_norms(module: torch.nn.Module, pixels: torch.Tensor) -> list[tuple[str, str]]:
    """Run a module; return the names of its convolutions whose output a BatchNorm takes, and of that one."""
    made: dict[int, tuple[str, object]] = {}  # by its address: who made it, and itself, so that it stays
    pairs = []

    def collect(name: str, layer: torch.nn.Module, inputs: tuple, output: object) -> None:
        if type(layer) is torch.nn.Conv2d and not layer._forward_pre_hooks:  # these may make the weights
            made[id(output)] = name, output
        elif type(layer) is torch.nn.BatchNorm2d and layer.running_mean is not None and id(inputs[0]) in made:
            pairs.append((made[id(inputs[0])][0], name))

    hooks = [layer.register_forward_hook(partial(collect, name)) for name, layer in module.named_modules()]
    try:
        module(pixels)
    finally:
        for hook in hooks:
            hook.remove()
    return list(dict.fromkeys(pairs))


def describe_head(head: torch.nn.Module) -> str:
    """Say whether there is a closed form of SER-FIQ for a head.

    Examples
    --------
    >>> describe_head(torch.nn.Linear(8, 4))
    'affine, 8 → 4'
    """
    if isinstance(head, torch.nn.Linear):
        return f"affine, {head.in_features} → {head.out_features}"
    return "not affine: no closed form"
