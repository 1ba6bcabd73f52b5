"""Step 1, place by place: which parts of the face carry the embedding, and which make it uncertain.

The closed form of the quality is a sum over the places of the network's last feature map. Imports torch
alone: copy the function as it stands.
"""

import torch
from torch.nn.functional import normalize


def signal_and_noise(
    head: torch.nn.Linear, cells: torch.Tensor, dropout: float = 0.5
) -> tuple[torch.Tensor, torch.Tensor]:
    """Split what the closed form of Eq. 1 is made of over the cells of the last feature map.

    The closed form (`closed_form_quality`) depends on three numbers: ‖μ‖, tr C and uᵀCu, for the mean
    μ = A f + b of the head's output under dropout, its direction u = μ/‖μ‖, and its covariance
    C = p/(1−p) · A diag(f²) Aᵀ. Written out over the features f_c, with A_c the column of A that
    feature c is multiplied by:

        ‖μ‖ = uᵀμ     = uᵀb + Σ_c (uᵀA)_c f_c                           signal
        tr C − uᵀCu   = p/(1−p) Σ_c f_c² (‖A_c‖² − (uᵀA)_c²)             noise

    Each term belongs to one feature, and each feature to one cell. Where the head sees all cells
    (flattened), f_c is an entry of a cell. Where it sees their mean, f_c = Σ_cells a_c / n, so the cell's
    part of f_c, in both sums, is a_c/n. Either way the sums are split exactly: no gradient, no second pass.

    The signal alone is what CAM and HiResCAM show for the embedding's own direction (arXiv 1512.04150,
    2011.08891).

    Parameters
    ----------
    head : one affine layer, weight (d, D) and bias (d,)
    cells : (B, C, h, w), the last feature map; D = C·h·w if the head sees it flattened, D = C if averaged
    dropout : share of features set to zero, in (0, 1)

    Returns
    -------
    signal : (B, h, w); their sum and uᵀb add up to ‖μ‖
    noise : (B, h, w); they add up to tr C − uᵀCu. Below 0 in a cell that has the other sign than the
        mean of all cells, which only a head that averages can have.

    Raises
    ------
    TypeError
        The head is not one `torch.nn.Linear`.
    ValueError
        The head takes other features than these cells, flattened or averaged, or a dropout outside (0, 1).

    Examples
    --------
    >>> cells = torch.ones(1, 3, 2, 2)
    >>> signal, noise = signal_and_noise(torch.nn.Linear(12, 5), cells)
    >>> signal.shape, noise.shape
    (torch.Size([1, 2, 2]), torch.Size([1, 2, 2]))
    """
    if not isinstance(head, torch.nn.Linear):
        raise TypeError(f"Only a head that is one torch.nn.Linear splits up, found {type(head).__name__}.")
    if not 0 < dropout < 1:
        raise ValueError(f"dropout={dropout}: choose a share between 0 and 1, both excluded.")
    channels, places = cells.shape[1], cells[0, 0].numel()
    if head.in_features == channels * places:
        features, part = cells, cells  # (B, C, h, w)
    elif head.in_features == channels:
        features, part = cells.mean((2, 3), keepdim=True), cells / places  # (B, C, 1, 1), (B, C, h, w)
    else:
        raise ValueError(
            f"The head takes {head.in_features} features, which {tuple(cells.shape[1:])} cells do not give, "
            "neither flattened nor averaged: take the map that the head sees."
        )
    direction = normalize(head(features.flatten(1)), dim=-1)  # u: (B, d)
    along = direction @ head.weight  # uᵀA: (B, D)
    squares = sum(rows.square().sum(0) for rows in head.weight.split(32))  # ‖A_c‖²: (D,)
    across = squares - along.square()  # ‖A_c‖² − (uᵀA)_c²: (B, D)
    signal = (along.view_as(features) * part).sum(1)  # (B, h, w)
    noise = dropout / (1 - dropout) * (across.view_as(features) * features * part).sum(1)
    return signal, noise
