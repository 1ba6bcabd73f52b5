"""ONNX files of face-recognition networks: read as data, split where dropout acts, rebuilt in torch.

A file may come from a stranger. Of its operations only those between image and embedding are looked
at, constants are computed for a few harmless ones only, names are replaced before torch writes a
function from them, and no file outside the model's folder is read.
"""

import copy
import hashlib
import math
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnx.reference
import onnx2torch
import torch
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import load_external_data_for_model, uses_external_data

from plqlite.files import require_file
from plqlite.networks.model import UnusableModel
from plqlite.networks.module import LARGEST_EMBEDDING

DTYPES = {TensorProto.FLOAT: np.float32, TensorProto.DOUBLE: np.float64}
TORCH_OPSET = 17  # the edition of the operations that onnx2torch knows best
# What may come before the first layer with weights: arithmetic on pixels, and what moves them about.
ARITHMETIC = {"Sub", "Add", "Mul", "Div", "BatchNormalization"}
MOVES = {"Transpose", "Cast", "Gather", "GatherND", "Reshape", "Slice", "Clip", "Pad"}
# What is evaluated if its inputs are constants. None of these opens files, searches or makes things large.
SHAPE = {"Shape", "Gather", "Slice", "Concat", "Cast", "Squeeze", "Unsqueeze", "ConstantOfShape"}
FOLDED = {"Constant", "DequantizeLinear", "Identity", "Neg", "Pow", "Reciprocal", "Sqrt"}
FOLDED |= {"Flatten", "Reshape", "Transpose"} | ARITHMETIC | SHAPE
GROWS = {"ConvTranspose", "Expand", "Pad", "Resize", "Tile", "Upsample"}  # may make much of little
CLASSES = {"Softmax", "LogSoftmax", "Sigmoid", "ArgMax", "TopK"}  # what ends a classifier
LARGEST = {
    "size": 1024,
    "batch": 256,
    "embedding": LARGEST_EMBEDDING,
    "values": 2**25,  # of one intermediate result for one image, or of a constant
    "all values": 2**28,  # together: a GiB
}  # beyond: no face recognition network, or a trap


class ImageInput(NamedTuple):
    """How a graph takes images."""

    name: str
    batch: int  # that the file is made for; 0 if any
    size: int  # height and width in pixels
    channels_last: bool  # images are (B, H, W, 3), not (B, 3, H, W)
    dtype: type  # of a pixel: np.float32 or np.float64

    def shape(self, batch: int | str) -> tuple:
        """Return the shape of a batch as the file wants it."""
        size = (self.size, self.size)
        return (batch, *size, 3) if self.channels_last else (batch, 3, *size)


class Graph(NamedTuple):
    """A network from one colour image to one embedding, reduced to what depends on the image."""

    nodes: list[onnx.NodeProto]  # in topological order
    constants: dict[str, np.ndarray]
    image: ImageInput
    embedding: str  # name of the output, before any L2 normalisation
    opset: int


def read_onnx(path: str | Path) -> tuple[onnx.ModelProto, str]:
    """Read an ONNX file, and the weights that it keeps in other files of its folder.

    Returns
    -------
    model, SHA-256 of the file and of the weights beside it

    Raises
    ------
    OSError
        The file cannot be read.
    UnusableModel
        It is not an ONNX file, was cut off or is too large, or its weights are missing or outside its folder.

    Examples
    --------
    >>> from plqlite.networks.weights import SFACE, find_weights
    >>> proto, digest = read_onnx(find_weights(SFACE))
    >>> digest[:8]
    'fb143eea'
    """
    path = Path(path)
    require_file(path)
    if path.stat().st_size >= 2**31:
        raise UnusableModel(
            f"{path.name} has {path.stat().st_size / 2**30:.1f} GiB, and no ONNX file reaches 2 (larger "
            "weights are kept beside it): check that it is the file that you meant."
        )
    content = path.read_bytes()
    digest = hashlib.sha256(content)
    try:
        proto = onnx.load_model_from_string(content)
        elsewhere = [tensor for tensor in _tensors(proto.graph) if uses_external_data(tensor)]
        load_external_data_for_model(proto, str(path.parent))
    except DecodeError as error:
        raise UnusableModel(f"{path.name} is not an ONNX file, or was cut off: get it again.") from error
    except (onnx.checker.ValidationError, ValueError, OSError) as error:
        raise UnusableModel(
            f"{path.name} keeps weights in another file, which must be beside it and whole: {error}"
        ) from error
    if not proto.graph.node:
        raise UnusableModel(f"{path.name} is not an ONNX file, or was cut off: it holds no network.")
    for tensor in elsewhere:
        digest.update(tensor.raw_data)
    return proto, digest.hexdigest()


