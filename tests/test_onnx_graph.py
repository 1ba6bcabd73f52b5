"""Any face-recognition network as an ONNX file: what is understood, and what is refused."""

import warnings

import numpy as np
import onnx
import pytest
import torch
from networks import export, small, with_statistics
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn.functional import normalize

import plqlite
from conftest import random_images
from plqlite import UnusableModel, models, onnx_graph
from plqlite.onnx_graph import find_split, read_onnx, recogniser
from plqlite.weights import SFACE, find_weights


class Wrapped(nn.Module):
    """A network with something before and after it."""

    def __init__(self, before, network, after):
        super().__init__()
        self.before, self.network, self.after = before, network, after

    def forward(self, images):
        return self.after(self.network(self.before(images)))


def same(x):
    return x


def head_of(layer, *after):
    """Convolutions, then another last layer than ArcFace's."""
    torch.manual_seed(1)
    return with_statistics(
        nn.Sequential(nn.Conv2d(3, 6, 3, 2), nn.PReLU(6), nn.BatchNorm2d(6), layer, *after)
    )


def check(path, network, affine=True, **facts):
    """The model returns what the network returns, for one image and for five, and its parts fit."""
    images = random_images(5)
    model = plqlite.from_onnx(path, device="cpu", **facts)
    dtype = next(network.parameters()).dtype
    images = images.to(dtype)
    with torch.no_grad():
        expected = normalize(network((images - 127.5) / 127.5).flatten(1), dim=-1)
    for batch in (1, 5):
        torch.testing.assert_close(model(images[:batch]), expected[:batch], atol=2e-6, rtol=0)
    assert isinstance(model.head, nn.Linear) is affine
    features = model.features(images)
    assert model.head(features[:, None]).shape == (5, 1, expected.shape[1])
    return model


@pytest.mark.parametrize("opset", [9, 11, 13, 17, 20])
def test_opsets(tmp_path, opset):
    network = small()
    model = check(export(network, tmp_path / "r.onnx", opset=opset), network)
    assert model.card["split"].endswith("Gemm")
    assert model.card["head"] == "affine, 128 → 8"
    assert model.size == 16


def test_opset_below_nine_is_upgraded(tmp_path):
    network = small()
    proto = onnx.load(export(network, tmp_path / "r.onnx", opset=9))
    old = onnx.version_converter.convert_version(proto, 8)
    assert old.opset_import[0].version == 8
    old.ir_version = 3  # files of that time list their weights as inputs
    for tensor in old.graph.initializer:
        old.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    onnx.save(old, tmp_path / "old.onnx")
    check(tmp_path / "old.onnx", network)


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("dynamo", [False, True])
def test_fixed_batch(tmp_path, batch, dynamo):
    class View(nn.Module):
        def forward(self, x):
            return x.view(len(x), -1)  # written into the file with the batch that it was exported for

    network = head_of(View(), nn.Linear(294, 8), nn.BatchNorm1d(8))
    check(export(network, tmp_path / "r.onnx", batch=batch, dynamo=dynamo), network)


def test_torch_s_new_exporter_and_weights_in_another_file(tmp_path):
    network = small()
    path = export(network, tmp_path / "r.onnx", dynamo=True)
    proto = onnx.load(path)
    onnx.save(proto, path, save_as_external_data=True, location="r.weights", size_threshold=0)
    model = check(path, network)
    weights = tmp_path / "r.weights"
    weights.write_bytes(bytes(4) + weights.read_bytes()[4:])
    assert plqlite.from_onnx(path).card["sha256"] != model.card["sha256"]  # the hash covers both files


LAST_LAYERS = {
    "matmul and add": (nn.Flatten(), nn.Linear(294, 8)),
    "no bias": (nn.Flatten(), nn.Linear(294, 8, bias=False), nn.BatchNorm1d(8)),
    "1×1 convolution": (nn.AdaptiveAvgPool2d(1), nn.Conv2d(6, 8, 1), nn.BatchNorm2d(8), nn.Flatten()),
    "convolution over all": (nn.Conv2d(6, 8, 7),),
    "global depthwise convolution": (
        nn.Conv2d(6, 6, 7, groups=6, bias=False),
        nn.BatchNorm2d(6),
        nn.Flatten(),
    ),
}


@pytest.mark.parametrize("name", LAST_LAYERS)
def test_last_layers(tmp_path, name):
    network = head_of(*LAST_LAYERS[name])
    path = export(network, tmp_path / "r.onnx")
    if name == "matmul and add":
        split_gemm(path)
    model = check(path, network)
    assert model.head.in_features == (6 if name == "1×1 convolution" else 294)


