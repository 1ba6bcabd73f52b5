"""Step 3: back-propagate the quality to the pixels and turn gradients into a map in 0..1.

Imports torch alone: copy any function as it stands.
"""

import torch


def pixel_gradient(output: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Gradient of the quality node with respect to the pixels, S = ∂M_Q/∂I (Eq. 4).

    In evaluation mode the images of a batch do not influence each other, so one backward pass through the
    sum gives the gradient of each.

    Parameters
    ----------
    output : M_Q(I), (B,)
    images : (B, 3, H, W), from which `output` was computed, with `requires_grad`

    Returns
    -------
    (B, 3, H, W), in quality per grey level if the images are 0..255.

    Examples
    --------
    >>> images = torch.rand(1, 3, 4, 4, requires_grad=True)
    >>> pixel_gradient(images.sum((1, 2, 3)), images).unique()
    tensor([1.])
    """
    (gradient,) = torch.autograd.grad(output.sum(), images)
    return gradient


def mean_over_channels(gradient: torch.Tensor) -> torch.Tensor:
    """Pixel saliency, the mean magnitude over the colours, Ŝ = ⅓ Σ_c abs(S_c) (Eq. 5).

    Parameters
    ----------
    gradient : (B, 3, H, W)

    Returns
    -------
    (B, H, W), not negative.

    Examples
    --------
    >>> mean_over_channels(torch.tensor([3.0, -6.0, 0.0]).view(1, 3, 1, 1))
    tensor([[[3.]]])
    """
    return gradient.abs().mean(-3)


def pixel_level_quality(saliency: torch.Tensor, gamma: float) -> torch.Tensor:
    """Pixel-level quality P = v(Ŝ) with v(s) = 1 − 1/(1 + 10^γ s²) (Eq. 6 and 7).

    The scale is fixed: no image is stretched to its own minimum and maximum, so the maps of two
    images can be compared. γ only moves the saliency that is shown as 0.5; ranks stay.

    With x = 10^γ s², this is computed as x/(1 + x): equal on paper, but 1 − 1/(1 + x) is exactly 0
    in single precision for every x below 6e-8.

    Parameters
    ----------
    saliency : Ŝ, any shape
    gamma : sensitivity, fitted for one model by `fit_gamma`; P is 0.5 where Ŝ = 10^(−γ/2)

    Returns
    -------
    P in 0..1, shape of `saliency`; high where a pixel is useful for recognition.

    Examples
    --------
    >>> pixel_level_quality(torch.tensor([0.0, 0.001, 1.0]), gamma=6)
    tensor([0.0000, 0.5000, 1.0000])
    """
    x = (10.0 ** (gamma / 2) * saliency).square().clamp(max=1e30)  # ∞/∞ would not be a number
    return x / (1 + x)


def clip_by_value(gradient: torch.Tensor, limit: float) -> torch.Tensor:
    """Cut each entry of the gradient to −limit..limit (§6, §8.3).

    Parameters
    ----------
    gradient : (B, 3, H, W)
    limit : largest magnitude that is kept, above 0

    Returns
    -------
    (B, 3, H, W). Pixels beyond the limit can no longer be told apart.

    Examples
    --------
    >>> clip_by_value(torch.tensor([-3.0, 0.5]), limit=1)
    tensor([-1.0000,  0.5000])
    """
    return gradient.clamp(-limit, limit)


def clip_by_norm(gradient: torch.Tensor, limit: float) -> torch.Tensor:
    """Shrink each image's gradient so that its Euclidean norm is at most `limit` (§6, §8.3).

    Parameters
    ----------
    gradient : (B, 3, H, W)
    limit : largest norm of one image's gradient, above 0

    Returns
    -------
    (B, 3, H, W). The order of an image's pixels stays, but images beyond the limit lose their level.

    Examples
    --------
    >>> clip_by_norm(torch.tensor([3.0, 4.0, 0.0]).view(1, 3, 1, 1), limit=1).flatten()
    tensor([0.6000, 0.8000, 0.0000])
    """
    norm = gradient.flatten(1).norm(dim=1)  # (B,)
    shrink = (limit / norm).clamp(max=1)  # a gradient of zero gives inf, cut to 1
    return gradient * shrink.view(-1, 1, 1, 1)


def centre_and_background(saliency: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Typical saliency of the middle of an aligned face and of what surrounds the face.

    The middle third in height and width holds eyes, nose and mouth. The surroundings are a frame
    between a sixteenth and an eighth of the size away from the edge: nearer to it, convolutions
    without padding hardly see the pixels, whatever they show.

    Parameters
    ----------
    saliency : Ŝ, (B, H, W) of aligned faces, H and W at least 16

    Returns
    -------
    centre, background : (B,) each, medians over the pixels of the region

    Examples
    --------
    >>> centre, background = centre_and_background(torch.rand(2, 112, 112))
    >>> centre.shape
    torch.Size([2])
    """
    height, width = saliency.shape[-2:]
    frame = torch.zeros(height, width, dtype=torch.bool, device=saliency.device)
    frame[height // 16 : -(height // 16), width // 16 : -(width // 16)] = True
    frame[height // 8 : -(height // 8), width // 8 : -(width // 8)] = False
    middle = saliency[:, height // 3 : -(height // 3), width // 3 : -(width // 3)]
    return middle.flatten(1).median(1).values, saliency[:, frame].median(1).values


def fit_gamma(centre: torch.Tensor, background: torch.Tensor) -> float:
    """Choose γ of Eq. 6 so that the centre of a good face looks high and its background low.

    This is the rule of the paper's footnote 4, made exact: of all γ, take the one that sets the two
    farthest apart. For saliencies c and b, v(c) − v(b) is largest at 10^γ = 1/(c·b), where
    v(c) = 1 − v(b) = c/(c + b).

    Parameters
    ----------
    centre, background : (N,) saliency Ŝ of N aligned faces, see `centre_and_background`

    Returns
    -------
    gamma, for the geometric means of both.

    Raises
    ------
    ValueError
        No faces, a saliency of zero, or a centre that is not above its background.

    Examples
    --------
    >>> fit_gamma(torch.tensor([1e-5]), torch.tensor([1e-6]))  # v(c) = 0.91, v(b) = 0.09
    11.0
    """
    if not len(centre) or not (centre > 0).all() or not (background > 0).all():
        raise ValueError("Cannot fit gamma: give at least one face, with a saliency above 0 throughout.")
    log_centre, log_background = centre.log10().mean(), background.log10().mean()
    if log_centre <= log_background:
        raise ValueError("Cannot fit gamma: the faces' centre is no more salient than their background.")
    return -(log_centre + log_background).item()
