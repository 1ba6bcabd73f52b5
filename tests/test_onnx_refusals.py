"""ONNX files of strangers: what is refused, and what they cannot do."""

import tracemalloc

import numpy as np
import onnx
import pytest
import torch
from networks import Wrapped, export, same, small
from onnx import TensorProto, helper, numpy_helper

import plqlite
from conftest import random_images
from plqlite import UnusableModel
from plqlite.networks import onnx_graph
from plqlite.networks.onnx_graph import embedding_graph, find_split, read_onnx


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


def test_files_that_are_no_networks(small_copy, tmp_path):
    path = small_copy
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
def test_no_file_outside_the_folder_is_read(tmp_path, location, as_node):
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
    with pytest.raises(UnusableModel, match="keeps weights in another file, which must be beside it"):
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


def test_what_the_embedding_does_not_depend_on_is_ignored(tmp_path):
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
    with pytest.raises(UnusableModel, match="No face recognition model takes images like"):
        plqlite.from_onnx(path)


def test_without_a_gradient_there_is_no_map(tmp_path):
    network = Wrapped(lambda x: x.round(), small(), same)
    with pytest.raises(UnusableModel, match="no gradient comes back to the pixels"):
        plqlite.from_onnx(export(network, tmp_path / "r.onnx"))


def test_a_constant_embedding_is_refused(tmp_path):
    network = small()
    network[8].weight.data.zero_()
    with pytest.raises(UnusableModel, match="a flat image all get the same embedding"):
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


def test_names_in_a_file_are_not_run_as_code(small_copy, tmp_path):
    """torch.fx writes the names of layers into a function."""
    proof = tmp_path / "proof"
    evil = f'training"), open("{proof}", "w"), getattr(self, "training'
    path = small_copy
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


def test_open_size_is_stated(small_onnx, tmp_path):
    inputs = [("x", TensorProto.FLOAT, ["b", 3, "h", "w"])]
    path = write(tmp_path / "r.onnx", LINEAR, inputs, weights=[("w", np.eye(768, 8, dtype=np.float32))])
    assert plqlite.from_onnx(path, size=16).size == 16
    with pytest.raises(UnusableModel, match=r"size=20, but the file takes images of 16×16"):
        plqlite.from_onnx(small_onnx, size=20)


def test_split_is_named(small_copy):
    path = small_copy
    with pytest.raises(UnusableModel, match=r"no node 'fc'; its last nodes are .*Gemm"):
        plqlite.from_onnx(path, split="fc")
    graph = embedding_graph(read_onnx(path)[0])
    inside = next(node.name for node in graph.nodes if node.op_type == "PRelu")
    assert find_split(graph, inside)[0] == inside
    beside = [node.name for node in graph.nodes if node.op_type == "Conv"][1]  # inside a residual block
    with pytest.raises(UnusableModel, match=f"cannot begin at {beside}: what follows it also needs"):
        find_split(graph, beside)


def test_conversion_that_went_wrong_is_refused(small_copy, monkeypatch):
    path = small_copy
    right = onnx_graph.onnx_runtime
    monkeypatch.setattr(onnx_graph, "onnx_runtime", lambda *arguments: right(*arguments)[:, ::-1].copy())
    with pytest.raises(UnusableModel, match=r"embeddings of 1 images differ from ONNX Runtime's"):
        plqlite.from_onnx(path)
    plqlite.from_onnx(path, check=False)


def test_the_comparison_is_with_the_file_itself(small_copy, monkeypatch):
    """A fault in what both sides share would not be seen: plant one in the folding of constants."""
    path = small_copy
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


def test_loading_twice_gives_the_same_numbers(small_copy):
    path = small_copy
    one, other = plqlite.from_onnx(path), plqlite.from_onnx(path)
    images = random_images(2)
    torch.testing.assert_close(one(images), other(images), atol=0, rtol=0)
    assert one.identity == other.identity


# --- what would not fit into memory is refused before it is computed ---


def doubled(times):
    """A constant that doubles at each step; five bytes a step in the file."""
    nodes = [helper.make_node("Concat", [f"c{n}", f"c{n}"], [f"c{n + 1}"], axis=0) for n in range(times)]
    nodes += [helper.make_node("ReduceSum", [f"c{times}"], ["s"], keepdims=0)]
    return [*nodes, *LINEAR[:1], helper.make_node("MatMul", ["f", "w"], ["m"]), add("m", "s")]


