"""Any torch module as a model."""

import pytest
import torch
from networks import export, small
from torch import nn
from torch.nn.functional import normalize

import plqlite
from conftest import random_images
from plqlite import UnusableModel
from plqlite.networks.module import fold_batch_norm


def test_from_module_is_what_from_onnx_makes_of_its_export(tmp_path):
    network, images = small(), random_images(4)
    model = plqlite.from_module(network, last_layer="8", size=16, device="cpu")
    exported = plqlite.from_onnx(export(network, tmp_path / "r.onnx"), device="cpu")
    with torch.no_grad():
        torch.testing.assert_close(model(images), normalize(network((images - 127.5) / 127.5), dim=-1))
    torch.testing.assert_close(model.features(images), exported.features(images), atol=1e-4, rtol=1e-5)
    for one, other in ((model.head.weight, exported.head.weight), (model.head.bias, exported.head.bias)):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)
    for value in ("quality", "saliency"):
        one, other = (getattr(plqlite.explain(each, images), value) for each in (model, exported))
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-3)


def test_from_module_leaves_the_module_alone():
    network = small().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    model = plqlite.from_module(network, last_layer="8", size=16)
    model(random_images(2))
    assert network.training
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name], atol=0, rtol=0)


class Odd(nn.Module):
    """A network with something after its last layer that is no layer."""

    def __init__(self, after):
        super().__init__()
        self.convolution, self.fc, self.after = nn.Conv2d(3, 4, 3, 2), nn.Linear(196, 8), after

    def forward(self, x):
        return self.after(self.fc(self.convolution(x).flatten(1)))


class Unused(nn.Module):
    def __init__(self):
        super().__init__()
        self.unused = nn.Linear(8, 8)

    def forward(self, z):
        return z


class Branches(nn.Module):
    """Two layers beside each other, which do not fit one after the other."""

    def __init__(self):
        super().__init__()
        self.one, self.other = nn.Linear(8, 3), nn.Linear(8, 5)

    def forward(self, z):
        return torch.cat([self.one(z), self.other(z)], dim=1)


@pytest.mark.parametrize(
    ("module", "last_layer", "size", "error", "message"),
    [
        (Odd(normalize), "classifier", 16, ValueError, "no layer 'classifier'; the linear ones are fc"),
        (Odd(normalize), "fc", 20, UnusableModel, r"Odd: it fails on images of shape \(3, 3, 20, 20\)"),
        (Odd(torch.tanh), "fc", 16, UnusableModel, "Odd: what it does after that layer is not a chain"),
        (Odd(nn.Softmax(0)), "after.0", 16, ValueError, "no layer 'after.0'"),
        (Odd(Unused()), "after.unused", 16, UnusableModel, "never calls that layer"),
        (Odd(Branches()), "fc", 16, UnusableModel, "Odd: what it does after that layer is not a chain"),
        (Odd(lambda z: (z, z)), "fc", 16, UnusableModel, r"Odd: it returns tuple: wrap it"),
    ],
)
def test_other_modules_are_refused(module, last_layer, size, error, message):
    with pytest.raises(error, match=message):
        plqlite.from_module(module, last_layer=last_layer, size=size)


def test_from_module_with_a_normalisation_or_without_an_affine_head():
    assert isinstance(plqlite.from_module(Odd(normalize), "fc", 16).head, nn.Linear)
    model = plqlite.from_module(Odd(nn.Tanh()), "fc", 16, name="tanh")
    assert model.card["head"] == "not affine: no closed form"
    assert model.name == "tanh"
    with pytest.raises(TypeError, match="use ser_fiq"):
        plqlite.ser_fiq_closed_form(model, random_images(1))
    plqlite.ser_fiq(model, random_images(1))


def test_modules_that_change_or_coarsen_their_input():
    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = small()

        def forward(self, x):
            return self.network(x.sub_(127.5).div_(127.5))

    model = plqlite.from_module(InPlace(), "network.8", 16, mean=0, std=1)
    images = random_images(3)
    torch.testing.assert_close(
        model(images), plqlite.from_module(small(), "8", 16)(images), atol=1e-5, rtol=0
    )
    with pytest.raises(UnusableModel, match=r"half precision .* \.float\(\)"):
        plqlite.from_module(small().half(), "8", 16)