def _tensors(graph: onnx.GraphProto) -> list[onnx.TensorProto]:
    """Return the weights of a graph, those in the attributes of its nodes, too."""
    attributes = (
        attribute.t for node in graph.node for attribute in node.attribute if attribute.HasField("t")
    )
    return [*graph.initializer, *attributes]


def embedding_graph(proto: onnx.ModelProto, size: int | None = None, output: str | None = None) -> Graph:
    """Reduce an ONNX model to the graph from one face image to one embedding.

    Constants are folded, Dropout and the final L2 normalisation are left out, and the opset is
    converted where onnx2torch may not know it.

    Parameters
    ----------
    proto : see `read_onnx`
    size : of the image in pixels, where the file leaves it open
    output : name of the embedding, where the file returns more

    Raises
    ------
    UnusableModel
        The model takes something else than one square colour image, or returns something else than
        one embedding.

    Examples
    --------
    >>> from plqlite.networks.weights import SFACE, find_weights
    >>> graph = embedding_graph(read_onnx(find_weights(SFACE))[0])
    >>> graph.image.name, graph.image.size, graph.embedding
    ('data', 112, 'fc1')
    """
    opset = next((each.version for each in proto.opset_import if each.domain in ("", "ai.onnx")), 1)
    returned = {each.name: _dimensions(each) for each in proto.graph.output}
    if len(returned) != 1 and output not in returned:
        raise UnusableModel(
            "A face recognition model returns one embedding, this model (a detector?) returns "
            f'{_list(returned)}: if one of them is the embedding, name it, as in output="…".'
        )
    output = output or next(iter(returned))
    nodes, constants = fold_constants(proto.graph, opset, output)
    within = [node.op_type for node in nodes if any(each.HasField("g") for each in node.attribute)]
    if within:
        raise UnusableModel(
            f"The model uses {within[0]}, a graph within its graph, which cannot be converted."
        )
    nodes, embedding = _without_identities(nodes, output)
    graph = Graph(nodes, constants, _image(proto.graph, nodes, constants, size), embedding, opset)
    _free_batch(graph)
    if opset < TORCH_OPSET:
        graph = _at_torch_opset(graph)  # where shapes, too, are inferred better
    shapes = _shapes(graph)
    _check_sizes(graph, shapes)
    _check_embedding(graph, shapes)
    graph = _without_normalisation(graph, shapes)
    return _at_torch_opset(graph) if opset > TORCH_OPSET else graph