def add(one, other):
    return helper.make_node("Add", [one, other], ["y"])


def blown_up(node, *weights):
    """A node that makes much of the image, and a mean that hides it."""
    mean = helper.make_node("GlobalAveragePool", ["big"], ["m"])
    flat = [helper.make_node("Flatten", ["m"], ["f"]), helper.make_node("MatMul", ["f", "v"], ["y"])]
    return [node, mean, *flat], weights


CONV = blown_up(helper.make_node("Conv", ["x", "k"], ["big"], pads=[10000] * 4))
PAD = blown_up(helper.make_node("Pad", ["x", "p"], ["big"]), ("p", np.array([0, 0, 9999, 9999] * 2)))
RESIZE = blown_up(helper.make_node("Resize", ["x", "", "r"], ["big"]), ("r", np.float32([1, 1, 1e6, 1e6])))
UNKNOWN = blown_up(
    helper.make_node("Expand", ["x", "shape"], ["big"]),
)
UNKNOWN[0].insert(0, helper.make_node("Cast", ["total"], ["shape"], to=TensorProto.INT64))
UNKNOWN[0].insert(0, helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0))


@pytest.mark.parametrize(
    ("nodes", "weights", "message"),
    [
        (doubled(27), [("c0", np.ones(64, np.float32))], r"constant 'c20' would have 67108864 values"),
        (doubled(20), [("c0", np.ones(64, np.float32))], r"constant 'c20' would have 67108864 values"),
        (*CONV, r"'big' \(Conv\) would have \d+ values"),
        (*PAD, r"'big' \(Pad\) would have \d+ values"),
        (*RESIZE, r"'big' \(Resize\) would have \d+ values"),
        (*UNKNOWN, r"The size of 'big' \(Expand\) cannot be told beforehand"),
    ],
    ids=["27 times", "20 times", "conv", "pad", "resize", "unknown"],
)
def test_a_small_file_cannot_take_much_memory(tmp_path, nodes, weights, message):
    weights = [
        *WEIGHT,
        ("v", np.ones((3, 8), np.float32)),
        ("k", np.ones((3, 3, 3, 3), np.float32)),
        *weights,
    ]
    path = write(tmp_path / "r.onnx", nodes, weights=weights)
    assert path.stat().st_size < 40000
    tracemalloc.start()
    with pytest.raises(UnusableModel, match=message):
        plqlite.from_onnx(path)
    assert tracemalloc.get_traced_memory()[1] < 1.5 * 2**30 / 4
    tracemalloc.stop()


def test_many_small_constants_are_large_together(tmp_path):
    """Each of 100 is below the limit for one."""
    fan = [helper.make_node("Concat", ["big", f"one{n}"], [f"c{n}"], axis=0) for n in range(100)]
    nodes = [*doubled(15)[:15], helper.make_node("Identity", ["c15"], ["big"]), *fan]
    nodes += [helper.make_node("Sum", [f"c{n}" for n in range(100)], ["s"]), *doubled(0)[2:3], *LINEAR[:1]]
    ones = [(f"one{n}", np.ones(1, np.float32)) for n in range(100)]
    constants = [("c0", np.ones(128, np.float32)), *WEIGHT, *ones]
    nodes = [node for node in nodes if node.output[0] != "m"]
    nodes += [helper.make_node("MatMul", ["f", "w"], ["m"]), add("m", "s")]
    path = write(tmp_path / "r.onnx", nodes, weights=constants)
    with pytest.raises(
        UnusableModel, match="with those before it: no face recognition network needs so many"
    ):
        plqlite.from_onnx(path)


def test_external_weights_with_a_bad_offset_are_named(small_onnx, tmp_path):
    proto = onnx.load(small_onnx)
    onnx.save(proto, tmp_path / "r.onnx", save_as_external_data=True, location="r.data", size_threshold=0)
    proto = onnx.load(tmp_path / "r.onnx", load_external_data=False)
    for value in ("-5", "many", "99999999"):
        for tensor in proto.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == "offset":
                    entry.value = value
        (tmp_path / "s.onnx").write_bytes(proto.SerializeToString())
        with pytest.raises(UnusableModel, match=r"s\.onnx"):
            plqlite.from_onnx(tmp_path / "s.onnx")
