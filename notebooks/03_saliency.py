# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 03 · How does a gradient become a map?
#
# | | |
# |---|---|
# | **Question** | The network outputs its own quality. Which pixels does that output depend on, and how should the answer be drawn so that two images can be compared? |
# | **Outcome** | You can back-propagate the quality to the pixels, check the gradient by hand, tell *how good* from *where* in a map, choose γ by a rule, and say why a map must never be stretched to its own range. |
# | **Time** | 22 minutes to read, 55 for the exercises; 13 seconds to run ([two CPU cores](../docs/times.csv)) |
# | **Paper** | §3.3, Eq. 4 to 7, footnote 4 |
#
# [Notebook 02](02_quality_node.ipynb) built the network $\mathcal M_Q$ with $\mathcal M_Q(I) = \hat Q$. Only two things are missing for a pixel-level quality map (*PLQ map*, or *map* for short): some calculus and a colour scale. The colour scale is the harder part.

# %%
from importlib.resources import files

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr
from torchvision.transforms.functional import gaussian_blur

import plqlite
from plqlite.figures import LOWER_HIGHER, describe, draw_map, strip
from plqlite.lessons import check, claim, compact_pictures
from plqlite.regression import QualityRegression, node_weights, quality_node

compact_pictures()  # maps are large as PNG
sface, facenet = plqlite.sface(), plqlite.facenet()
portraits = plqlite.sample_faces()

# %% [markdown]
# ## Equation 4: the gradient, twice
#
# If a pixel is nudged by one grey level, how much does the output of the quality node change? The answer is the *input gradient*, the derivative of the output with respect to the pixels, with the weights of the node held fixed:
#
# $$S = \frac{\partial \mathcal M_Q}{\partial I} \qquad\text{(Eq. 4)}$$
#
# It is one number for each pixel and colour. Automatic differentiation computes all of them in one backward pass. The images in a batch do not affect one another, so the gradient of the *sum* of their outputs contains the gradient of each.


