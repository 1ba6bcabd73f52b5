"""Any face recognition network from an ONNX file."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import onnx
import torch
from torch.nn.functional import normalize

from plqlite.faces import align_arcface
from plqlite.networks import onnx_graph
from plqlite.networks.model import FaceModel, Input, UnusableModel, pick_device
from plqlite.networks.module import (
    check_gradient,
    describe_head,
    fold_batch_norm,
    fold_head,
    name_in_errors,
    probe_images,
)


def from_onnx(
    path: str | Path,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    channels: str = "RGB",
    align: Callable = align_arcface,
    size: int | None = None,
    split: str | None = None,
    output: str | None = None,
    check: bool = True,
    *,
    device: str = "auto",
) -> FaceModel:
    """Build a model from the ONNX file of any face-recognition network.

    The network is split at its last fully connected layer, whose input are the features that dropout
    acts on. `model.card` says where, and how images enter.

    Parameters
    ----------
    path : the file; weights that it keeps in other files must be in its folder
    mean, std : the network's input is (image − mean)/std, RGB 0..255; 127.5 each if not stated, as for
        ArcFace, and ignored where the graph itself scales pixels of 0..255
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
        It is not an ONNX file or not a face recognition network, cannot be split or converted, or ONNX
        Runtime disagrees.

    Examples
    --------
    >>> from plqlite.networks.weights import SFACE, find_weights
    >>> from_onnx(find_weights(SFACE)).card["head"]
    'affine, 50176 → 128'
    """
    path = Path(path)
    proto, digest = onnx_graph.read_onnx(path)
    with name_in_errors(path.name):
        graph = onnx_graph.embedding_graph(proto, size, output)
        layer, features = onnx_graph.find_split(graph, split)
        mean, std = _input_scaling(graph, mean, std)
        input = Input(graph.image.size, mean, std, channels, align)
        backbone, head = _parts(graph, features, input)
    card = {"licence": "unknown, ask its source", "source": path.name, "sha256": digest, "split": layer}
    card["head"] = describe_head(head)
    model = FaceModel(path.stem, backbone, head, input, card, file=path)
    if check:
        with name_in_errors(path.name):
            _check_against_onnx_runtime(model, proto, graph, output)
            check_gradient(model)
    model.restore_calibration()
    return model.to(pick_device(device))


def _parts(graph: onnx_graph.Graph, features: str, input: Input) -> tuple[torch.nn.Module, torch.nn.Module]:
    """Rebuild backbone and head in torch."""
    shape = (3, graph.image.size, graph.image.size)
    pixels = torch.from_numpy(input.normalise(probe_images(input.size)).numpy().astype(graph.image.dtype))
    backbone = onnx_graph.to_torch(graph, graph.image.name, shape, features).eval()
    backbone = fold_batch_norm(backbone, pixels)
    with torch.no_grad():
        example = backbone(pixels)  # (3, …)
    head = onnx_graph.to_torch(graph, features, tuple(example.shape[1:]), graph.embedding).eval()
    return backbone, fold_head(head, example)


def _input_scaling(
    graph: onnx_graph.Graph, mean: float | Sequence[float] | None, std: float | Sequence[float] | None
) -> tuple[float | Sequence[float], float | Sequence[float]]:
    """Choose mean and std: none where the graph scales, else those stated, else ArcFace's."""
    stated, inside = (mean is not None or std is not None), onnx_graph.scales_its_input(graph)
    if inside:
        if stated:
            warnings.warn("The graph scales its input itself: mean and std are ignored.", stacklevel=3)
        return 0.0, 1.0
    if inside is None and not stated:
        raise UnusableModel(
            "The graph begins with arithmetic, but with none that fits pixels of 0..255: state what must "
            "come before it, as in mean=0, std=255 for pixels of 0..1."
        )
    return 127.5 if mean is None else mean, 127.5 if std is None else std


@torch.no_grad()
def _check_against_onnx_runtime(
    model: FaceModel, proto: onnx.ModelProto, graph: onnx_graph.Graph, output: str | None
) -> None:
    """Refuse a model that does not return what ONNX Runtime returns, for one image and for three."""
    images = probe_images(model.size).to(next(model.parameters()))
    pixels = model.input.normalise(images).numpy()
    expected = torch.from_numpy(onnx_graph.onnx_runtime(proto, graph, pixels, output))
    expected = normalize(expected, dim=-1)
    spread = (expected - expected.mean(0)).abs().max()
    if not spread > 1e-4:  # also if it is not a number
        raise UnusableModel("noise, a slope and a flat image all get the same embedding.")
    for count in (1, 3):
        difference = (model(images[:count]) - expected[:count]).abs().max()
        if not difference < min(1e-4, 0.01 * spread):
            raise UnusableModel(
                f"embeddings of {count} images differ from ONNX Runtime's by {difference:.1e}, so the "
                "conversion cannot be trusted; check=False loads it all the same."
            )
