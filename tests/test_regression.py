import pytest
import torch
from torch.nn.functional import normalize

from plqlite.regression import QualityRegression, node_weights, quality_node


@pytest.fixture
def embedding():
    return normalize(torch.randn(20, 128, generator=torch.Generator().manual_seed(0)), dim=-1)


@pytest.fixture
def quality():
    return torch.linspace(0.05, 0.95, 20)


@pytest.mark.parametrize("reading", ["signed", "summed"])
def test_node_returns_the_quality(embedding, quality, reading):
    torch.testing.assert_close(quality_node(embedding, node_weights(embedding, quality, reading)), quality)


def test_literal_reading_does_not(embedding, quality):
    output = quality_node(embedding, node_weights(embedding, quality, "literal"))
    torch.testing.assert_close(output, quality * embedding.sum(-1) / embedding.abs().sum(-1))
    assert (output - quality).abs().min() > 0.01


def test_all_features_weigh_the_same(embedding, quality):
    for reading in ("signed", "literal", "summed"):
        magnitude = node_weights(embedding, quality, reading).abs()
        torch.testing.assert_close(magnitude, magnitude[:, :1].expand_as(magnitude))


def test_only_summed_explodes(quality):
    balanced = normalize(torch.tensor([[1.0, -1.0 + 1e-4, 1.0, -1.0]]), dim=-1)  # Σe is nearly 0
    largest = {r: node_weights(balanced, quality[:1], r).abs().max() for r in ("signed", "literal", "summed")}
    assert largest["signed"] == largest["literal"]
    assert largest["summed"] > 1e4 * largest["signed"]


def test_weights_are_constants(embedding, quality):
    assert not node_weights(embedding.requires_grad_(), quality).requires_grad


def test_module_is_the_regression_network(model, faces):
    embedding = model(faces)
    quality = torch.linspace(0.1, 0.9, len(faces))
    for reading in ("signed", "summed"):
        m_q = QualityRegression(model, node_weights(embedding, quality, reading))
        torch.testing.assert_close(m_q(faces), quality, atol=1e-5, rtol=1e-4)


def test_refuses_another_reading(embedding, quality):
    with pytest.raises(ValueError, match="'signed', 'literal' and 'summed'"):
        node_weights(embedding, quality, "loud")