def fold_constants(
    graph: onnx.GraphProto, opset: int, output: str | None = None
) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    """Evaluate the nodes of an ONNX graph that depend on constants alone, such as DequantizeLinear.

    Parameters
    ----------
    graph : nodes in topological order
    opset : edition of ONNX's operations
    output : nodes that this one does not depend on are left out

    Returns
    -------
    nodes, constants : what remains to be computed from the input, and every constant by name

    Examples
    --------
    >>> from plqlite.networks.weights import SFACE, find_weights
    >>> nodes, constants = fold_constants(read_onnx(find_weights(SFACE))[0].graph, opset=21)
    >>> constants["pre_fc1_weight_dequantized"].shape
    (128, 50176)
    """
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes, total = [], 0
    for node in graph.node if output is None else _path(list(graph.node), None, output):
        known = all(name in constants for name in node.input if name)
        edition = max(opset, 19) if node.op_type == "DequantizeLinear" else opset  # int8 needs 19
        foldable = known and node.op_type in FOLDED and node.domain in ("", "ai.onnx")
        size = _size_made(node, constants, edition) if foldable else None
        if size is not None:
            total += size
            _check_size(f"The constant {node.output[0]!r}", size, total)
            constants.update(zip(node.output, _evaluate([node], constants, edition), strict=True))
        else:
            nodes.append(copy.deepcopy(node))  # the file's own nodes stay as they are, to be compared with
    return nodes, constants


def _size_made(node: onnx.NodeProto, constants: dict[str, np.ndarray], opset: int) -> int | None:
    """Infer how many values a node makes of constants, without making them; None if that cannot be told."""
    values = {name: constants[name] for name in node.input if name}
    heavy = {name: value for name, value in values.items() if value.size >= 1000}
    inputs = [_describe(name, value.dtype, value.shape) for name, value in heavy.items()]
    light = {name: value for name, value in values.items() if name not in heavy}
    model = _model([node], light, inputs, list(node.output), opset)
    try:
        made = onnx.shape_inference.infer_shapes(model, data_prop=True).graph.output
    except onnx.shape_inference.InferenceError:
        return None
    types = [each.type.tensor_type for each in made]
    sides = [side for each in types for side in each.shape.dim]
    known = all(each.HasField("shape") for each in types) and all(
        side.HasField("dim_value") for side in sides
    )
    return sum(math.prod(side.dim_value for side in each.shape.dim) for each in types) if known else None


def _check_size(what: str, size: int, total: int) -> None:
    """Refuse to compute more than any face recognition network does for one image."""
    if size > LARGEST["values"] or total > LARGEST["all values"]:
        raise UnusableModel(
            f"{what} would have {size} values, {total} with those before it: no face recognition network "
            "needs so many."
        )


def _check_sizes(graph: Graph, shapes: dict[str, list[int]]) -> None:
    """Refuse a graph whose intermediate results would not fit into memory, before any is computed."""
    total, batch = 0, max(1, graph.image.batch)
    for node in graph.nodes:
        for name in (each for each in node.output if each):
            shape = shapes.get(name, [])
            if node.op_type in GROWS and (not shape or 0 in shape[1:]):
                raise UnusableModel(f"The size of {name!r} ({node.op_type}) cannot be told beforehand.")
            size = math.prod(each or 1 for each in shape) // batch
            total += size
            _check_size(f"{name!r} ({node.op_type})", size, total)


def scales_its_input(graph: Graph) -> bool | None:
    """Tell whether a graph itself scales pixels of 0..255 to the small range that networks work in.

    Black and white are sent through the arithmetic before the first layer with weights.

    Returns
    -------
    True or False; None if there is arithmetic, but none that is made for pixels of 0..255.

    Examples
    --------
    >>> from plqlite.networks.weights import SFACE, find_weights
    >>> scales_its_input(embedding_graph(read_onnx(find_weights(SFACE))[0]))
    True
    """
    first, value = [], graph.image.name
    while True:
        users = [node for node in graph.nodes if value in node.input and node.op_type != "Shape"]
        if len(users) != 1 or not _may_scale(users[0], value, graph.constants):
            break
        first.append(users[0])
        value = users[0].output[0]
    if not {node.op_type for node in first} & (ARITHMETIC | {"Conv"}):
        return False
    black = np.zeros(graph.image.shape(1), graph.image.dtype)
    pixels = {graph.image.name: np.concatenate([black, black + 255])}
    (scaled, *_) = _evaluate(first, graph.constants | pixels, graph.opset)
    return True if np.abs(scaled).max() < 5 else None  # (255 − 104)/57 is 2.6; raw pixels reach 255