def split_gemm(path):
    """Write the last Gemm as MatMul and Add, as TensorFlow's exporter does."""
    proto = onnx.load(path)
    (gemm,) = (node for node in proto.graph.node if node.op_type == "Gemm")
    weight = next(each for each in proto.graph.initializer if each.name == gemm.input[1])
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight).T.copy(), weight.name))
    nodes = [
        helper.make_node("MatMul", gemm.input[:2], ["product"]),
        helper.make_node("Add", ["product", gemm.input[2]], gemm.output),
    ]
    position = list(proto.graph.node).index(gemm)
    proto.graph.node.remove(gemm)
    for node in reversed(nodes):
        proto.graph.node.insert(position, node)
    onnx.save(proto, path)


@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.parametrize("ending", ["normalize", "division", "product"])
def test_normalisation_in_the_graph_is_recognised(tmp_path, ending, dynamo):
    after = {
        "normalize": normalize,
        "division": lambda z: z / z.norm(dim=1, keepdim=True),
        "product": lambda z: z * (z.square().sum(1, keepdim=True) + 1e-10).rsqrt(),
    }[ending]
    network = Wrapped(same, small(), after)
    model = check(export(network, tmp_path / "r.onnx", dynamo=dynamo), network)
    lengths = model.head(model.features(random_images(5))).norm(dim=-1)
    assert lengths.std() > 1e-3  # the head's output is what was normalised


def test_lp_normalization_is_recognised(tmp_path):
    network = small()
    proto = onnx.load(export(network, tmp_path / "r.onnx"))
    (output,) = proto.graph.output
    proto.graph.node.append(helper.make_node("LpNormalization", [output.name], ["unit"], axis=1, p=2))
    output.name = "unit"
    onnx.save(proto, tmp_path / "r.onnx")
    check(tmp_path / "r.onnx", network)


def test_division_that_is_no_normalisation_stays(tmp_path):
    network = Wrapped(same, small(), lambda z: z / (1 + z.abs()))
    check(export(network, tmp_path / "r.onnx"), network, affine=False)


class Transformer(nn.Module):
    """A vision transformer as small as can be, with ArcFace's head."""

    def __init__(self):
        super().__init__()
        self.patches, self.places = nn.Conv2d(3, 16, 4, 4), nn.Parameter(torch.randn(1, 16, 16) * 0.1)
        self.norm, self.attention = nn.LayerNorm(16), nn.Linear(16, 48)
        self.head = nn.Sequential(nn.Linear(256, 16, bias=False), nn.BatchNorm1d(16), nn.Linear(16, 8, False))

    def forward(self, images):
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.places  # (B, 16, 16)
        q, k, v = self.attention(self.norm(tokens)).chunk(3, dim=-1)
        tokens = tokens + (q @ k.transpose(1, 2) / 4).softmax(-1) @ v
        return self.head(tokens.reshape(tokens.size(0), -1))


@pytest.mark.parametrize("opset", [14, 17])
def test_transformer(tmp_path, opset):
    torch.manual_seed(0)
    network = with_statistics(Transformer())
    model = check(export(network, tmp_path / "r.onnx", opset=opset), network)
    assert model.card["head"] == "affine, 16 → 8"


