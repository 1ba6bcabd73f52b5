"""Any face recognition network as an ONNX file: what is understood."""

import warnings

import numpy as np
import onnx
import pytest
import torch
from networks import Wrapped, export, same, small, with_statistics
from onnx import helper, numpy_helper
from torch import nn
from torch.nn.functional import normalize

import plqlite
from conftest import random_images
from plqlite import UnusableModel
from plqlite.networks.onnx_graph import embedding_graph, read_onnx
from plqlite.networks.weights import SFACE, find_weights

BOTH_EXPORTERS = [False, pytest.param(True, marks=pytest.mark.slow)]  # torch's new one takes seconds


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
@pytest.mark.parametrize("dynamo", BOTH_EXPORTERS)
def test_fixed_batch(tmp_path, batch, dynamo):
    class View(nn.Module):
        def forward(self, x):
            return x.view(len(x), -1)  # written into the file with the batch that it was exported for

    network = head_of(View(), nn.Linear(294, 8), nn.BatchNorm1d(8))
    check(export(network, tmp_path / "r.onnx", batch=batch, dynamo=dynamo), network)


@pytest.mark.slow
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


@pytest.mark.parametrize("dynamo", BOTH_EXPORTERS)
@pytest.mark.parametrize("ending", ["normalize", "division", "product"])
def test_normalisation_in_the_graph_is_found(tmp_path, ending, dynamo):
    after = {
        "normalize": normalize,
        "division": lambda z: z / z.norm(dim=1, keepdim=True),
        "product": lambda z: z * (z.square().sum(1, keepdim=True) + 1e-10).rsqrt(),
    }[ending]
    network = Wrapped(same, small(), after)
    model = check(export(network, tmp_path / "r.onnx", dynamo=dynamo), network)
    lengths = model.head(model.features(random_images(5))).norm(dim=-1)
    assert lengths.std() > 1e-3  # the head's output is what was normalised


def test_lp_normalization_is_found(tmp_path):
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
        graph = embedding_graph(read_onnx(path)[0])
        split = next(node.name for node in graph.nodes if node.op_type == "Gemm")
    model = check(path, network, affine=split is None, split=split)
    plqlite.explain(model, random_images(2), passes=10)
    if split:
        assert model.card["split"] == split
        assert model.card["head"] == "not affine: no closed form"
        with pytest.raises(TypeError, match="use ser_fiq"):
            plqlite.ser_fiq_closed_form(model, random_images(2))
        drawn = [plqlite.explain(model, random_images(2), passes).quality for passes in (None, 100)]
        assert drawn[0].equal(drawn[1])  # there is no closed form to take


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


@pytest.mark.parametrize("dynamo", BOTH_EXPORTERS)
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
    assert any("mean and std are ignored" in str(each.message) for each in caught) is bool(inside)
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


def test_sface_is_what_from_onnx_makes_of_its_file(sface, tmp_path):
    path = tmp_path / "sface.onnx"
    path.write_bytes(find_weights(SFACE).read_bytes())
    faces = [plqlite.sample_faces()[name] for name in ("astronaut", "grace_hopper")]
    model = plqlite.from_onnx(path, device="cpu")
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