def _may_scale(node: onnx.NodeProto, value: str, constants: dict[str, np.ndarray]) -> bool:
    """Tell whether a node may belong to the scaling of pixels: it treats every pixel alike."""
    if {name for name in node.input if name} - {value} - constants.keys():
        return False
    if node.op_type == "Conv":  # three channels to three, pixel by pixel
        return constants[node.input[1]].shape in ((3, 3, 1, 1), (3, 1, 1, 1))
    return node.op_type in ARITHMETIC | MOVES


def find_split(graph: Graph, split: str | None = None) -> tuple[str, str]:
    """Find the last fully connected layer: its input are the features that dropout acts on.

    A fully connected layer is a Gemm, a MatMul with a constant, or a convolution whose output is one
    pixel.

    Parameters
    ----------
    graph : see `embedding_graph`
    split : name of the node where the head begins, instead of the layer found

    Returns
    -------
    name of the layer, name of the features

    Raises
    ------
    UnusableModel
        There is no such layer or node, or what follows it needs more than its output.

    Examples
    --------
    >>> from plqlite.networks.weights import SFACE, find_weights
    >>> find_split(embedding_graph(read_onnx(find_weights(SFACE))[0]))[0]
    'pre_fc1'
    """
    nodes = _path(graph.nodes, graph.image.name, graph.embedding)
    times = Counter(node.name for node in nodes)
    names = {node.name if node.name and times[node.name] == 1 else node.output[0]: node for node in nodes}
    if split is None:
        shapes = _shapes(graph)
        full = [name for name, node in names.items() if _fully_connected(node, graph.constants, shapes)]
    else:
        full = [name for name, node in names.items() if split in (name, *node.output)]
    if not full:
        missing = "no fully connected layer" if split is None else f"no node {split!r}"
        raise UnusableModel(
            f"The network has {missing}; its last nodes are {', '.join(list(names)[-8:])}: "
            'name the one where the head begins, as in split="…".'
        )
    features = next(name for name in names[full[-1]].input if name not in graph.constants)
    head = _path(graph.nodes, features, graph.embedding)
    around = _needed(head) - {features} - graph.constants.keys()
    if around:
        raise UnusableModel(
            f"The head cannot begin at {full[-1]}: what follows it also needs {', '.join(around)}; the "
            f'last nodes are {", ".join(list(names)[-8:])}: name another one, as in split="…".'
        )
    return full[-1], features


def to_torch(graph: Graph, start: str, shape: tuple[int, ...], end: str) -> torch.nn.Module:
    """Turn a part of a graph into a torch module, with gradients, for any batch size.

    Parameters
    ----------
    graph : see `embedding_graph`
    start, end : names of the module's input and output
    shape : of one input, without the batch; an image is always (3, size, size)

    Raises
    ------
    UnusableModel
        onnx2torch lacks one of the operations.

    Examples
    --------
    >>> from plqlite.networks.weights import SFACE, find_weights
    >>> graph = embedding_graph(read_onnx(find_weights(SFACE))[0])
    >>> backbone = to_torch(graph, graph.image.name, (3, 112, 112), find_split(graph)[1])
    """
    if start == end:
        return torch.nn.Identity()
    nodes = copy.deepcopy(_path(graph.nodes, start, end))
    if start == graph.image.name and graph.image.channels_last:
        start = f"{graph.image.name}, channels first"
        nodes.insert(0, helper.make_node("Transpose", [start], [graph.image.name], perm=[0, 2, 3, 1]))
    for i, node in enumerate(nodes):
        node.name = f"n{i}"  # torch.fx writes names into a function: none of a stranger's
        while node.input and not node.input[-1]:
            del node.input[-1]  # an input that is left out at the end need not be named
    inputs = [_describe(start, graph.image.dtype, ("batch", *shape))]
    try:
        return onnx2torch.convert(_model(nodes, graph.constants, inputs, [end], graph.opset))
    except (NotImplementedError, KeyError, RuntimeError, ValueError) as error:
        raise UnusableModel(
            f"onnx2torch cannot convert the network ({error}): exporting it with opset_version=17 may help."
        ) from error