def test_one_output_of_several(tmp_path):
    class WithNorm(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = small()

        def forward(self, images):
            z = self.network(images)
            return z / z.norm(dim=1, keepdim=True), z.norm(dim=1, keepdim=True)

    network = WithNorm()
    path = export(network, tmp_path / "r.onnx")
    name, length = (each.name for each in onnx.load(path).graph.output)
    with pytest.raises(UnusableModel, match=rf"returns {name} \(.*, {length} .* output="):
        plqlite.from_onnx(path)
    check(path, network.network, output=name)


def test_bend_far_out_is_noticed(tmp_path):
    """Random features of the usual size would never reach the bend of this ReLU."""
    network = head_of(nn.Flatten(), nn.Linear(294, 8), nn.ReLU(), nn.BatchNorm1d(8))
    network[4].bias.data.fill_(15.0)
    network[0].weight.data.mul_(30)
    check(export(network, tmp_path / "r.onnx"), network, affine=False)


@pytest.mark.parametrize("split", [None, "the first"])
def test_head_that_is_not_affine(tmp_path, split):
    network = head_of(nn.Flatten(), nn.Linear(294, 16), nn.PReLU(), nn.Linear(16, 8), nn.BatchNorm1d(8))
    path = export(network, tmp_path / "r.onnx")
    if split:
        graph = recogniser(read_onnx(path)[0])
        split = next(node.name for node in graph.nodes if node.op_type == "Gemm")
    model = check(path, network, affine=split is None, split=split)
    plqlite.explain(model, random_images(2), passes=10)
    if split:
        assert model.card["split"] == split
        assert model.card["head"] == "not affine: no closed form"
        with pytest.raises(TypeError, match="use ser_fiq"):
            plqlite.explain(model, random_images(2), passes=None)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's advice on its exporters
@pytest.mark.parametrize("name", ["x", "images"])
def test_images_with_channels_last(tmp_path, name):
    network = Wrapped(lambda x: x.permute(0, 3, 1, 2), small(), same).eval()
    path = tmp_path / "r.onnx"
    facts = {"dynamic_axes": {name: {0: "b"}}, "input_names": [name]}
    torch.onnx.export(network, (torch.zeros(2, 16, 16, 3),), path, dynamo=False, **facts)
    check(path, network.network)


def test_double_precision(tmp_path):
    network = small().double()
    model = check(export(network, tmp_path / "r.onnx"), network)
    assert model.head.weight.dtype == torch.float64
    plqlite.explain(model, random_images(2).double(), passes=10)


def pointwise():
    layer = nn.Conv2d(3, 3, 1)
    layer.weight.data, layer.bias.data = torch.eye(3).reshape(3, 3, 1, 1) / 128, torch.full((3,), -1.0)
    return layer


@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.parametrize(
    ("before", "inside"),
    [
        (same, False),
        (lambda x: (x - 127.5) * 0.0078125, True),
        (lambda x: x / 255, True),
        (lambda x: (x - torch.tensor([123.7, 116.3, 103.5])[:, None, None]) / 58, True),
        (lambda x: (x[:, [2, 1, 0]] - 127.5) / 128, True),
        (lambda x: (x.flip(1) - 127.5) / 128, True),
        (lambda x: (x.double().float() - 127.5) / 128, True),
        (pointwise(), True),
        (lambda x: (x - 0.5) / 0.5, None),  # made for pixels of 0..1
        (lambda x: x - 127.5, None),
        (lambda x: 0.05 * x, None),
    ],
)
def test_scaling_inside_the_graph_is_found(tmp_path, before, inside, dynamo):
    network = Wrapped(before, small(), same).eval()
    path = export(network, tmp_path / "r.onnx", dynamo=dynamo)
    if inside is None:
        with pytest.raises(UnusableModel, match="state what must come before it"):
            plqlite.from_onnx(path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = plqlite.from_onnx(path, mean=100.0, std=50.0)
    assert any("left aside" in str(each.message) for each in caught) is bool(inside)
    images = random_images(3)
    with torch.no_grad():
        expected = normalize(network(images if inside else (images - 100) / 50), dim=-1)
    torch.testing.assert_close(model(images), expected, atol=2e-6, rtol=0)
    assert ("(x − 100.0)/50.0" in model.card["input"]) is not bool(inside)


def test_blue_first_and_one_mean_a_channel(tmp_path):
    network, images = small(), random_images(3)
    mean, std = [100.0, 110.0, 120.0], [50.0, 60.0, 70.0]
    path = export(network, tmp_path / "r.onnx")
    model = plqlite.from_onnx(path, mean, std, channels="BGR")
    columns = (torch.tensor(each)[:, None, None] for each in (mean, std))
    with torch.no_grad():
        expected = normalize(network((images.flip(1) - next(columns)) / next(columns)), dim=-1)
    torch.testing.assert_close(model(images), expected, atol=2e-6, rtol=0)
    with pytest.raises(ValueError, match="RGB or BGR"):
        plqlite.from_onnx(path, channels="rgb")


def test_sface_is_what_from_onnx_makes_of_its_file(tmp_path):
    path = tmp_path / "sface.onnx"
    path.write_bytes(find_weights(SFACE).read_bytes())
    faces = [plqlite.sample_faces()[name] for name in ("astronaut", "grace_hopper")]
    sface, model = plqlite.sface("cpu"), plqlite.from_onnx(path, device="cpu")
    images = torch.cat([plqlite.load_face(photo, model) for photo in faces])
    model.scaling = sface.scaling
    torch.testing.assert_close(model(images), sface(images), atol=0, rtol=0)
    one, other = plqlite.explain(model, images), plqlite.explain(sface, images)
    for name, value in one.numpy().items():
        np.testing.assert_array_equal(value, other.numpy()[name])
    assert model.card["split"] == "pre_fc1"
    assert {key: model.card[key] for key in ("input", "sha256", "head")} == {
        key: sface.card[key] for key in ("input", "sha256", "head")
    }


# --- what is refused ---


def write(
    path,
    nodes,
    inputs=(("x", TensorProto.FLOAT, ["b", 3, 16, 16]),),
    outputs=(("y", ["b", 8]),),
    weights=(),
    opset=13,
):
    """Write a graph by hand."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*each) for each in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs],
        [numpy_helper.from_array(value, name) for name, value in weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path)
    return path


WEIGHT = [("w", np.ones((768, 8), np.float32))]
LINEAR = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"])]


def test_files_that_are_no_networks(tmp_path):
    path = export(small(), tmp_path / "r.onnx")
    content = path.read_bytes()
    for damaged in (b"", b"I am a letter", content[:1000], content[:-1000], b"\x80\x04cos\nsystem\n."):
        path.write_bytes(damaged)
        with pytest.raises(UnusableModel, match=r"r\.onnx is not an ONNX file, or was cut off"):
            plqlite.from_onnx(path)
    with path.open("wb") as file:
        file.truncate(2**31 + 1)  # takes no space on the disk
    with pytest.raises(UnusableModel, match=r"has 2\.0 GiB"):
        plqlite.from_onnx(path)
    for missing in (tmp_path / "none.onnx", tmp_path):
        with pytest.raises(OSError, match=str(missing)):
            plqlite.from_onnx(missing)


@pytest.mark.parametrize("as_node", [False, True])
@pytest.mark.parametrize(
    "location", ["missing.bin", "../outside.bin", "/etc/hostname", "link.bin", "here.bin"]
)
def test_no_file_outside_the_folder_is_read(tmp_path, monkeypatch, location, as_node):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "models"
    folder.mkdir()
    path = write(folder / "r.onnx", LINEAR, weights=WEIGHT)
    for outside in ("outside.bin", "here.bin"):
        (tmp_path / outside).write_bytes(WEIGHT[0][1].tobytes())
    (folder / "link.bin").symlink_to("../outside.bin")
    proto = onnx.load(path)
    (tensor,) = proto.graph.initializer
    if as_node:
        proto.graph.node.insert(0, helper.make_node("Constant", [], ["w"], value=tensor))
        tensor = proto.graph.node[0].attribute[0].t
        del proto.graph.initializer[:]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(UnusableModel, match="must lie beside it"):
        plqlite.from_onnx(path)


TRAPS = {
    "opens files": [
        helper.make_node("Constant", [], ["s"], value_string=b"%!PS"),
        helper.make_node("Cast", ["s"], ["t"], to=TensorProto.STRING),
        helper.make_node("ImageDecoder", ["t"], ["z"]),
    ],
    "searches for ever": [
        helper.make_node("Constant", [], ["s"], value_strings=[b"a" * 40 + b"b"]),
        helper.make_node("RegexFullMatch", ["s"], ["z"], pattern="(a+)+$"),
    ],
    "fills the memory": [
        helper.make_node("Constant", [], ["s"], value_ints=[2**40]),
        helper.make_node("ConstantOfShape", ["s"], ["z"]),
    ],
}


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("name", TRAPS)
def test_traps_are_not_evaluated(tmp_path, monkeypatch, name, used):
    """Only harmless constants are folded, and only those that the embedding depends on."""
    seen = []
    evaluate = onnx_graph._evaluate
    monkeypatch.setattr(
        onnx_graph,
        "_evaluate",
        lambda nodes, *rest: [seen.append(nodes[0].op_type), evaluate(nodes, *rest)][1],
    )
    nodes = [*TRAPS[name], *LINEAR]
    if used:
        nodes[-1] = helper.make_node("MatMul", ["f", "w"], ["y0"])
        nodes += [helper.make_node("Where", ["z", "y0", "y0"], ["y"])]
    path = write(tmp_path / "r.onnx", nodes, weights=WEIGHT, opset=20)
    if used:
        with pytest.raises(UnusableModel):
            plqlite.from_onnx(path)
    else:
        plqlite.from_onnx(path, check=False)
    assert not {"ImageDecoder", "RegexFullMatch", "ConstantOfShape"} & set(seen)


def test_what_the_embedding_does_not_depend_on_is_left_aside(tmp_path):
    """Such as a second input that only the loss takes."""
    inputs = [("x", TensorProto.FLOAT, ["b", 3, 16, 16]), ("label", TensorProto.FLOAT, ["b", 3, 16, 16])]
    nodes = [helper.make_node("Sub", ["x", "label"], ["loss"]), *LINEAR]
    weights = [("w", np.eye(768, 8, dtype=np.float32))]
    assert plqlite.from_onnx(write(tmp_path / "r.onnx", nodes, inputs, weights=weights)).size == 16


def test_graphs_within_the_graph_are_refused(tmp_path):
    body = helper.make_graph([], "body", [], [])
    nodes = [
        helper.make_node("Loop", ["x"], ["q"], body=body),
        helper.make_node("Flatten", ["q"], ["f"]),
        LINEAR[1],
    ]
    with pytest.raises(UnusableModel, match="uses Loop, a graph within its graph"):
        plqlite.from_onnx(write(tmp_path / "r.onnx", nodes, weights=WEIGHT))


@pytest.mark.parametrize("shape", [["b", 3, 40000, 40000], [3000000, 3, 16, 16], [-1, 3, 16, 16]])
def test_images_of_absurd_size_are_refused(tmp_path, shape):
    path = write(tmp_path / "r.onnx", LINEAR, [("x", TensorProto.FLOAT, shape)], weights=WEIGHT)
    with pytest.raises(UnusableModel, match="No recogniser takes images like"):
        plqlite.from_onnx(path)


def test_without_a_gradient_there_is_no_map(tmp_path):
    network = Wrapped(lambda x: x.round(), small(), same)
    with pytest.raises(UnusableModel, match="no gradient comes back to the pixels"):
        plqlite.from_onnx(export(network, tmp_path / "r.onnx"))


def test_a_constant_embedding_is_refused(tmp_path):
    network = small()
    network[8].weight.data.zero_()
    with pytest.raises(UnusableModel, match="get one and the same embedding"):
        plqlite.from_onnx(export(network, tmp_path / "r.onnx"))


def test_weights_of_a_constant_node_in_another_file_are_hashed(tmp_path):
    path = write(tmp_path / "r.onnx", LINEAR, weights=[("w", np.eye(768, 8, dtype=np.float32))])
    proto = onnx.load(path)
    proto.graph.node.insert(0, helper.make_node("Constant", [], ["w"], value=proto.graph.initializer[0]))
    tensor = proto.graph.node[0].attribute[0].t
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="w.bin")
    del proto.graph.initializer[:]
    path.write_bytes(proto.SerializeToString())
    hashes = set()
    for factor in (1, 2):
        (tmp_path / "w.bin").write_bytes((factor * np.eye(768, 8, dtype=np.float32)).tobytes())
        hashes.add(plqlite.from_onnx(path).card["sha256"])
    assert len(hashes) == 2


def test_names_in_a_file_are_not_run_as_code(tmp_path):
    """torch.fx writes the names of layers into a function."""
    proof = tmp_path / "proof"
    evil = f'training"), open("{proof}", "w"), getattr(self, "training'
    path = export(small(), tmp_path / "r.onnx")
    proto = onnx.load(path)
    for i, node in enumerate(proto.graph.node):
        node.name = f"{evil}{i}"
    proto.producer_name = proto.graph.name = evil
    onnx.save(proto, path)
    plqlite.explain(plqlite.from_onnx(path), random_images(1), passes=2)
    assert not proof.exists()


@pytest.mark.parametrize(
    ("nodes", "facts", "message"),
    [
        (
            [*LINEAR, helper.make_node("Relu", ["y"], ["z"])],
            {"outputs": [("y", ["b", 8]), ("z", ["b", 8])]},
            r"one embedding, this model \(a detector\?\) returns y \(\?, 8\), z \(\?, 8\)",
        ),
        (
            [*LINEAR, helper.make_node("Softmax", ["y"], ["z"])],
            {"outputs": [("z", ["b", 8])]},
            "ends in Softmax",
        ),
        (
            [helper.make_node("Relu", ["x"], ["y"])],
            {"outputs": [("y", ["b", 3, 16, 16])]},
            r"\(\?, 3, 16, 16\)",
        ),
        (LINEAR, {"inputs": [("x", TensorProto.FLOAT16, ["b", 3, 16, 16])]}, "type FLOAT16: export it again"),
        (LINEAR, {"inputs": [("x", TensorProto.FLOAT, ["b", 768])]}, r"one image .* takes x \(\?, 768\)"),
        (
            LINEAR,
            {"inputs": [("x", TensorProto.FLOAT, ["b", 1, 16, 48])]},
            r"square colour .* \(\?, 1, 16, 48\)",
        ),
        (LINEAR, {"inputs": [("x", TensorProto.FLOAT, ["b", 3, "h", "w"])]}, r"state it, as in size=112"),
        (
            [helper.make_node("Add", ["x", "x2"], ["s"]), helper.make_node("Flatten", ["s"], ["y"])],
            {"inputs": [(name, TensorProto.FLOAT, ["b", 3, 16, 16]) for name in ("x", "x2")]},
            r"takes x \(\?, 3, 16, 16\), x2",
        ),
        (
            [helper.make_node("GlobalAveragePool", ["x"], ["p"]), helper.make_node("Flatten", ["p"], ["y"])],
            {"outputs": [("y", ["b", 3])]},
            "no fully connected layer; its last nodes are p, y",
        ),
        ([*LINEAR[:1], helper.make_node("Frobnicate", ["f"], ["y"])], {}, "no fully connected layer"),
    ],
)
def test_other_networks_are_refused(tmp_path, nodes, facts, message):
    path = write(tmp_path / "r.onnx", nodes, weights=WEIGHT, **facts)
    with pytest.raises(UnusableModel, match=message):
        plqlite.from_onnx(path)


def test_open_size_is_stated(tmp_path):
    inputs = [("x", TensorProto.FLOAT, ["b", 3, "h", "w"])]
    path = write(tmp_path / "r.onnx", LINEAR, inputs, weights=[("w", np.eye(768, 8, dtype=np.float32))])
    assert plqlite.from_onnx(path, size=16).size == 16
    with pytest.raises(UnusableModel, match=r"size=20, but the file takes images of 16×16"):
        plqlite.from_onnx(export(small(), tmp_path / "s.onnx"), size=20)


def test_split_is_named(tmp_path):
    path = export(small(), tmp_path / "r.onnx")
    with pytest.raises(UnusableModel, match=r"no node 'fc'; its last nodes are .*Gemm"):
        plqlite.from_onnx(path, split="fc")
    graph = recogniser(read_onnx(path)[0])
    inside = next(node.name for node in graph.nodes if node.op_type == "PRelu")
    assert find_split(graph, inside)[0] == inside
    beside = [node.name for node in graph.nodes if node.op_type == "Conv"][1]  # inside a residual block
    with pytest.raises(UnusableModel, match=f"cannot begin at {beside}, for what follows it also needs"):
        find_split(graph, beside)


def test_conversion_that_went_wrong_is_refused(tmp_path, monkeypatch):
    path = export(small(), tmp_path / "r.onnx")
    right = onnx_graph.onnx_runtime
    monkeypatch.setattr(onnx_graph, "onnx_runtime", lambda *arguments: right(*arguments)[:, ::-1].copy())
    with pytest.raises(UnusableModel, match=r"embeddings of 1 images differ from ONNX Runtime's"):
        plqlite.from_onnx(path)
    plqlite.from_onnx(path, check=False)


def test_the_comparison_is_with_the_file_itself(tmp_path, monkeypatch):
    """A fault in what both sides share would not be seen: plant one in the folding of constants."""
    path = export(small(), tmp_path / "r.onnx")
    fold = onnx_graph.fold_constants

    def wrong(*arguments):
        nodes, constants = fold(*arguments)
        return nodes, {name: value * 1.5 if value.ndim == 4 else value for name, value in constants.items()}

    monkeypatch.setattr(onnx_graph, "fold_constants", wrong)
    with pytest.raises(UnusableModel, match="differ from ONNX Runtime's"):
        plqlite.from_onnx(path)


def test_unknown_operations_are_named(tmp_path):
    inverse = helper.make_node("Det", ["q"], ["d"])
    nodes = [
        inverse,
        helper.make_node("Flatten", ["d"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    nodes.insert(0, helper.make_node("Relu", ["x"], ["q"]))
    path = write(tmp_path / "r.onnx", nodes, weights=[("w", np.ones((3, 8), np.float32))])
    with pytest.raises(UnusableModel, match="Det"):
        plqlite.from_onnx(path)


def test_loading_twice_gives_the_same_numbers(tmp_path):
    path = export(small(), tmp_path / "r.onnx")
    one, other = plqlite.from_onnx(path), plqlite.from_onnx(path)
    images = random_images(2)
    torch.testing.assert_close(one(images), other(images), atol=0, rtol=0)
    assert models.identity(one) == models.identity(other)