class Coupled(nn.Module):
    """A network in which the images of a batch see each other."""

    def __init__(self, how):
        super().__init__()
        self.network, self.how = small(), how

    def forward(self, images):
        if self.how == "train":
            self.train()
        if self.how == "mean":
            images = images - 0.1 * images.mean(0)
        if self.how == "first":
            images = images + 0.1 * images[:1]
        return self.network(images)


@pytest.mark.parametrize("how", ["train", "mean", "first"])
def test_a_network_that_couples_images_is_refused(how):
    message = "switches layers to training mode" if how == "train" else "depends on the others of its batch"
    with pytest.raises(UnusableModel, match=f"Coupled: .*{message}"):
        plqlite.from_module(Coupled(how), "network.8", 16)
    plqlite.from_module(Coupled("not"), "network.8", 16)


def test_what_is_no_module_is_refused():
    with pytest.raises(TypeError, match=r"takes a torch.nn.Module, found NoneType"):
        plqlite.from_module(None, "fc", 16)


# --- folding BatchNorm ---


class Branch(nn.Module):
    """A convolution whose output goes through BatchNorm, and perhaps past it as well."""

    def __init__(self, past):
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.past = past
        with torch.no_grad():
            self.norm.running_mean.uniform_(-1, 1)
            self.norm.running_var.uniform_(0.5, 2)
            self.norm.weight.uniform_(0.5, 2)
            self.norm.bias.uniform_(-1, 1)

    def forward(self, pixels):
        output = self.convolution(pixels)
        return (self.norm(output) + self.past * output).flatten(1)


def test_batch_norm_is_folded_into_the_convolution_before_it():
    network, pixels = Branch(past=0).eval(), torch.rand(2, 3, 8, 8)
    folded = fold_batch_norm(network, pixels)
    assert isinstance(folded.norm, nn.Identity)
    assert isinstance(network.norm, nn.BatchNorm2d)
    torch.testing.assert_close(folded(pixels), network(pixels))


def test_a_convolution_that_something_else_takes_too_stays_as_it_is():
    network = Branch(past=1).eval()
    assert fold_batch_norm(network, torch.rand(2, 3, 8, 8)) is network


def test_batch_norm_after_an_activation_in_place_stays_as_it_is():
    """The convolution's output is then the very tensor that BatchNorm takes, but other numbers are in it."""
    layers = (nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), Branch(0).norm)
    network = nn.Sequential(*layers).eval()
    assert fold_batch_norm(network, torch.rand(2, 3, 8, 8)) is network


def test_weights_that_are_computed_are_not_folded():
    convolution = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))
    network = nn.Sequential(convolution, Branch(0).norm).eval()
    assert isinstance(fold_batch_norm(network, torch.rand(2, 3, 8, 8))[1], nn.BatchNorm2d)


def test_explanations_stay_when_batch_norm_is_folded(monkeypatch):
    """SFace has 27 of them. Numbers stay to 1e-5, and maps are as exact as before.

    PReLU has a bend at 0. A value that close to 0 changes its side by rounding alone, and some pixels of a
    map with it: so maps are compared with those in double precision.
    """
    folded = plqlite.sface(device="cpu")
    monkeypatch.setattr("plqlite.networks.onnx.fold_batch_norm", lambda backbone, _: backbone)
    plain = plqlite.sface(device="cpu")
    norms = [sum(isinstance(each, nn.BatchNorm2d) for each in model.modules()) for model in (folded, plain)]
    assert norms == [1, 28]
    images = torch.cat([plqlite.load_face(photo, plain) for photo in plqlite.sample_faces().values()])
    found, expected = plqlite.explain(folded, images), plqlite.explain(plain, images)
    for name in ("quality", "scaled_quality", "signal", "noise"):
        assert error(found, expected, name) < 1e-5
    exact = plqlite.explain(plain.double(), images.double())
    for name in ("plq", "pattern", "saliency", "deviation"):
        assert error(found, exact, name) < max(1e-4, 1.2 * error(expected, exact, name))


def error(explanation, truth, name):
    """Largest relative error of an image."""
    found, expected = (
        getattr(each, name).double().reshape(len(truth.quality), -1) for each in (explanation, truth)
    )
    return ((found - expected).norm(dim=-1) / expected.norm(dim=-1)).max().item()