def onnx_runtime(
    proto: onnx.ModelProto, graph: Graph, pixels: np.ndarray, output: str | None = None
) -> np.ndarray:
    """Run the file as it is in ONNX Runtime: scaled images (B, 3, size, size) -> output (B, d).

    What ONNX Runtime does not implement, such as convolutions in double precision, is run by ONNX's
    own reference implementation, which is slow.

    Raises
    ------
    UnusableModel
        ONNX Runtime is not installed.

    Examples
    --------
    >>> from plqlite.networks.weights import SFACE, find_weights
    >>> proto, _ = read_onnx(find_weights(SFACE))
    >>> onnx_runtime(proto, embedding_graph(proto), np.zeros((2, 3, 112, 112), np.float32)).shape
    (2, 128)
    """
    try:
        import onnxruntime
        from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as Unsupported
    except ImportError as error:
        raise UnusableModel(
            "comparing it with ONNX Runtime needs another package: run  pip install onnxruntime  (or pass "
            "check=False, which trusts the conversion)."
        ) from error
    proto, output = copy.deepcopy(proto), output or proto.graph.output[0].name
    images = [each for each in proto.graph.input if each.name == graph.image.name]
    nodes = _path(list(proto.graph.node), None, output)
    del proto.graph.input[:], proto.graph.node[:], proto.graph.output[:]
    proto.graph.input.extend(images)  # old files list weights as inputs, some of which nothing uses
    proto.graph.node.extend(nodes)
    proto.graph.output.add(name=output)
    proto.ir_version = max(proto.ir_version, 4)  # from which on weights need not be inputs
    if graph.image.channels_last:
        pixels = pixels.transpose(0, 2, 3, 1)
    # one image after the other, repeated, where the file is made for a fixed batch
    batch = graph.image.batch
    batches = [np.repeat(one[None], batch, axis=0) for one in pixels] if batch else [pixels]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Unsupported:
        session = onnx.reference.ReferenceEvaluator(proto)
    outputs = [session.run(None, {graph.image.name: each})[0] for each in batches]
    if batch:  # each run held one image, repeated
        outputs = [output[:1] for output in outputs]
    return np.concatenate(outputs).reshape(len(pixels), -1)


def _evaluate(nodes: list[onnx.NodeProto], values: dict[str, np.ndarray], opset: int) -> list[np.ndarray]:
    """Run nodes in ONNX's reference implementation; return the outputs of the last one."""
    needed = {name: values[name] for name in sorted(_needed(nodes))}
    inputs = [_describe(name, value.dtype) for name, value in needed.items()]
    outputs = [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in nodes[-1].output]
    graph = helper.make_graph(nodes, "part", inputs, outputs)
    return list(onnx.reference.ReferenceEvaluator(graph, opsets={"": opset}).run(None, needed))


def _path(nodes: list[onnx.NodeProto], start: str | None, end: str) -> list[onnx.NodeProto]:
    """Return the nodes that `end` depends on, and that depend on `start` if one is given."""
    made, after = {start}, []
    for node in nodes:
        if start is None or made & set(node.input):
            after.append(node)
            made |= set(node.output)
    needed, path = {end}, []
    for node in reversed(after):
        if needed & set(node.output):
            path.append(node)
            needed |= set(node.input)
    return path[::-1]


