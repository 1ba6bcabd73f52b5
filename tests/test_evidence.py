import pytest
import torch
from networks import iresnet, with_statistics
from torch import nn
from torch.nn.functional import normalize

import plqlite
from conftest import random_images, tiny_model
from plqlite.evidence import signal_and_noise
from plqlite.quality import closed_form_quality


def random_cells(count=3, channels=5, side=4, seed=0):
    return torch.randn(count, channels, side, side, generator=torch.Generator().manual_seed(seed)).double()


def heads(cells):
    """A head that sees the cells flattened, and one that sees their mean; with what each takes."""
    torch.manual_seed(1)
    yield nn.Linear(cells[0].numel(), 7).double(), cells.flatten(1)
    yield nn.Linear(cells.shape[1], 7).double(), cells.mean((2, 3))


@torch.no_grad()
def totals(head, features, dropout):
    """Return uᵀb, ‖μ‖ and tr C − uᵀCu, with the covariance matrix itself."""
    mean = head(features)
    direction = normalize(mean, dim=-1)
    noise = []
    for u, f in zip(direction, features, strict=True):
        covariance = dropout / (1 - dropout) * head.weight @ torch.diag(f**2) @ head.weight.T
        noise.append(torch.trace(covariance) - u @ covariance @ u)
    return direction @ head.bias, mean.norm(dim=-1), torch.stack(noise)


@pytest.mark.parametrize("dropout", [0.2, 0.5])
def test_cells_add_up_to_the_whole(dropout):
    cells = random_cells()
    for head, features in heads(cells):
        bias, length, spread = totals(head, features, dropout)
        signal, noise = signal_and_noise(head, cells, dropout)
        assert signal.shape == noise.shape == (3, 4, 4)
        torch.testing.assert_close(signal.sum((1, 2)) + bias, length, rtol=1e-9, atol=0)
        torch.testing.assert_close(noise.sum((1, 2)), spread, rtol=1e-9, atol=0)


def test_cells_of_a_network_add_up(model, faces):
    features, cells = model.features_and_cells(faces)
    mean = model.head(features)
    direction = normalize(mean, dim=-1)
    signal, noise = signal_and_noise(model.head, cells)
    torch.testing.assert_close(
        signal.sum((1, 2)) + direction @ model.head.bias, mean.norm(dim=-1), rtol=1e-5, atol=0
    )
    trace = (model.head.weight.square().sum(0) * features.square()).sum(-1)
    distance = (2 * noise.sum((1, 2)) / (mean.square().sum(-1) + trace)).sqrt()
    expected = closed_form_quality(model.head, features, passes=float("inf"))
    torch.testing.assert_close(2 * torch.sigmoid(-distance), expected, rtol=1e-5, atol=0)


def test_equals_a_head_that_is_masked_cell_by_cell():
    """Without a cell, what the head returns along u falls by the cell's signal; its variance by its noise."""
    cells = random_cells(count=1)
    for head, features in heads(cells):
        direction = normalize(head(features), dim=-1)[0]
        signal, noise = signal_and_noise(head, cells)
        averaged = head.in_features == cells.shape[1]
        for row, column in [(0, 0), (2, 3), (3, 1)]:
            without = cells.clone()
            without[..., row, column] = 0
            changed = without.mean((2, 3)) if averaged else without.flatten(1)
            fall = (head(features) - head(changed))[0] @ direction
            assert fall.item() == pytest.approx(signal[0, row, column].item(), rel=1e-9)
            if not averaged:  # in a mean, the square of a feature does not belong to one cell alone
                across = head.weight - torch.outer(
                    direction, direction @ head.weight
                )  # without its part along u
                spread = [((across * f[0]) ** 2).sum() for f in (features, changed)]
                assert (spread[0] - spread[1]).item() == pytest.approx(noise[0, row, column].item(), rel=1e-9)


def test_equals_draws_of_masks():
    """Mean and variance of many draws, across the mean direction."""
    cells = random_cells(count=1).float()
    for head, features in heads(cells.double()):
        head, features = head.float(), features.float()
        direction = normalize(head(features), dim=-1)[0]
        keep = torch.rand(40000, features.shape[1], generator=torch.Generator().manual_seed(2)) >= 0.5
        draws = head(features * keep / 0.5)
        across = draws - torch.outer(draws @ direction, direction)
        signal, noise = signal_and_noise(head, cells)
        assert across.var(0).sum().item() == pytest.approx(noise.sum().item(), rel=0.03)
        along = (draws @ direction).mean() - head.bias @ direction
        assert along.item() == pytest.approx(signal.sum().item(), rel=0.05)


def test_an_empty_cell_has_neither_signal_nor_noise():
    cells = random_cells()
    cells[:, :, 1, 2] = 0
    for head, _ in heads(cells):
        for values in signal_and_noise(head, cells):
            assert (values[:, 1, 2] == 0).all()
            assert (values != 0).sum() == values.numel() - 3