# %%
def pixel_gradient(output: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Gradient of the quality node with respect to the pixels, S = ∂M_Q/∂I (Eq. 4)."""
    (gradient,) = torch.autograd.grad(output.sum(), images)
    return gradient


# %% [markdown]
# Trust nothing that you have not checked. Here is a network small enough to check the slow way: 6×6 pixels, one convolution, one linear layer. Nudge each of the 108 values up and down by a small step $h$, and divide the change in the output by the change in the value:
#
# $$\frac{\partial \mathcal M_Q}{\partial I_k} \approx \frac{\mathcal M_Q(I + h\,\delta_k) - \mathcal M_Q(I - h\,\delta_k)}{2h}$$

# %%
torch.manual_seed(0)
layers = [torch.nn.Conv2d(3, 4, 3), torch.nn.Tanh(), torch.nn.Flatten(), torch.nn.Linear(64, 8)]
toy = torch.nn.Sequential(*layers).double()


def embed(images):
    """L2-normalised embeddings of the toy network: (B, 3, 6, 6) -> (B, 8)."""
    return torch.nn.functional.normalize(toy(images / 255), dim=-1)


image = 255 * torch.rand(1, 3, 6, 6, dtype=torch.float64)
weights = node_weights(embed(image), torch.tensor([0.7], dtype=torch.float64)).detach()

pixels = image.clone().requires_grad_()
by_autograd = pixel_gradient(quality_node(embed(pixels), weights), pixels)  # (1, 3, 6, 6)

# %%
h = 0.01
nudges = h * torch.eye(108, dtype=torch.float64).view(108, 3, 6, 6)
with torch.no_grad():
    rise = quality_node(embed(image + nudges), weights) - quality_node(embed(image - nudges), weights)
by_hand = (rise / (2 * h)).view(1, 3, 6, 6)
claim(
    "One backward pass and 216 forward passes give the same gradient, to a millionth",
    torch.allclose(by_autograd, by_hand, rtol=1e-6, atol=1e-12),
)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
figure, axes = plt.subplots(1, 2, figsize=(8, 3.6), layout="constrained")
limit = 1e4 * by_hand.abs().max()
for axis, gradient, title in zip(axes, (by_autograd, by_hand), ("one backward pass", "216 forward passes")):
    drawn = axis.imshow(1e4 * gradient[0, 0], cmap=LOWER_HIGHER, vmin=-limit, vmax=limit)
    for (row, column), value in np.ndenumerate(1e4 * gradient[0, 0].numpy()):
        colour = "white" if abs(value) > 0.6 * limit else "black"
        axis.text(
            column, row, f"{value:.1f}".replace("-", "−"), ha="center", va="center", fontsize=9, color=colour
        )
    axis.set(title=title, xlabel="column", ylabel="row")
figure.colorbar(drawn, ax=axes, label="S, red channel, in 10⁻⁴ per grey level")
describe(
    figure,
    "The gradient of a tiny network for 6 by 6 pixels, as numbers and colours: by one backward pass on the left,"
    " by nudging each pixel on the right. Both are the same, number by number.",
)
plt.show()

# %% [markdown]
# *The same picture twice: autograd computes the slope that you would measure. Red is negative (a brighter pixel lowers the output), blue is positive.*

# %% [markdown]
# ## Equation 5: one number per pixel
#
# A pixel has three colours, and the sign of its gradient only says in which direction it would have to change to raise the output. We want to know how much it matters at all, so we take the mean of the magnitudes. A pixel with a high value is one that the answer *depends* on; whether for better or for worse, the map does not say.
#
# $$\hat S = \frac13\sum_{c} |S_c| \qquad\text{(Eq. 5)}$$


# %%
def mean_over_channels(gradient: torch.Tensor) -> torch.Tensor:
    """Pixel saliency, the mean magnitude over the colours, Ŝ = ⅓ Σ_c abs(S_c) (Eq. 5)."""
    return gradient.abs().mean(-3)


def quality_and_saliency(model, images):
    """Steps 1 to 3, up to Eq. 5: Q̂ (B,) and Ŝ (B, H, W)."""
    images = images.clone().requires_grad_()
    quality = plqlite.ser_fiq_closed_form(model, images)
    quality = plqlite.scale_quality(quality, model.scaling.alpha, model.scaling.r)
    m_q = QualityRegression(model, node_weights(model(images), quality))
    return quality, mean_over_channels(pixel_gradient(m_q(images), images))


images = torch.cat([plqlite.load_face(portraits[name], sface) for name in ("astronaut", "grace_hopper")])
quality, saliency = quality_and_saliency(sface, images)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
figure, axes = plt.subplots(1, 2, figsize=(8, 3.6), layout="constrained")
for axis, s, name in zip(axes, saliency, ("astronaut", "Grace Hopper")):
    drawn = axis.imshow(s.log10(), cmap="gray", vmin=-7, vmax=-4)
    axis.set(title=name, xlabel="column in pixels", ylabel="row in pixels")
figure.colorbar(drawn, ax=axes, label="log10 of Ŝ, per grey level")
describe(
    figure,
    "The logarithm of the saliency of two faces, in grey: both are noisy and brightest in the middle of the"
    " face; the corners are darker.",
)
plt.show()

# %% [markdown]
# *The whiter, the more the output depends on the pixel. The scale is logarithmic, since saliency spans orders of magnitude within one face. Nudging a pixel of the astronaut's brow by one grey level moves the node's output several times as much as nudging one in a corner.*

# %%
brow, corner = saliency[0, 36:44, 30:80].median(), saliency[0, :8, :8].median()
print(f"median Ŝ: brows 10^{brow.log10():.1f}, corner 10^{corner.log10():.1f}")
claim("The brows are more than 5 times as salient as the corner", brow > 5 * corner)
claim(
    "The 99th percentile of her face is more than 100 times the 1st",
    saliency[0].quantile(0.99) > 100 * saliency[0].quantile(0.01),
)

# %% [markdown]
# ## Equations 6 and 7: a fixed scale
#
# Numbers like $10^{-5}$ do not make a map. The paper squashes them into the range 0 to 1:
#
# $$v(\hat S) = 1 - \frac{1}{1 + 10^{\gamma}\,\hat S^2} \qquad\text{(Eq. 6)}\qquad\qquad P = v(\hat S) \qquad\text{(Eq. 7)}$$
#
# $v$ rises from 0 to 1 and passes 0.5 at $\hat S = 10^{-\gamma/2}$. So $\gamma$ sets which saliency counts as middling, and nothing else: the order of the pixels stays the same.


# %%
def pixel_level_quality(saliency: torch.Tensor, gamma: float) -> torch.Tensor:
    """Pixel-level quality P = v(Ŝ) with v(s) = 1 − 1/(1 + 10^γ s²) (Eq. 6 and 7)."""
    x = (10.0 ** (gamma / 2) * saliency).square().clamp(max=1e30)  # ∞/∞ would not be a number
    return x / (1 + x)


gammas = (8, 10, 12, 14)
middling = [pixel_level_quality(torch.tensor(10 ** (-gamma / 2)), gamma) for gamma in gammas]
claim(
    "P is 0.5 where the saliency is 10^(−γ/2), for four γ",
    torch.allclose(torch.stack(middling), torch.tensor(0.5), rtol=1.3e-6, atol=1e-5),
)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
s = torch.logspace(-8, -3, 200)
figure, axis = plt.subplots(figsize=(8, 3.2), layout="constrained")
for gamma, style in zip(gammas, ("-", "--", "-.", ":")):
    (line,) = axis.semilogx(s, pixel_level_quality(s, gamma), style)
    axis.text(10 ** (-gamma / 2) * 1.1, 0.46, f"γ = {gamma}", color=line.get_color())
axis.set(xlabel="saliency Ŝ", ylabel="pixel-level quality P")
describe(
    figure,
    "Pixel-level quality over saliency, which has a logarithmic axis, for γ of 8, 10, 12 and 14: four curves of"
    " one S shape from 0 to 1, each next one further to the left by a power of ten.",
)
plt.show()

# %% [markdown]
# *Raising γ by 2 shifts the curve to the left by one power of ten. Its shape does not change.*
#
# Why does the function not compute Eq. 6 as it is printed? With $x = 10^{\gamma}\hat S^2$, the two are equal on paper, $1 - \frac{1}{1+x} = \frac{x}{1+x}$, but not in a computer. In single precision, $1 + x$ is 1 for every $x$ below $6\cdot10^{-8}$, and what is left of $P$ is exactly 0. A poor photo has many such pixels, and all of them would be equally bad:

# %%
tiny = torch.tensor([1e-10, 1e-9, 1e-8, 1e-7])  # x, four pixels that differ
as_printed = 1 - 1 / (1 + tiny)
ours = pixel_level_quality(tiny.sqrt(), gamma=0)
print("as printed:", [f"{p:.0e}" for p in as_printed.tolist()])
print("x/(1 + x): ", [f"{p:.0e}" for p in ours.tolist()])
claim("As printed, three of the four pixels are exactly 0", (as_printed[:3] == 0).all())
claim("As x/(1 + x), no two are the same", (ours.diff() > 0).all())

# %% [markdown]
# ### Two factors: how good, and where
#
# $\hat S$ has two factors ([notebook 02](02_quality_node.ipynb)): $\hat Q$, one number per image, and the saliency $\hat S_1$ of a node that outputs 1 instead of $\hat Q$.
#
# $$\hat S = \underbrace{\hat Q}_{\text{how good}}\cdot\underbrace{\hat S_1}_{\text{where}}$$
#
# $P$ mixes them: it can be low because the photo is poor, or because this pixel does not matter. To see the second alone, put the same number in place of $\hat Q$ for every photo. We take ½, and call $v(\hat S_1/2)$ the **pattern**. (`Explanation.pattern` is smoothed, too, since single pixels are noisy.) A good photo and a poor one, the same face heavily blurred; γ is chosen in the next section:

# %%
pair = torch.cat([images[:1], gaussian_blur(images[:1], 25, 4.0)])
pair_quality, pair_saliency = quality_and_saliency(sface, pair)

pixels = pair.clone().requires_grad_()
m_1 = QualityRegression(sface, node_weights(sface(pair), torch.ones(2)))
saliency_of_one = mean_over_channels(pixel_gradient(m_1(pixels), pixels))  # Ŝ₁: (2, 112, 112)
claim(
    "Ŝ is Q̂ times Ŝ₁ to a thousandth, at every pixel of both",
    torch.allclose(pair_saliency, pair_quality.view(-1, 1, 1) * saliency_of_one, rtol=1e-3, atol=0),
)
explanation = plqlite.explain(sface, pair)


# %% jupyter={"source_hidden": true} tags=["hide-input"]
def draw_pair(columns, alt):
    """Draw the sharp and the blurred photo, and two maps of each (title -> (2, H, W))."""
    figure, axes = plt.subplots(2, 3, figsize=(7.6, 4.8), layout="constrained")
    for row, face, q in zip(axes, pair, pair_quality):
        row[0].imshow(face.permute(1, 2, 0) / 255)
        row[0].set_ylabel(f"Q̂ = {q:.2f}")
    for column, (title, maps) in zip(axes.T[1:], columns.items()):
        column[0].set_title(title)
        for axis, plq in zip(column, maps):
            drawn = draw_map(axis, plq)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    figure.colorbar(drawn, ax=axes, label="map", shrink=0.9)
    describe(figure, alt)
    plt.show()


draw_pair(
    {"P: both": explanation.plq, "pattern: where": explanation.pattern},
    "A sharp and a blurred photo of the astronaut. P is yellow in the middle of the sharp face and blue nearly all"
    " over for the blurred one; the patterns of both are yellow in the middle of the face and much alike.",
)

# %% [markdown]
# *$P$ of the blurred face is low nearly all over; its pattern shows that the embedding still depends on much the same parts of it.*
#
# **Colours.** From here to the last notebook, a map in 0..1 is yellow where it is high and blue where it is low. What has a sign has other colours: **what is lower than it should be is negative and red**, what is higher is positive and blue.
#
# Check it: the order of an image's pixels, the level of the two photos, and what depends on $\alpha$ and $r$. For the last, take the pair that [notebook 01](01_ser_fiq.ipynb) fitted on press photos alone:

# %%
unsmoothed = pixel_level_quality(saliency_of_one / 2, sface.scaling.gamma)
order = pair_saliency.flatten(1).argsort()  # by Ŝ, ascending
steps = [plq.flatten(1).gather(1, order).diff() for plq in (explanation.plq, unsmoothed)]
claim(
    "P and the unsmoothed pattern have the order of Ŝ, rounding aside",
    all((step > -1e-4).all() for step in steps),
)

alike = spearmanr(*explanation.pattern.flatten(1)).statistic
print(f"rank correlation of the two patterns: {alike:.1f}")
claim("The two patterns have a rank correlation above 0.8", alike > 0.8)
means = {what: getattr(explanation, what).mean((1, 2)) for what in ("plq", "pattern")}  # sharp, blurred
claim(
    "The blurred photo's mean P is less than 0.4 times that of the sharp one",
    means["plq"][1] < 0.4 * means["plq"][0],
)
claim("Its mean pattern is more than 0.8 times as high", means["pattern"][1] > 0.8 * means["pattern"][0])

# %%
other = plqlite.sface()
other.scaling = plqlite.Scaling(alpha=259, r=0.8986, gamma=sface.scaling.gamma)
changed = plqlite.explain(other, pair)
print("sharp and blurred:")
for name, e in (("our constants", explanation), ("press photos", changed)):
    each = {"Q̂": e.scaled_quality, "mean of P": e.plq.mean((1, 2)), "of the pattern": e.pattern.mean((1, 2))}
    print(f"{name:<14}", "   ".join(f"{what} {a:.2f} and {b:.2f}" for what, (a, b) in each.items()))
claim(
    "With the other constants, the patterns change by no more than about 1 %",
    torch.allclose(changed.pattern, explanation.pattern, rtol=1e-2, atol=1e-3),
)
claim(
    "The blurred photo's mean P falls to less than a tenth",
    changed.plq[1].mean() < 0.1 * explanation.plq[1].mean(),
)

# %% [markdown]
# Neither replaces the other. The experiments of the paper measure $P$, and so do we where we repeat them. For a person who asks what is wrong with a photo, `plqlite.show` draws the two factors apart: $\hat Q$ as a gauge, and the pattern.
#
# ### Which γ?
#
# Footnote 4 of the paper gives a rule: on a face photo that complies with the rules for passports (ICAO 9303), the centre should be in the colour of high quality and the background in that of low quality. We turn it into a criterion of our own: **take the γ that sets the two farthest apart.** If the typical saliency is $c$ in the centre and $b < c$ in the background, $v(c) - v(b)$ is largest at
#
# $$10^{\gamma} = \frac{1}{c\,b},\qquad\text{where}\qquad v(c) = 1 - v(b) = \frac{c}{c + b}.$$
#
# (Exercise 4 asks you to prove it. Over many photos we take the geometric means of $c$ and of $b$.) The *centre* is the middle third in height and width, which holds the eyes, nose and mouth. The *background* is a frame between a sixteenth and an eighth of the image size from the edge; closer to the edge, convolutions without padding hardly see the pixels. We take the median of each, so that outliers do not count.


# %%
def centre_and_background(saliency: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Typical saliency of the middle of an aligned face and of what surrounds the face."""
    height, width = saliency.shape[-2:]
    frame = torch.zeros(height, width, dtype=torch.bool, device=saliency.device)
    frame[height // 16 : -(height // 16), width // 16 : -(width // 16)] = True
    frame[height // 8 : -(height // 8), width // 8 : -(width // 8)] = False
    middle = saliency[:, height // 3 : -(height // 3), width // 3 : -(width // 3)]
    return middle.flatten(1).median(1).values, saliency[:, frame].median(1).values


def fit_gamma(centre: torch.Tensor, background: torch.Tensor) -> float:
    """Choose γ of Eq. 6 so that the centre of a good face looks high and its background low."""
    if not len(centre) or not (centre > 0).all() or not (background > 0).all():
        raise ValueError("Cannot fit gamma: give at least one face, with a saliency above 0 throughout.")
    log_centre, log_background = centre.log10().mean(), background.log10().mean()
    if log_centre <= log_background:
        raise ValueError("Cannot fit gamma: the faces' centre is no more salient than their background.")
    return -(log_centre + log_background).item()


# %% [markdown]
# The package comes with these two numbers for each of the 208 photos that its constants were fitted on ([notebook 01](01_ser_fiq.ipynb)). They are stored as $\hat S/\hat Q$, because $\alpha$ and $r$ were fitted after the measurement; multiplying by $\hat Q$ restores $\hat S$. Degraded versions do not count here, and the better half of the photos stands in for passport photos:

# %%
measured = pd.read_csv(files("plqlite").joinpath("calibration.csv"), keep_default_na=False)
listed = pd.read_csv("../docs/development_set.csv", keep_default_na=False)
clean = measured.merge(listed[listed["covered"] == ""], on="image").query("version == ''")
found, levels = [], []
for model in (sface, facenet):
    rows = clean[clean["model"] == model.name]
    q, c, b = (torch.tensor(rows[name].to_numpy()) for name in ("quality", "centre", "background"))
    q_scaled, good = plqlite.scale_quality(q, model.scaling.alpha, model.scaling.r), q >= q.median()
    c, b = (c * q_scaled)[good], (b * q_scaled)[good]
    gamma = fit_gamma(c, b)
    high, low = (pixel_level_quality(x.log().mean().exp(), gamma) for x in (c, b))
    print(f"{model.name:<8} γ = {gamma:.1f}   P of the centre {high:.2f}, of the background {low:.2f}")
    found.append(abs(gamma - model.scaling.gamma) < 0.02)
    levels.append(high > 0.7 and low < 0.3)
claim("The rule gives the γ that comes with each network, to within 0.02", all(found))
claim("For both, P of the centre is above 0.7 and of the background below 0.3", all(levels))

# %% [markdown]
# ## Why not stretch each map to its own range?
#
# Most saliency tools do just that: they subtract the map's minimum and divide by its range. Every map then uses the whole colour scale and looks convincing. See what this does to the two photos above:


# %%
def stretched(saliency):
    """Per-image min-max scaling, as in most saliency tools. Do not use it."""
    low, high = saliency.flatten(1).quantile(0.01, 1), saliency.flatten(1).quantile(0.99, 1)
    return ((saliency - low.view(-1, 1, 1)) / (high - low).view(-1, 1, 1)).clamp(0, 1)


fixed = pixel_level_quality(pair_saliency, sface.scaling.gamma)
minmax = stretched(pair_saliency)
draw_pair(
    {"stretched": minmax, "fixed scale (P)": fixed},
    "The sharp and the blurred photo again. Stretched to their own range, the two maps are about equally bright; on the"
    " fixed scale the sharp photo's map is yellow in the middle and the blurred one's is blue nearly all over.",
)

# %% [markdown]
# *Middle: the two maps are at much the same level. Right: on the fixed scale they are not. This is why the paper forbids per-image scaling, and why nothing in this package does it. The arithmetic is simple: every $\hat S$ of an image carries the factor $\hat Q$, and stretching divides it out again. All the work of step 1 is thrown away.*
#
# (We clip the extremes at 1 % first. With the plain minimum and maximum, a single outlier decides what the whole map looks like, which is worse.)
#
# The pattern divides $\hat Q$ out as well. But it does not hide that, since $\hat Q$ is drawn beside it; and its scale is fixed, so that two patterns can still be compared.

# %%
print(f"mean of the stretched maps {minmax[0].mean():.1f} and {minmax[1].mean():.1f}")
print(f"mean of P                  {fixed[0].mean():.1f} and {fixed[1].mean():.1f}")
print(
    f"pixels with P above 0.5    {(fixed[0] > 0.5).float().mean():.0%} and {(fixed[1] > 0.5).float().mean():.0%}"
)
without_quality = stretched(pair_saliency / pair_quality.view(-1, 1, 1))
claim(
    "Stretched, Ŝ and Ŝ/Q̂ give the same map", torch.allclose(without_quality, minmax, rtol=1.3e-6, atol=1e-5)
)
claim(
    "Stretched, the blurred photo keeps more than half of the mean", minmax[1].mean() > 0.5 * minmax[0].mean()
)
claim("On the fixed scale, it keeps less than 0.4 of it", fixed[1].mean() < 0.4 * fixed[0].mean())

# %% [markdown]
# ## γ depends on the units of the input
#
# A gradient has units: quality per grey level. Feed the same network pixels in 0..1 instead of 0..255, and every gradient is 255 times as large; γ must fall by $2\log_{10}255 \approx 4.8$ to draw the same map. Published values of γ therefore mean nothing without the range of the input. Ours are always for RGB in 0..255, whatever range a network rescales its input to.

# %%
small = (images / 255).requires_grad_()
m_q = QualityRegression(sface, node_weights(sface(images), quality))
per_unit = mean_over_channels(pixel_gradient(m_q(small * 255), small))

shift = 2 * torch.log10(torch.tensor(255.0)).item()
print(f"shift of γ: {shift:.1f}")
of_units = pixel_level_quality(per_unit, sface.scaling.gamma - shift)
of_grey_levels = pixel_level_quality(saliency, sface.scaling.gamma)
claim("With γ shifted, the map is the same", torch.allclose(of_units, of_grey_levels, rtol=1.3e-6, atol=1e-5))

# %% [markdown]
# *Per grey level* has another consequence. With a quarter of the light, the same face has a quarter of the contrast, so that each grey level counts for more. $P$ then *rises*, although $Q$ falls a little:

# %%
dark = plqlite.explain(sface, images[:1] / 4)
bright = explanation[0]
for name, e in (("as it is", bright), ("a quarter of the light", dark)):
    print(
        f"{name:<23} Q̂ = {e.scaled_quality[0]:.2f}   mean of P {e.plq.mean():.1f}, of the pattern {e.pattern.mean():.1f}"
    )
claim("In a quarter of the light, Q falls", dark.quality < bright.quality)
claim(
    "P and the pattern rise by more than 30 % on average",
    dark.plq.mean() > 1.3 * bright.plq.mean() and dark.pattern.mean() > 1.3 * bright.pattern.mean(),
)

# %% [markdown]
# So the levels of two maps can be compared between photos of similar contrast. What `advise` and the outlines in `plqlite.show` use, the deviation from clean faces, is relative to the level of the photo itself.

# %% [markdown]
# ## Two networks, one photo
#
# `plqlite.explain` does all of this in one call. Between two networks, colours can be compared only as far as the rule for γ makes them comparable.

# %%
rows, labels = [], []
for model in (sface, facenet):
    face = plqlite.load_face(portraits["astronaut"], model)
    explanation = plqlite.explain(model, face)
    rows.append((face[0], explanation))
    labels.append(f"{model.name}, γ = {model.scaling.gamma:.1f}")

plqlite.grid(rows, labels)

# %% [markdown]
# ## Play with it
#
# The second code cell below draws a panel, when run in JupyterLab. A page like this one shows what one of its controls does instead: the astronaut's $P$ for SFace under the three readings of Eq. 3 ([02](02_quality_node.ipynb)).

# %%
face, e = images[:1], sface(images[:1])
readings = {r: plqlite.explain(sface, face, reading=r) for r in ("literal", "summed", "signed")}
factor = e.abs().sum() / e.sum().abs()  # of the weights
claim(
    "At every pixel, Ŝ of summed is Ŝ of literal times one factor, to a thousandth",
    torch.allclose(readings["summed"].saliency, factor * readings["literal"].saliency, rtol=1e-3, atol=0),
)
high = {r: (explained.plq > 0.5).float().mean() for r, explained in readings.items()}
claim("summed: P is above 0.5 for more than nine in ten pixels", high["summed"] > 0.9)
claim("literal and signed: for fewer than six in ten", max(high["literal"], high["signed"]) < 0.6)
strip(
    {"SFace": face[0]} | {r: explained.plq[0] for r, explained in readings.items()},
    "The astronaut, and her map P under three readings: literal and signed are yellow in the middle of the face"
    " and mostly blue around it, summed is yellow nearly all over.",
    label="map P",
)

# %% [markdown]
# One factor for all pixels leaves their order as it is, but at the γ that was fitted for `signed` it saturates the map of `summed`. In the panel, change the network, γ, the number of passes, the seed, the reading or the style, or upload a photo (it stays on the machine that runs this notebook):

# %%
plqlite.explore([sface, facenet], portraits["astronaut"])

# %% [markdown]
# ## Exercises
#
# Where an answer is a number or a list, it checks itself: put it in place of `...` and run the cell.

# %% [markdown]
# ### Exercise 1 · Change a number (easy, 10 minutes)
#
# Draw the astronaut's map $P$ for SFace and γ from 7 to 15. Which γ puts half of its pixels above 0.5? Is it a good choice?
#
# <details><summary>Hint</summary>The maps are <code>pixel_level_quality(saliency[0], gamma)</code>, and <code>plqlite.figures.strip</code> draws them. At which saliency is P 0.5?</details>

# %%
half = ...  # the γ, to a tenth
check(half, "f6e0a1e2ac41")

# %% [markdown]
# ### Exercise 2 · Largest instead of mean (medium, 10 minutes)
#
# In Eq. 5, take the largest of the three magnitudes instead of their mean. How much does the *order* of the astronaut's pixels change, for SFace? Give the rank correlation of the two saliencies.
#
# <details><summary>Hint</summary>You need the gradient before Eq. 5: call <code>pixel_gradient</code> yourself, as <code>quality_and_saliency</code> does. Magnitudes first, then <code>amax</code> over the colours; <code>spearmanr</code> compares.</details>

# %%
correlation = ...  # Spearman's ρ
check(correlation, "29db0c6782db", digits=2)

# %% [markdown]
# ### Exercise 3 · Is the map smooth? (medium, 15 minutes)
#
# Shift the astronaut by one pixel to the right, explain her with SFace, and shift the saliency back. How well does $\log\hat S$ of the shifted photo correlate with the original, pixel by pixel, and after averaging it over 7×7 pixels? Leave out 8 pixels along each edge. What does that say about trusting a single pixel?
#
# <details><summary>Hint</summary><code>images[:1].roll(1, -1)</code> shifts, <code>roll(-1, -1)</code> shifts back, <code>[8:-8, 8:-8]</code> leaves the edges out, <code>torch.nn.functional.avg_pool2d</code> averages, and <code>torch.corrcoef</code> correlates.</details>

# %%
agreement = ...  # [of single pixels, of regions of 7×7]
check(agreement, "aa4a0c3df27d", digits=2)

# %% [markdown]
# ### Exercise 4 · Prove it (hard, 20 minutes)
#
# Show that $v(c) - v(b)$ is largest at $10^\gamma = 1/(cb)$, and that $v(c) = c/(c+b)$ there.
#
# <details><summary>Hint</summary>Write v(s) as the logistic function of 2 ln s + γ ln 10. Its derivative is an even function that falls on both sides of 0.</details>

# %% [markdown]
# Solutions: [solutions/03_saliency.ipynb](solutions/03_saliency.ipynb) · Back: [02](02_quality_node.ipynb) · Next: [04 · Does inpainting low-quality pixels raise the quality?](04_inpainting.ipynb)