def _without_identities(nodes: list[onnx.NodeProto], output: str) -> tuple[list[onnx.NodeProto], str]:
    """Take out Dropout and Identity, which do nothing when a network is used."""
    same: dict[str, str] = {}
    kept = []
    for node in nodes:
        inputs = [same.get(name, name) for name in node.input]
        if node.op_type in ("Dropout", "Identity"):
            same[node.output[0]] = inputs[0]
        else:
            node.input[:] = inputs
            kept.append(node)
    return kept, same.get(output, output)


def _image(graph: onnx.GraphProto, nodes: list, constants: dict, size: int | None) -> ImageInput:
    """Find the one image that a graph takes."""
    used = {name for node in nodes for name in node.input} - constants.keys()
    kinds = {each.name: each.type.tensor_type for each in graph.input if each.name in used}
    shapes = {each.name: _dimensions(each) for each in graph.input if each.name in used}
    if len(shapes) != 1 or len(*shapes.values()) != 4:
        raise UnusableModel(
            f"A face recognition model takes one image (B, 3, H, W), this model takes {_list(shapes)}."
        )
    ((name, (batch, *rest)),) = shapes.items()
    channels_last = rest[0] != 3 and rest[2] == 3
    height, width, channels = rest if channels_last else (*rest[1:], rest[0])
    if channels not in (0, 3) or height != width:
        raise UnusableModel(
            f"A face recognition model takes a square colour image, this model takes {_list(shapes)}."
        )
    dtype = DTYPES.get(kinds[name].elem_type)
    if dtype is None:
        found = TensorProto.DataType.Name(kinds[name].elem_type)
        raise UnusableModel(f"The model takes pixels of type {found}: export it again for float32.")
    side = height or size
    if not side:
        raise UnusableModel("The file leaves the size of the image open: state it, as in size=112.")
    if size and size != side:
        raise UnusableModel(f"size={size}, but the file takes images of {height}×{width} pixels.")
    if not (0 < side <= LARGEST["size"] and 0 <= batch <= LARGEST["batch"]):
        raise UnusableModel(f"No face recognition model takes images like {_list(shapes)}, size={size}.")
    return ImageInput(name, batch, side, channels_last, dtype)


def _free_batch(graph: Graph) -> None:
    """Let Reshape keep the batch size (0) where the file names the one that it was exported with."""
    for node in graph.nodes:
        if node.op_type == "Reshape" and node.input[1] in graph.constants:
            shape = graph.constants[node.input[1]].copy()
            if graph.image.batch and shape.size > 1 and shape[0] == graph.image.batch:
                shape[0] = 0
            del node.attribute[:]  # allowzero, with which 0 would mean an empty tensor
            node.input[1] = f"{node.output[0]} shape"
            graph.constants[node.input[1]] = shape


def _check_embedding(graph: Graph, shapes: dict[str, list[int]]) -> None:
    """Refuse a model that returns something else than an embedding."""
    last = next((node.op_type for node in graph.nodes if graph.embedding in node.output), "a constant")
    if last in CLASSES:
        raise UnusableModel(
            f"A face recognition model returns an embedding, this model (a classifier?) ends in {last}."
        )
    shape = shapes.get(graph.embedding, [])
    flat = len(shape) >= 2 and all(each == 1 for each in shape[2:])
    if shape and not (flat and shape[1] <= LARGEST["embedding"]):
        found = _list({graph.embedding: shape})
        raise UnusableModel(
            f"A face recognition model returns an embedding (B, d), this one returns {found}."
        )