def test_cells_have_the_places_of_the_face(sface):
    """The left half of a flat image is noise: the cells there change, those at the right hardly."""
    image = torch.full((1, 3, 112, 112), 128.0)
    changed = image.clone()
    changed[..., :40] = random_images(1, 112)[..., :40]
    difference = (sface.cells(image) - sface.cells(changed)).square().sum(1)[0]  # (7, 7)
    assert difference[:, :3].sum() > 10 * difference[:, 5:].sum()


def test_refuses_what_does_not_split():
    cells = random_cells()
    with pytest.raises(TypeError, match=r"one torch.nn.Linear splits up, found Sequential"):
        signal_and_noise(nn.Sequential(nn.Linear(80, 7)), cells)
    with pytest.raises(ValueError, match=r"takes 81 features, which \(5, 4, 4\) cells do not give"):
        signal_and_noise(nn.Linear(81, 7), cells)
    with pytest.raises(ValueError, match=r"dropout=1: choose"):
        signal_and_noise(nn.Linear(80, 7), cells, dropout=1)


def test_models_know_their_grid(model, faces):
    features, cells = model.features_and_cells(faces[:2])
    expected = {"sface": (2, 1024, 7, 7), "facenet": (2, 1792, 3, 3)}[model.name]
    assert cells.shape == expected
    assert features.equal(model.features(faces[:2]))
    torch.testing.assert_close(cells.mean((2, 3)) if model.name == "facenet" else cells.flatten(1), features)
    assert model.cells(faces[:2]).equal(cells)
    assert not any(module._forward_hooks for module in model.modules())


def test_a_network_of_arcface_s_kind_knows_its_grid():
    network = iresnet((1, 1, 1, 1), widths=(4, 4, 8, 8), dimensions=6)
    layer = next(name for name, each in network.named_modules() if isinstance(each, nn.Linear))
    cells = plqlite.from_module(network, layer, 112, device="cpu").cells(random_images(1, 112))
    assert cells.shape == (1, 8, 7, 7)


class Averaging(nn.Module):
    """Averages with a function: there is no layer to look at."""

    def __init__(self):
        super().__init__()
        self.convolution, self.last = nn.Conv2d(3, 6, 3, stride=4), nn.Linear(6, 5)

    def forward(self, images):
        return self.last(self.convolution(images).relu().mean((2, 3)))


class Whole(Averaging):
    """Averages an activation that a module of its own returns."""

    def __init__(self):
        super().__init__()
        self.block = nn.Sequential(self.convolution, nn.ReLU())

    def forward(self, images):
        return self.last(self.block(images).mean((2, 3)))


class Pooling(Averaging):
    """Averages with a layer, but activates with a function: only this layer's input is the map."""

    def __init__(self):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, images):
        return self.last(self.pool(self.convolution(images).relu()).flatten(1))


def test_a_grid_that_no_layer_shows_is_not_invented():
    torch.manual_seed(0)
    images = random_images(1, 32)
    for network in (Whole(), Pooling()):
        assert plqlite.from_module(network, "last", 32, device="cpu").cells(images).shape == (1, 6, 8, 8)
    network = Averaging()
    network.convolution.bias.data[0] = 9.0  # one channel is what the last layer averages, the others are not
    hidden = plqlite.from_module(network, "last", 32, device="cpu")
    with pytest.raises(ValueError, match="The features of Averaging have no places"):
        hidden.cells(images)


def test_features_without_places_have_no_cells(images):
    flat = nn.Sequential(nn.Flatten(), nn.Linear(16 * 16 * 3, 9), nn.Tanh(), nn.Linear(9, 5))
    model = plqlite.from_module(flat, "3", 16, device="cpu")
    with pytest.raises(ValueError, match="The features of Sequential have no places"):
        model.cells(images)
    oblong = nn.Sequential(nn.Conv2d(3, 6, 3, 4), nn.Flatten(2), nn.Unflatten(2, (2, 8)), nn.Tanh())
    oblong.extend([nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5)])
    with pytest.raises(ValueError, match="The features of Sequential have no places"):
        plqlite.from_module(oblong, "6", 16, device="cpu").cells(images)
    bent = with_statistics(nn.Sequential(nn.Conv2d(3, 2, 3, 4), nn.Flatten(), nn.Linear(32, 5), nn.Tanh()))
    with pytest.raises(ValueError, match="an affine head"):
        plqlite.from_module(bent, "2", 16, device="cpu").cells(images)


def test_no_gradient_is_lost_on_the_way(images):
    """`explain` takes the features from the same pass."""
    model, pixels = tiny_model(), images.clone().requires_grad_()
    features, cells = model.features_and_cells(pixels)
    assert features.requires_grad
    assert cells.shape == (3, 4, 7, 7)
