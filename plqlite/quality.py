"""Step 1: the quality of an image, without labels or training (SER-FIQ).

An image is useful for recognition if its embedding hardly moves under dropout in the
network's head. Imports torch alone: copy any function as it stands, together with those
that it calls.
"""

import torch
from torch.nn.functional import normalize


class DropoutHasNoEffect(ValueError):
    """Dropout left every embedding where it was, so that any score would be a meaningless 1."""


@torch.no_grad()
def stochastic_embeddings(
    head: torch.nn.Module, features: torch.Tensor, passes: int = 100, dropout: float = 0.5, seed: int = 0
) -> torch.Tensor:
    """Repeat the head under dropout.

    One mask per pass is shared by all images, so that much of the luck of the draw cancels when two
    images are compared. Masks are drawn on the CPU, so every device gets the same ones.

    Parameters
    ----------
    head : maps (..., D) features to (..., d) embeddings
    features : (B, D)
    passes : number of masks m, at least 2
    dropout : share of the features set to zero, in (0, 1)
    seed : chooses the masks, 0 to 2³² − 1

    Returns
    -------
    (B, m, d) L2-normalised embeddings.

    Raises
    ------
    ValueError
        Fewer than 2 passes, another seed, or a dropout outside (0, 1) or that leaves fewer than four
        features.

    Examples
    --------
    >>> stochastic_embeddings(torch.nn.Linear(8, 4), torch.rand(2, 8), passes=10).shape
    torch.Size([2, 10, 4])
    """
    _check(passes, dropout, features.shape[-1])
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed={seed}: choose one from 0 to 2**32 - 1, as many as torch tells apart.")
    masks = torch.Generator("cpu").manual_seed(int(seed))
    chunk = max(1, 2**23 // features.numel())  # 32 MB of masked features, however many passes
    embeddings = []
    for start in range(0, passes, chunk):
        size = (min(chunk, passes - start), 1, features.shape[-1])
        keep = torch.rand(size, generator=masks, device="cpu", dtype=torch.float32) >= dropout
        scale = keep.to(features) / (1 - dropout)  # (chunk, 1, D): what remains is scaled up, as in training
        embeddings.append(normalize(head(features * scale), dim=-1))  # (chunk, B, d)
    return torch.cat(embeddings).transpose(0, 1)


def robustness(embeddings: torch.Tensor) -> torch.Tensor:
    """Turn the spread of an image's embeddings into its quality (Eq. 1).

    Q = 2σ(−(2/m²) Σ_{i<j} ‖x_i − x_j‖): 1 if all m embeddings agree, less the more they differ.

    Parameters
    ----------
    embeddings : (B, m, d), L2-normalised

    Returns
    -------
    (B,) quality Q in (0, 1).

    Raises
    ------
    DropoutHasNoEffect
        The embeddings of an image are all the same.

    Examples
    --------
    >>> robustness(torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]))  # 2σ(−√2/2)
    tensor([0.6605])
    """
    # The mean over all m² ordered pairs is the (2/m²) Σ_{i<j} of Eq. 1: the diagonal adds zeros.
    # Row by row, so that memory does not grow with m²; without the matrix product, whose
    # rounding would turn the zeros into 3e-4.
    exact = "donot_use_mm_for_euclid_dist"
    rows = embeddings.split(100, dim=-2)
    total = sum(torch.cdist(row, embeddings, compute_mode=exact).sum((-2, -1)) for row in rows)
    return _quality(total / embeddings.shape[-2] ** 2)


def ser_fiq(
    model: torch.nn.Module, images: torch.Tensor, passes: int = 100, dropout: float = 0.5, seed: int = 0
) -> torch.Tensor:
    """Estimate the quality of face images (Eq. 1; SER-FIQ, arXiv 2003.09373).

    Only the head is repeated; the features before it are computed once.

    Parameters
    ----------
    model : has `features(images)` and `head(features)`
    images : (B, 3, H, W) aligned RGB, 0..255
    passes, dropout, seed : see `stochastic_embeddings`

    Returns
    -------
    (B,) quality Q in (0, 1). Comparable between images of one model only.

    Raises
    ------
    ValueError
        See `stochastic_embeddings`.
    DropoutHasNoEffect
        The embeddings of an image are all the same.

    Examples
    --------
    >>> import plqlite
    >>> model = plqlite.sface()
    >>> images = plqlite.load_face(plqlite.sample_faces()["astronaut"], model)
    >>> print(f"{ser_fiq(model, images).item():.2f}")
    0.90
    """
    with torch.no_grad():
        features = model.features(images)  # (B, D)
    return robustness(stochastic_embeddings(model.head, features, passes, dropout, seed))


def closed_form_quality(
    head: torch.nn.Linear, features: torch.Tensor, dropout: float = 0.5, passes: float = 100
) -> torch.Tensor:
    """Compute what Eq. 1 gives on average over all draws of m masks, without drawing one.

    Under dropout an affine head's output z has mean μ = A f + b and covariance
    C = p/(1−p) · A diag(f²) Aᵀ. With u = μ/‖μ‖, the mean distance of two normalised draws is, to
    second order, d = √(2 (tr C − uᵀCu) / (‖μ‖² + tr C)): only what is orthogonal to μ survives
    the normalisation. Neither trace needs the d×d matrix C. Of the m² pairs of Eq. 1, m are a draw and
    itself, at no distance: its mean is (m−1)/m · d, and Q = 2σ(−(m−1)/m · d).

    Parameters
    ----------
    head : one affine layer, weight (d, D) and bias (d,)
    features : (B, D)
    dropout : share of features set to zero, in (0, 1)
    passes : m, at least 2; infinity for the limit of ever more passes

    Returns
    -------
    (B,) quality Q in (0, 1); differentiable.

    Raises
    ------
    TypeError
        The head is not one `torch.nn.Linear`.
    ValueError
        Fewer than 2 passes, or a dropout outside (0, 1) or that leaves fewer than four features.
    DropoutHasNoEffect
        The embeddings of an image do not vary.

    Examples
    --------
    >>> closed_form_quality(torch.nn.Linear(8, 4), torch.rand(2, 8)).shape
    torch.Size([2])
    """
    if not isinstance(head, torch.nn.Linear):
        raise TypeError(
            f"The closed form needs a head that is one torch.nn.Linear, found {type(head).__name__}: "
            "use ser_fiq, which draws masks and takes any head."
        )
    _check(passes, dropout, features.shape[-1])
    mean = head(features)  # μ: (B, d)
    direction = normalize(mean, dim=-1)  # u: (B, d)
    variance = dropout / (1 - dropout) * features.square()  # of a masked feature f_j k_j/(1−p): (B, D)
    squares = sum(rows.square().sum(0) for rows in head.weight.split(32))  # (D,); a few rows fit the cache
    trace = variance @ squares  # tr C: (B,)
    along = (variance * (direction @ head.weight).square()).sum(-1)  # uᵀCu: (B,)
    spread = (2 * (trace - along) / (mean.square().sum(-1) + trace)).clamp(min=0)
    return _quality((1 - 1 / passes) * spread.sqrt())


def ser_fiq_closed_form(
    model: torch.nn.Module, images: torch.Tensor, dropout: float = 0.5, passes: float = 100
) -> torch.Tensor:
    """Compute the quality that `ser_fiq` estimates, without its noise.

    Parameters
    ----------
    model : has `features(images)`, and a `head` that is one `torch.nn.Linear`
    images : (B, 3, H, W) aligned RGB, 0..255
    dropout, passes : see `closed_form_quality`

    Returns
    -------
    (B,) quality Q in (0, 1).

    Raises
    ------
    TypeError, ValueError, DropoutHasNoEffect
        See `closed_form_quality`.

    Examples
    --------
    >>> import plqlite
    >>> model = plqlite.sface()
    >>> images = plqlite.load_face(plqlite.sample_faces()["astronaut"], model)
    >>> print(f"{ser_fiq_closed_form(model, images).item():.2f}")
    0.90
    """
    with torch.no_grad():
        return closed_form_quality(model.head, model.features(images), dropout, passes)


def scale_quality(q: torch.Tensor, alpha: float, r: float) -> torch.Tensor:
    """Spread the narrow range of Q over 0..1 (Eq. 2): Q̂ = σ(α(Q − r)).

    Parameters
    ----------
    q : quality Q, any shape
    alpha, r : slope and centre, fitted for one model by `fit_scaling`

    Returns
    -------
    Scaled quality Q̂ in (0, 1), shape of `q`.

    Examples
    --------
    >>> scale_quality(torch.tensor([0.88, 0.90]), alpha=200, r=0.89)
    tensor([0.1192, 0.8808])
    """
    return torch.sigmoid(alpha * (q - r))


def fit_scaling(qualities: torch.Tensor) -> tuple[float, float]:
    """Choose α and r of Eq. 2 from the qualities of a development set.

    r is their mean; α puts 95 % of them into 0.05..0.95: σ(α t) = 0.95, that is α t = ln 19, for
    the distance t from the mean that 95 % of them do not exceed.

    Parameters
    ----------
    qualities : (N,) quality Q of N images, one model

    Returns
    -------
    alpha, r

    Raises
    ------
    ValueError
        Fewer than two images, or qualities that are all the same but for rounding.

    Examples
    --------
    >>> alpha, r = fit_scaling(torch.tensor([0.88, 0.89, 0.90]))
    >>> print(f"{alpha:.0f}, {r:.2f}")
    294, 0.89
    """
    if qualities.numel() < 2 or not qualities.isfinite().all():
        raise ValueError(f"{qualities.numel()} qualities, or NaN among them: fit on several different faces.")
    r = qualities.mean()
    t = (qualities - r).abs().quantile(0.95)
    if t < 1e-5:
        raise ValueError(
            f"95 % of {qualities.numel()} qualities are the same: fit on several different faces."
        )
    return (torch.log(torch.tensor(19.0)) / t).item(), r.item()


def _check(passes: float, dropout: float, width: int) -> None:
    """Refuse a number of passes or a share of dropout that Eq. 1 has no meaning for."""
    if not passes >= 2:
        raise ValueError(f"passes={passes}: a distance needs at least 2 passes; the default is 100.")
    if not 0 < dropout < 1:
        raise ValueError(
            f"dropout={dropout}: choose a share between 0 and 1, both excluded; the default is 0.5."
        )
    if width * (1 - dropout) < 4:  # many masks would leave nothing but the bias of the head
        raise ValueError(
            f"dropout={dropout} leaves {width * (1 - dropout):.2g} of {width} features on average: choose a "
            "share that leaves 4 or more."
        )


def _quality(distance: torch.Tensor) -> torch.Tensor:
    """Q = 2σ(−d), refused where d is no number, or no more than the rounding of equal embeddings."""
    if (~distance.isfinite()).any():
        raise ValueError("Embeddings hold NaN or infinity: check the weights of the network.")
    unmoved = distance < 1e-6
    if unmoved.any():
        raise DropoutHasNoEffect(
            f"Dropout does not move the embedding of {unmoved.sum()} of {unmoved.numel()} images, and a "
            "score of 1 would mean nothing: check that the features are not zero and that the head uses them."
        )
    return 2 * torch.sigmoid(-distance)