def _without_normalisation(graph: Graph, shapes: dict[str, list[int]]) -> Graph:
    """Leave out a final L2 normalisation, recognised by what it does: FaceModel normalises itself."""
    last = next(node for node in graph.nodes if graph.embedding in node.output)
    if last.op_type not in ("LpNormalization", "Div", "Mul"):
        return graph
    for name in last.input:
        shape = shapes.get(name, [0])[1:]
        tail = _path([node for node in graph.nodes if name not in node.output], None, graph.embedding)
        own = _path(tail, name, graph.embedding)
        if not own or not all(shape) or any(node.op_type not in SHAPE for node in tail if node not in own):
            continue
        rows: np.ndarray = np.random.default_rng(0).normal(size=(3, *shape)).astype(graph.image.dtype)
        given = {name: rows, graph.image.name: np.zeros(graph.image.shape(3), graph.image.dtype)}
        (output, *_) = _evaluate(tail, graph.constants | given, graph.opset)
        lengths = np.linalg.norm(rows.reshape(3, -1), axis=1)
        if np.allclose(output.reshape(3, -1), rows.reshape(3, -1) / lengths[:, None], atol=1e-4):
            return graph._replace(embedding=name)
    return graph


def _at_torch_opset(graph: Graph) -> Graph:
    """Convert a graph to the opset that onnx2torch knows best."""
    try:
        converted = onnx.version_converter.convert_version(_light_model(graph), TORCH_OPSET).graph
    except RuntimeError:  # not every step of every operation has been written: try it as it is
        return graph
    nodes, constants = fold_constants(converted, TORCH_OPSET)
    return graph._replace(nodes=nodes, constants=graph.constants | constants, opset=TORCH_OPSET)


def _shapes(graph: Graph) -> dict[str, list[int]]:
    """Infer the shapes of what a graph computes; 0 stands for an open dimension."""
    model = onnx.shape_inference.infer_shapes(_light_model(graph), data_prop=True)
    values = [*model.graph.value_info, *model.graph.output]
    return {each.name: _dimensions(each) for each in values}


def _light_model(graph: Graph) -> onnx.ModelProto:
    """Build a model that takes its weights as inputs: as good as the whole, but quickly copied."""
    image = graph.image
    inputs = [_describe(image.name, image.dtype, image.shape(image.batch or "batch"))]
    heavy = {name: value for name, value in graph.constants.items() if value.size >= 1000}
    inputs += [_describe(name, value.dtype, value.shape) for name, value in heavy.items()]
    light = {name: value for name, value in graph.constants.items() if name not in heavy}
    return _model(graph.nodes, light, inputs, [graph.embedding], graph.opset)


def _model(nodes: list, constants: dict, inputs: list, outputs: list[str], opset: int) -> onnx.ModelProto:
    """Build an ONNX model from its parts; constants that no node uses are left out."""
    weights = [
        numpy_helper.from_array(np.asarray(constants[name], order="C"), name)
        for name in sorted(_needed(nodes) & constants.keys())
    ]
    described = [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in outputs]
    graph = helper.make_graph(nodes, "network", inputs, described, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def _needed(nodes: list[onnx.NodeProto]) -> set[str]:
    """Return the names of all that nodes take and none of them makes."""
    made = {name for node in nodes for name in node.output}
    return {name for node in nodes for name in node.input if name} - made


def _fully_connected(node: onnx.NodeProto, constants: dict, shapes: dict[str, list[int]]) -> bool:
    """Tell whether every output of a layer depends on one weight for every input."""
    weighted = len(node.input) > 1 and node.input[0] not in constants and node.input[1] in constants
    one_pixel = node.op_type == "Conv" and shapes.get(node.output[0], [])[2:] == [1, 1]
    return weighted and (node.op_type in ("Gemm", "MatMul") or one_pixel)


def _describe(name: str, dtype: type | np.dtype, shape: tuple | None = None) -> onnx.ValueInfoProto:
    """Declare the type and shape of a value by its name."""
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)


def _dimensions(value: onnx.ValueInfoProto) -> list[int]:
    """Return the shape that a file states; 0 stands for an open dimension."""
    return [each.dim_value for each in value.type.tensor_type.shape.dim]


def _list(shapes: dict[str, list[int]]) -> str:
    """Put names and shapes into words; an open dimension is a question mark."""
    words = (f"{name} ({', '.join(str(d or '?') for d in shape)})" for name, shape in shapes.items())
    return ", ".join(words) or "nothing"
