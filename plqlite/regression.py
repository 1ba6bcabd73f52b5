"""Step 2: a quality node on the embedding turns the network into a regression of its own quality.

Imports torch alone: copy any function as it stands.
"""

import torch


def node_weights(embedding: torch.Tensor, quality: torch.Tensor, reading: str = "signed") -> torch.Tensor:
    """Weights of the quality node, w = Q̂/‖e‖₁ (Eq. 3), in one of three readings.

    ========  =================  ==============================================================
    reading   w_k                what follows
    ========  =================  ==============================================================
    signed    Q̂·sign(e_k)/‖e‖₁   M_Q(I) = Q̂, and all features weigh the same: what the paper asks
    literal   Q̂/‖e‖₁             bounded, but M_Q(I) = Q̂·Σe/‖e‖₁ is not Q̂
    summed    Q̂/Σe               M_Q(I) = Q̂, but w explodes where Σe is near 0
    ========  =================  ==============================================================

    Parameters
    ----------
    embedding : e, (B, d), L2-normalised
    quality : scaled quality Q̂, (B,)
    reading : "signed", "literal" or "summed"

    Returns
    -------
    (B, d) weights, constants of the image: no gradient flows into them.

    Raises
    ------
    ValueError
        Another reading.

    Examples
    --------
    >>> node_weights(torch.tensor([[0.6, -0.8]]), torch.tensor([0.7]))
    tensor([[ 0.5000, -0.5000]])
    """
    e, q = embedding.detach(), quality.detach().unsqueeze(-1)  # (B, d), (B, 1)
    norm = e.abs().sum(-1, keepdim=True)  # ‖e‖₁: (B, 1)
    if reading == "signed":
        return q * e.sign() / norm
    if reading == "literal":
        return (q / norm).expand_as(e)
    if reading == "summed":
        return (q / e.sum(-1, keepdim=True)).expand_as(e)
    raise ValueError(f"reading={reading!r}: Eq. 3 has the readings 'signed', 'literal' and 'summed'.")


def quality_node(embedding: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Output of the quality node, M_Q(I) = Σ_k w_k e_k.

    Parameters
    ----------
    embedding : e, (B, d), L2-normalised, with its graph back to the pixels
    weights : (B, d), see `node_weights`

    Returns
    -------
    (B,) one number an image; Q̂ under the readings "signed" and "summed".

    Examples
    --------
    >>> quality_node(torch.tensor([[0.6, -0.8]]), torch.tensor([[0.5, -0.5]]))
    tensor([0.7000])
    """
    return (embedding * weights).sum(-1)


class QualityRegression(torch.nn.Module):
    """The quality regression network M_Q: a recognition network with a quality node on top.

    Its weights belong to the images they were made for. Pass it to any attribution method that
    takes a module with one output.

    Parameters
    ----------
    model : images (B, 3, H, W) -> L2-normalised embeddings (B, d)
    weights : (B, d), see `node_weights`

    Examples
    --------
    >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 4))
    >>> images, quality = torch.rand(2, 3, 2, 2), torch.tensor([0.2, 0.7])
    >>> QualityRegression(network, node_weights(network(images), quality))(images).detach().allclose(quality)
    True
    """

    def __init__(self, model: torch.nn.Module, weights: torch.Tensor) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("weights", weights)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return M_Q(I), (B,)."""
        return quality_node(self.model(images), self.weights)
