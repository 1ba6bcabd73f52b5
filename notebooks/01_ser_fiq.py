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
# # 01 · How good is an image for this network?
#
# | | |
# |---|---|
# | **Question** | How can a network tell, without labels or training, how useful a face image is to it? |
# | **Outcome** | You can compute the quality of an image by hand, say how noisy it is, replace a hundred random passes with one formula, scale the result for a new network, and say where the score fails. |
# | **Time** | 32 minutes to read, 60 for the exercises; 34 seconds to run ([two CPU cores](../docs/times.csv)) |
# | **Paper** | §3.1, §8.2, Fig. 11; SER-FIQ: [arXiv 2003.09373](https://arxiv.org/abs/2003.09373) |
#
# A face recognition network turns an image into an **embedding**: a vector of length 1 that points in roughly the same direction for all images of one person. Two images are judged to show the same person if their embeddings are close. This notebook asks how far such a vector can be trusted.
#
# All functions of step 1 of the method (*how good is the image?*) are defined here, each of them twice. First comes a short version: the equation turned into a few lines of code, run on real data. Then comes the library's own function, with checks and for any number of images, and a claim says that both give the same numbers. (It is the code of `plqlite/quality.py` without the longer docstrings; a test checks that.) So change a function and run the notebook again: a sentence that no longer holds gets a ✗.
#
# On a first reading, skip the section marked *optional*, the last one.

# %%
from importlib.resources import files

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr
from torch.nn.functional import normalize
from torchvision.transforms.functional import gaussian_blur

import plqlite
from plqlite.experiments.degradations import EVERYWHERE
from plqlite.experiments.statistics import share_positive
from plqlite.figures import describe, strip
from plqlite.lessons import check, claim

sface, facenet = plqlite.sface(), plqlite.facenet()
portraits = plqlite.sample_faces()
faces = {
    model.name: torch.cat([plqlite.load_face(p, model) for p in portraits.values()])
    for model in (sface, facenet)
}
print({name: tuple(images.shape) for name, images in faces.items()})

# %% [markdown]
# ## Quality is utility
#
# The images are *aligned crops*: every face is turned and scaled so that eyes, nose and mouth are where this network expects them.
#
# A quality score is right if it predicts how well an image will be *recognised*. So take one face, blur it more and more, and watch two things: its *comparison score* with the sharp original (the cosine of the two embeddings), and the quality score $Q$ that this notebook is about. Only the first needs the original; the second sees nothing but the blurred image.

# %%
sharp = faces["sface"][:1]
widths = [0, 1, 2, 3, 4, 6, 8]  # standard deviation of the blur, in pixels of the 112×112 crop
blurred = torch.cat([sharp] + [gaussian_blur(sharp, 6 * width + 1, float(width)) for width in widths[1:]])
similarity = (sface(blurred) @ sface(sharp).T).flatten()
quality = plqlite.ser_fiq(sface, blurred)

claim("With each step of blur, the network recognises the person less", (similarity.diff() < 0).all())
claim("With each step of blur, Q falls", (quality.diff() < 0).all())

# %%
shown = [widths.index(width) for width in (0, 1, 2, 4, 8)]
strip(
    {f"blur {widths[i]} px\ncosine {similarity[i]:.2f}\nQ = {quality[i]:.3f}": blurred[i] for i in shown},
    "The astronaut, sharp and with four widths of blur: the comparison score and Q above each picture fall from left to right.",
)

# %% [markdown]
# ## Step by step: a cloud of embeddings
#
# The idea of SER-FIQ (*stochastic embedding robustness*, a face image quality score): **switch off parts of the network at random and see how far its output moves.** A network that finds what it needs in the face returns nearly the same embedding, whichever half of its features it can use. A network that is guessing does not.
#
# What switches them off is dropout. It acts on the *features* $f$, the input of the network's last layers (its *head*). A mask $k$ of zeros and ones *keeps* each feature with probability $1 - p = 0.5$; the features that are kept are doubled, so that the mean stays the same. In pass $i$ of $m$:
#
# $$x_i = \frac{z_i}{\lVert z_i\rVert},\qquad z_i = \mathrm{head}\Big(\frac{f \odot k_i}{1-p}\Big),\qquad i = 1 \dots m$$
#
# Only the head is repeated, since nothing before it is random. And all images share the masks, so that when two images are compared, much of the luck of the draw cancels (measured below).
#
# A hundred draws, for a good image and a poor one:

# %%
features = sface.features(torch.cat([sharp, blurred[4:5]]))  # (2, 50176): sharp, and blurred by 4 px
coins = torch.rand(100, 1, 50176, generator=torch.Generator().manual_seed(0))  # one mask for each pass
masked = features * (coins >= 0.5) / (1 - 0.5)  # (100, 2, 50176)
draws = normalize(sface.head(masked), dim=-1).transpose(0, 1)
print("features", tuple(features.shape), "-> embeddings (image, pass, dimension)", tuple(draws.shape))

# %% [markdown]
# The library's function does the same in chunks, so that memory does not grow with the number of passes. Before that, `_check` (in the folded cell) refuses a number of passes or a dropout rate that makes no sense.


# %% jupyter={"source_hidden": true} tags=["hide-input"]
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


# %%
@torch.no_grad()
def stochastic_embeddings(
    head: torch.nn.Module, features: torch.Tensor, passes: int = 100, dropout: float = 0.5, seed: int = 0
) -> torch.Tensor:
    """Repeat the head under dropout."""
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


# %%
embeddings = stochastic_embeddings(sface.head, features)
claim(
    "The short version gives the same embeddings", torch.allclose(draws, embeddings, rtol=1.3e-6, atol=1e-5)
)

# %% [markdown]
# Each image is now a hundred points on a sphere in 128 dimensions. To see them, centre each cloud on its own mean and project both onto the two directions in which they scatter most.

# %%
clouds = embeddings - embeddings.mean(1, keepdim=True)  # (2, 100, 128)
directions = torch.linalg.svd(clouds.flatten(0, 1), full_matrices=False).Vh[:2]  # (2, 128)
flat = clouds @ directions.T  # (2, 100, 2)

radius = clouds.norm(dim=-1).mean(1)
print(f"mean distance from the centre: sharp {radius[0]:.2f}, blurred {radius[1]:.2f}")
claim("The cloud of the blurred image is wider", radius[0] < radius[1])

# %% jupyter={"source_hidden": true} tags=["hide-input"]
figure, axes = plt.subplots(1, 2, figsize=(8, 4), sharex=True, sharey=True, layout="constrained")
looks = {
    "sharp": {"color": "tab:blue", "marker": "o"},
    "blurred by 4 px": {"color": "tab:red", "marker": "^"},
}
for axis, points, (title, look) in zip(axes, flat, looks.items()):
    axis.scatter(*points.T, s=16, **look)
    axis.set(title=title, xlabel="first direction", aspect="equal")
axes[0].set_ylabel("second direction")
describe(
    figure,
    "Two clouds of a hundred points around their centre: that of the blurred image is wider than that of the sharp one.",
)
plt.show()

# %% [markdown]
# *One point per dropout pass. The wider the cloud, the less the network can rely on what it sees.*

# %% [markdown]
# ## Equation 1, by hand
#
# How wide is a cloud? Measure the distance $d$ between every pair of points and squash the mean into 0..1 with the logistic function $\sigma$:
#
# $$Q = 2\,\sigma\Big(-\frac{2}{m^2}\sum_{i<j} \lVert x_i - x_j\rVert\Big) \qquad\text{(Eq. 1)}$$
#
# A distance is at least 0, so $\sigma$ gives at most ½; the 2 in front makes $Q = 1$ when all points agree. The sum runs over the pairs, and $\frac{2}{m^2}$ turns it into the mean over all $m^2$ *ordered* pairs: each pair counts twice, and the distance from a point to itself adds nothing. For three passes there are three pairs:

# %%
x1, x2, x3 = embeddings[0, :3]
d12, d13, d23 = (x1 - x2).norm(), (x1 - x3).norm(), (x2 - x3).norm()
exponent = -2 / 3**2 * (d12 + d13 + d23)
q_by_hand = 2 / (1 + torch.exp(-exponent))
print(f"distances {d12:.3f} {d13:.3f} {d23:.3f}  ->  Q = 2 σ({exponent:.3f}) = {q_by_hand:.3f}")

# %% [markdown]
# For all hundred passes there are 4950 pairs, in each of the two images:

# %%
pairs = torch.stack([torch.pdist(cloud) for cloud in embeddings])  # (2, 4950): each pair once
q_short = 2 * torch.sigmoid(-2 / 100**2 * pairs.sum(1))
print(f"Q of the sharp image {q_short[0]:.3f}, of the blurred one {q_short[1]:.3f}")

# %% [markdown]
# The library's function `robustness` does the same for any number of images and passes. (`_quality` is its last step, $2\sigma(-d)$; the error that it may raise has its own section below.)


# %%
class DropoutHasNoEffect(ValueError):
    """Dropout left every embedding where it was, so that any score would be a meaningless 1."""


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


# %%
def robustness(embeddings: torch.Tensor) -> torch.Tensor:
    """Turn the spread of an image's embeddings into its quality (Eq. 1)."""
    # The mean over all m² ordered pairs is the (2/m²) Σ_{i<j} of Eq. 1: the diagonal adds zeros.
    # Row by row, so that memory does not grow with m²; without the matrix product, whose
    # rounding would turn the zeros into 3e-4.
    exact = "donot_use_mm_for_euclid_dist"
    rows = embeddings.split(100, dim=-2)
    total = sum(torch.cdist(row, embeddings, compute_mode=exact).sum((-2, -1)) for row in rows)
    return _quality(total / embeddings.shape[-2] ** 2)


# %%
q = robustness(embeddings)
three = robustness(embeddings[:1, :3])[0]
claim("The three passes give the same as by hand", torch.allclose(three, q_by_hand, rtol=1.3e-6, atol=1e-5))
claim("The short version gives the same for all hundred", torch.allclose(q, q_short, rtol=1.3e-6, atol=1e-5))
claim("The sharp image has the higher Q", q[0] > q[1])

# %% [markdown]
# ### Two published versions
#
# The SER-FIQ paper averages over the $\frac{m(m-1)}{2}$ pairs; Eq. 1 here divides by $\frac{m^2}{2}$. The two mean distances differ by the factor $\frac{m-1}{m}$, the same for every image, so the order of the images cannot change. At $m = 100$ it changes $Q$ by about a thousandth. Remember the factor: it returns below.

# %%
passes = embeddings.shape[1]
q_pairs = 2 * torch.sigmoid(-pairs.mean(1))
print(f"Eq. 1 minus mean over pairs: {(q - q_pairs)[0]:.4f} (sharp), {(q - q_pairs)[1]:.4f} (blurred)")
with_factor = 2 * torch.sigmoid(-pairs.mean(1) * (passes - 1) / passes)
claim("The factor (m − 1)/m turns one into the other", torch.allclose(q, with_factor, rtol=1.3e-6, atol=1e-5))
claim("Without it, Q is lower by less than 0.002", (0 < q - q_pairs).all() and (q - q_pairs < 2e-3).all())

# %% [markdown]
# ## From pixels to quality
#
# `ser_fiq` puts the two steps together: one line for the features, one for the rest. It is short enough as it is.


# %%
def ser_fiq(
    model: torch.nn.Module, images: torch.Tensor, passes: int = 100, dropout: float = 0.5, seed: int = 0
) -> torch.Tensor:
    """Estimate the quality of face images (Eq. 1; SER-FIQ, arXiv 2003.09373)."""
    with torch.no_grad():
        features = model.features(images)  # (B, D)
    return robustness(stochastic_embeddings(model.head, features, passes, dropout, seed))


both = torch.cat([sharp, blurred[4:5]])
claim("It gives the same as step by step", torch.allclose(ser_fiq(sface, both), q, rtol=1.3e-6, atol=1e-5))
for model in (sface, facenet):
    scores = ser_fiq(model, faces[model.name])
    print(f"{model.name:<8}", " ".join(f"{score:.2f}" for score in scores))

# %% [markdown]
# Nine different photos, and nearly the same number for all of them? The section *Why is the range so narrow?* returns to this.
#
# ## How noisy is Q?
#
# Another seed draws different masks. How much does $Q$ change? Ten seeds for each number of passes:

# %%
counts = [10, 30, 100, 300, 1000]
features = facenet.features(faces["facenet"][:1])
scores = {
    m: [robustness(stochastic_embeddings(facenet.head, features, m, seed=s)) for s in range(10)]
    for m in counts
}
scores = {m: torch.cat(of_ten_seeds) for m, of_ten_seeds in scores.items()}
noise = torch.stack([scores[m].std() for m in counts])

slope, _ = np.polyfit(np.log(counts), noise.log(), 1)
print(f"the standard deviation falls like m to the power of {slope:.1f}")
claim("The power is between −0.7 and −0.3", -0.7 < slope < -0.3)

photos = ser_fiq(facenet, faces["facenet"]).std()
print(f"standard deviation at m = 100: {noise[2]:.3f} over seeds, {photos:.3f} over the nine faces")
claim("The noise is 0.1 to 0.7 times the spread of the faces", 0.1 < noise[2] / photos < 0.7)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
figure, axis = plt.subplots(figsize=(7, 3.6), layout="constrained")
axis.loglog(counts, noise.numpy(), "o", color="tab:blue", label="ten seeds")
middle = noise.log().mean().item() + np.log(counts).mean() / 2  # of a line of slope −½ through the points
axis.loglog(counts, np.exp(middle) / np.sqrt(counts), "--", color="0.4", label="proportional to 1/√m")
axis.set_xticks(counts, [str(m) for m in counts])
axis.set_yticks([0.0003, 0.001, 0.003], ["0.0003", "0.001", "0.003"])
axis.minorticks_off()
axis.set(xlabel="number of passes m", ylabel="standard deviation of Q")
axis.set_title("Q of the astronaut (FaceNet)", fontsize=10)
axis.legend()
describe(
    figure,
    "The standard deviation of Q over ten seeds, for 10 to 1000 passes, on logarithmic axes: the points fall along a line of slope −½.",
)
plt.show()

# %% [markdown]
# *The noise falls like $1/\sqrt m$: a tenth of the noise takes a hundred times as many passes.*
#
# Is that a lot? Photos differ by a few times the noise of a hundred passes. That is enough to tell good from poor, but not to tell two ordinary photos apart with one seed each.
#
# **Shared masks** make comparisons far more precise than single scores. Cover a small patch of the astronaut's face and ask how much $Q$ changes. With the same masks for both images, much of the luck of the draw cancels; with fresh ones, it adds up.

# %%
clean = faces["facenet"][:1]
patched = clean.clone()
patched[:, :, 100:110, 60:70] = 0
q_clean, q_patched = (
    torch.cat([ser_fiq(facenet, x, seed=seed) for seed in range(20)]) for x in (clean, patched)
)
change = q_patched - q_clean  # the same masks for both
shared, fresh = change.std(), (q_patched.roll(1) - q_clean).std()  # rolled: seed s against seed s − 1
print(f"Q changes by {change.mean():+.4f}")
print(f"noise of one such comparison: shared masks {shared:.4f}, fresh masks {fresh:.4f}")
claim("Shared masks leave less than 0.7 times the noise of fresh ones", shared < 0.7 * fresh)
claim(
    "The change is larger than the noise of shared masks, smaller than that of fresh ones",
    shared < change.mean().abs() < fresh,
)

# %% [markdown]
# (The change is an improvement, by the way: FaceNet does not mind losing that patch.)
#
# There is a better remedy: no masks at all.
#
# ## Without dice: the closed form
#
# The head is affine, $z = A\,\frac{f\odot k}{1-p} + b$, and the only random thing in it is the mask $k$: one coin toss per feature. So nothing needs to be drawn at all. Step by step:
#
# 1. A coin toss with mean $1-p$ has variance $p(1-p)$, so the masked feature $f_j k_j/(1-p)$ has mean $f_j$ and variance $\frac{p}{1-p} f_j^2$.
# 2. An affine map carries means and covariances over to its output: $z$ has mean $\mu = A f + b$ and covariance $C = \frac{p}{1-p} A\,\mathrm{diag}(f^2)\,A^{\!\top}$.
# 3. The difference between two draws has covariance $2C$. Its expected squared length is $2\,\mathrm{tr}\,C$: the variance in all directions together.
# 4. To first order in the scatter, normalising removes the part along $u = \mu/\lVert\mu\rVert$ (a longer $z$ gives the same embedding). What remains is $2(\mathrm{tr}\,C - u^{\!\top} C u)$.
# 5. Normalising also divides by the squared length of $z$, for which we take its mean, $\lVert\mu\rVert^2 + \mathrm{tr}\,C$.
# 6. Of the $m^2$ ordered pairs in Eq. 1, $m$ pair a pass with itself, at distance 0. So its mean is $\frac{m-1}{m}$ of the mean distance between two different passes.
#
# $$d \approx \sqrt{\frac{2\,(\mathrm{tr}\,C - u^{\!\top} C u)}{\lVert\mu\rVert^2 + \mathrm{tr}\,C}},\qquad Q = 2\,\sigma\Big(-\frac{m-1}{m}\,d\Big)$$
#
# One last approximation: the root mean square of the distances stands in for their mean. That is fair where the distances hardly differ from one another. Check that first:

# %%
excess = {}
for model in (sface, facenet):
    clouds = stochastic_embeddings(model.head, model.features(faces[model.name]))
    pairs = torch.stack([torch.pdist(cloud) for cloud in clouds])  # (9, 4950)
    excess[model.name] = (pairs.square().mean(1).sqrt() / pairs.mean(1) - 1).max()
    print(
        f"{model.name:<8} root mean square of the distances: at most {excess[model.name]:.1%} above their mean"
    )
claim("For neither network is it more than 1 % above", max(excess.values()) < 0.01)

# %% [markdown]
# The formula, line by line, for the astronaut:

# %%
f, A = sface.features(sharp)[0], sface.head.weight  # (50176,), (128, 50176)
mu = sface.head(f)
C = (A * f.square()) @ A.T  # (128, 128); p/(1−p) is 1 at p = 0.5
u = mu / mu.norm()
d = (2 * (C.trace() - u @ C @ u) / (mu @ mu + C.trace())).sqrt()
q_short = 2 * torch.sigmoid(-99 / 100 * d)
print(f"d = {d:.3f}  ->  Q = {q_short:.3f}")

# %% [markdown]
# Neither $\mathrm{tr}\,C$ nor $u^{\!\top}Cu$ needs the matrix $C$, so the library's function does without it, which is faster:


# %%
def closed_form_quality(
    head: torch.nn.Linear, features: torch.Tensor, dropout: float = 0.5, passes: float = 100
) -> torch.Tensor:
    """Compute what Eq. 1 gives on average over all draws of m masks, without drawing one."""
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


# %%
def ser_fiq_closed_form(
    model: torch.nn.Module, images: torch.Tensor, dropout: float = 0.5, passes: float = 100
) -> torch.Tensor:
    """Compute the quality that `ser_fiq` estimates, without its noise."""
    with torch.no_grad():
        return closed_form_quality(model.head, model.features(images), dropout, passes)


q_astronaut = ser_fiq_closed_form(sface, sharp)[0]
claim("The short version gives the same", torch.allclose(q_short, q_astronaut, rtol=1.3e-6, atol=1e-5))

# %% [markdown]
# Compared with a hundred passes, drawn with twenty seeds, on every face:

# %%
close, unlucky, lower = [], [], []
print("100 passes:      mean of 20 seeds   seed 0   closed form")
for model in (sface, facenet):
    images = faces[model.name]
    seeds = torch.stack([ser_fiq(model, images, seed=seed) for seed in range(20)])  # (20, 9)
    closed = ser_fiq_closed_form(model, images)
    for name, *row in zip(portraits, seeds.mean(0), seeds[0], closed):
        print(f"{model.name:<8}{name:<14}" + "      ".join(f"{value:.3f}" for value in row))
    error = (closed - seeds.mean(0)).abs().max()
    close.append(error < 1e-3)
    unlucky.append(error < (seeds - seeds.mean(0)).abs().mean(1).max())
    lower.append((ser_fiq_closed_form(model, images, passes=float("inf")) < seeds.mean(0)).all())
claim("The closed form agrees with the mean over the seeds to a thousandth", all(close))
claim("The worst of the twenty seeds is farther off", all(unlucky))
claim("The limit of ever more passes is lower than that mean", all(lower))

# %% [markdown]
# With `passes=float("inf")` the closed form gives the limit of ever more passes, which is about a thousandth lower: the factor $\frac{m-1}{m}$ again. That factor matters more for fewer passes. Here is the astronaut again (FaceNet), from 2 passes to 1000, with twenty seeds for each:

# %%
counts = [2, 10, 100, 1000]
astronaut = facenet.features(faces["facenet"][:1])
drawn, formula = {}, {}
for m in counts:
    seeds = [stochastic_embeddings(facenet.head, astronaut, m, seed=seed) for seed in range(20)]
    drawn[m] = robustness(torch.cat(seeds))  # (20,)
    formula[m] = closed_form_quality(facenet.head, astronaut, passes=m).item()
    print(f"{m:>4} passes: Q = {drawn[m].mean():.3f} ± {drawn[m].std():.4f}, closed form {formula[m]:.3f}")
claim(
    "For each number of passes, the closed form is between the lowest and the highest seed",
    all(drawn[m].min() < formula[m] < drawn[m].max() for m in counts),
)
claim(
    "The more passes, the less the seeds scatter",
    (torch.stack([drawn[m].std() for m in counts]).diff() < 0).all(),
)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
numbers = np.geomspace(2, 1000, 100)
curve = [closed_form_quality(facenet.head, astronaut, passes=m).item() for m in numbers]
limit = closed_form_quality(facenet.head, astronaut, passes=float("inf")).item()
figure, axis = plt.subplots(figsize=(7, 3.8), layout="constrained")
for m in counts:
    axis.plot(
        [m] * 20, drawn[m], "o", color="tab:blue", fillstyle="none", label="one seed" if m == 2 else None
    )
axis.plot(numbers, curve, color="black", label="closed form for m passes")
axis.axhline(limit, color="0.4", linestyle="--", label="its limit")
axis.set(xscale="log", xlabel="number of passes m", ylabel="quality Q")
axis.set_title("Q of the astronaut (FaceNet)", fontsize=10)
axis.set_xticks(counts, [str(m) for m in counts])
axis.legend()
describe(
    figure,
    "Q of the astronaut over the number of passes, twenty circles each: they lie around the curve of the closed form, ever closer, and both fall towards a limit.",
)
plt.show()

# %% [markdown]
# *A circle for each seed. Few passes scatter more, and they score higher as well, because Eq. 1 divides by $m^2$, although there are only $m(m-1)$ ordered pairs of different points. The closed form knows this factor, so its curve runs through the circles each time.*
#
# So the closed form computes the very number that a hundred passes estimate. It draws nothing, gives the same number each time and takes one pass instead of a hundred. **It is the default:** `explain`, `advise` and the command line use it wherever the head is affine, as it is in both networks here, and so do all notebooks from here on. `explain(..., passes=100)` draws masks, as the paper does; for a head that is not affine, it always does. The constants α and r of Eq. 2 serve both.
#
# ## If every image scores 1
#
# A common mistake: the network is in evaluation mode, where a dropout *layer* does nothing. Every pass is then the same, every distance 0 and every $Q$ exactly 1. (The remedy is not `.train()`, which also switches BatchNorm to the statistics of the batch. Here dropout is an explicit mask, so the mode does not matter.) A score of 1 for every image is an error, and is reported as one:

# %%
same = sface(sharp)[:, None].repeat(1, 100, 1)  # (1, 100, 128): a hundred passes without dropout
print(f"2σ(0) = {2 * torch.sigmoid(-torch.cdist(same, same).mean()):.2f}")
refused = False
try:
    robustness(same)
except DropoutHasNoEffect as error:
    refused = True
    print(error)
claim("The library refuses to return such a score", refused)

# %% [markdown]
# ## Why is the range so narrow?
#
# Dropout removes half of the features of *every* image, so the passes of every image scatter, and good and poor ones differ only in how much. And $2\sigma(-d)$ has a slope of only −½ at 0, which halves what difference there is. Undo Eq. 1 to see the distances:

# %%
narrow = []
for model in (sface, facenet):
    distance = -torch.logit(ser_fiq_closed_form(model, faces[model.name]) / 2)
    print(f"{model.name:<8} mean distance between two passes: {distance.min():.2f} to {distance.max():.2f}")
    narrow.append(distance.max() < 1.5 * distance.min())
claim("The largest is less than one and a half times the smallest", all(narrow))

# %% [markdown]
# That is no flaw of the method as long as the *order* is right, but such a number means nothing to a person. Eq. 2 spreads it:
#
# $$\hat Q = \sigma\big(\alpha\,(Q - r)\big) \qquad\text{(Eq. 2)}$$
#
# $r$ is the mean of $Q$ over a *development set* (photos set aside for fitting the constants), and $\alpha$ is chosen so that $\hat Q$ of 95 % of that set is between 0.05 and 0.95. So $\hat Q = 0.5$ means a middling photo of that set, for this network.
#
# How is $\alpha$ found? Let $t$ be the distance from $r$ that 95 % of the set do not exceed. At that distance $\hat Q$ is to be 0.95, and $\sigma(\alpha t) = 0.95$ where $\alpha t = \ln\frac{0.95}{0.05} = \ln 19$. In a few lines, as if the nine sample faces were the development set:

# %%
nine = ser_fiq_closed_form(sface, faces["sface"])
r_short = nine.mean()
t = (nine - r_short).abs().quantile(0.95)
alpha_short = np.log(19) / t
scaled_short = torch.sigmoid(alpha_short * (nine - r_short))
print("Q ", " ".join(f"{value:.2f}" for value in nine))
print("Q̂ ", " ".join(f"{value:.2f}" for value in scaled_short))

# %% [markdown]
# Scores that hardly differed now fill the range. As functions, with checks:


# %%
def scale_quality(q: torch.Tensor, alpha: float, r: float) -> torch.Tensor:
    """Spread the narrow range of Q over 0..1 (Eq. 2): Q̂ = σ(α(Q − r))."""
    return torch.sigmoid(alpha * (q - r))


def fit_scaling(qualities: torch.Tensor) -> tuple[float, float]:
    """Choose α and r of Eq. 2 from the qualities of a development set."""
    if qualities.numel() < 2 or not qualities.isfinite().all():
        raise ValueError(f"{qualities.numel()} qualities, or NaN among them: fit on several different faces.")
    r = qualities.mean()
    t = (qualities - r).abs().quantile(0.95)
    if t < 1e-5:
        raise ValueError(
            f"95 % of {qualities.numel()} qualities are the same: fit on several different faces."
        )
    return (torch.log(torch.tensor(19.0)) / t).item(), r.item()


alpha, r = fit_scaling(nine)
claim(
    "The short version gives the same α, r and Q̂",
    np.allclose([alpha, r], [alpha_short, r_short], rtol=1e-5)
    and torch.allclose(scale_quality(nine, alpha, r), scaled_short, rtol=1e-4),
)

# %% [markdown]
# ### The development set (Fig. 11)
#
# Which photos? Our constants were fitted on a set as varied as everyday life: 208 photos whose face nothing covers, 74 from LFW (*Labeled Faces in the Wild*, press photos) and 134 everyday photos from six other sources, **and two degraded versions of each**, such as a blurred and a dark one. (For a folder of your own, `python data_scripts/calibrate.py FOLDER --out calibration.json` does the same. The grey bars of `show` and the percentages of `advise` are of the 134 everyday photos alone.)
#
# The measurements come with the package, in `calibration.csv`, a row for each network, photo and version. Its columns:
#
# | column | what it holds |
# |---|---|
# | `model`, `image`, `sha256` | network, photo, and the hash of the photo's file |
# | `version` | empty for the photo as it is, otherwise the kind of degradation |
# | `quality` | $Q$, in closed form |
# | `centre`, `background` | saliency of the face's centre and of the background, needed for γ in [notebook 03](03_saliency.ipynb) |
# | `skipped` | why a photo could not be used, if so |
#
# `docs/development_set.csv` says where each photo comes from, whom it shows and what covers the face. Some wear glasses or a hat; these were measured, too, but are left out here.

# %%
measured = pd.read_csv(files("plqlite").joinpath("calibration.csv"), keep_default_na=False)
listed = pd.read_csv("../docs/development_set.csv", keep_default_na=False)
development = measured.merge(listed[listed["covered"] == ""], on="image")
claim("No photo that counts was skipped", (development["skipped"] == "").all())

# %%
fitted, within, same_constants = {}, [], []
for model in (sface, facenet):
    rows = development[development["model"] == model.name]
    as_it_is = torch.tensor((rows["version"] == "").to_numpy())
    q = torch.tensor(rows["quality"].to_numpy())
    alpha, r = fit_scaling(q)
    scaled = scale_quality(q, alpha, r)
    fitted[model.name] = q, scaled, as_it_is
    inside = ((scaled >= 0.05) & (scaled <= 0.95)).double().mean()
    counted = f"{as_it_is.sum()} photos, {(~as_it_is).sum()} versions"
    print(f"{model.name:<8} {counted}: Q = {q.mean():.3f} ± {q.std():.3f}")
    print(f"{'':<8} α = {alpha:.1f}, r = {r:.4f}; {inside:.0%} of Q̂ within 0.05..0.95")
    within.append(abs(inside - 0.95) <= 0.01)
    same_constants.append(abs(alpha - model.scaling.alpha) < 0.1 and abs(r - model.scaling.r) < 1e-4)
claim("94 to 96 % of Q̂ lie within 0.05..0.95", all(within))
claim("α and r are those that come with the package", all(same_constants))

# %% jupyter={"source_hidden": true} tags=["hide-input"]
figure, axes = plt.subplots(2, 2, figsize=(8, 5.2), layout="constrained")
for axis, (name, (q, scaled, as_it_is)) in zip(axes, fitted.items()):
    for each, values, limits in zip(axis, (q, scaled), ((0.75, 0.92), (0, 1))):
        parts = [values[as_it_is].numpy(), values[~as_it_is].numpy()]
        style = {"stacked": True, "color": ["0.75", "tab:orange"], "label": ["as it is", "degraded"]}
        _, _, (_, degraded) = each.hist(parts, 25, range=limits, edgecolor="white", linewidth=0.5, **style)
        for bar in degraded:
            bar.set_hatch("////")
    axis[0].set(title=f"{name}: Q", xlabel="quality Q", ylabel="images")
    axis[1].set(title=f"{name}: Q̂", xlabel="scaled quality Q̂")
axes[0, 0].legend(loc="upper left")
describe(
    figure,
    "Histograms of 208 photos and 416 degraded versions, for both networks: Q is narrow, and higher for SFace than for FaceNet; Q̂ spreads over most of 0 to 1 for both.",
)
plt.show()

# %% [markdown]
# *Left: raw quality, as in Fig. 11. Nearly all photos score higher with SFace than any photo does with FaceNet, which does not make SFace the better network: a $Q$ can only be compared with others of the same network. Right: the same photos after Eq. 2.*
#
# How much does the choice of the development set matter? Fit the constants on the 74 press photos alone, and apply both pairs to the blurred astronaut from above:

# %%
of_sface, of_facenet = (development["quality"][development["model"] == m.name] for m in (sface, facenet))
above = (of_sface > of_facenet.max()).mean()
print(f"{above:.0%} of SFace's Q are above all of FaceNet's")
claim("More than nine in ten of SFace's Q are above all of FaceNet's", above > 0.9)

press = development[(development["source"] == "LFW") & (development["version"] == "")]
press = fit_scaling(torch.tensor(press["quality"][press["model"] == "sface"].to_numpy()))
wide = (sface.scaling.alpha, sface.scaling.r)
for name, (alpha, r) in {"press photos": press, "whole set": wide}.items():
    scaled = scale_quality(ser_fiq_closed_form(sface, both), alpha, r)
    print(
        f"{name}: α = {alpha:.0f}, r = {r:.2f}; Q̂ = {scaled[0]:.1f} (sharp), {scaled[1]:.1g} (blurred by 4 px)"
    )
claim("Fitted on press photos, α is more than three times as large", press[0] > 3 * wide[0])
claim("With the constants of the whole set, Q̂ of the blurred face is above 0.05", scaled[1] > 0.05)

# %% [markdown]
# On press photos, which are much alike and mostly good, $\alpha$ comes out four times as large, and a blurred face gets a $\hat Q$ of practically 0. So would every photo worse than that: the scale would have no room for them. The constants belong to one network and one development set. Never carry them over to another.
#
# $\alpha$ magnifies noise as well, if masks are drawn:

# %%
noisy = torch.cat([ser_fiq(facenet, faces["facenet"][:1], seed=seed) for seed in range(8)])
noisy = scale_quality(noisy, facenet.scaling.alpha, facenet.scaling.r)
print(f"Q̂ of the astronaut (FaceNet, a hundred passes), eight seeds: {noisy.min():.1f} to {noisy.max():.1f}")
claim("The seeds differ by more than 0.1", noisy.max() - noisy.min() > 0.1)

# %% [markdown]
# A single $\hat Q$ from a hundred passes can tell *poor*, *middling* and *good* apart, but do not trust its second digit. The closed form has no such noise. The constants also belong to the number of passes, $m = 100$: fewer passes give a higher $Q$, by the factor $\frac{m-1}{m}$ of the distance.
#
# ## Does Q fall when a photo gets worse?
#
# The same table answers that. Each of the 208 photos has two degraded versions of different kinds, drawn from 21, most of them at a random strength. How often does the worse version have the lower $Q$? (The interval is a 95 % bootstrap interval over subjects.)

# %%
clean = development[development["version"] == ""].set_index(["model", "image"])["quality"]
worse = development[development["version"] != ""].copy()
worse["fall"] = clean.loc[list(zip(worse["model"], worse["image"]))].to_numpy() - worse["quality"]

occluded = ~worse["version"].isin(EVERYWHERE)
groups = {"all": worse["version"] != "", "occluders": occluded, "focus, light, noise, pose …": ~occluded}
shares = {}
for model in ("sface", "facenet"):
    for group, chosen in groups.items():
        rows = worse[chosen & (worse["model"] == model)]
        shares[model, group] = share = share_positive(rows["fall"], rows["subject"])
        print(
            f"{model:<8} {group:<27} {share.mean:.0%} ({share.low:.0%} to {share.high:.0%}) of {share.count}"
        )

# %%
sure = {key: (share.low, share.high) for key, share in shares.items()}  # the interval
claim("SFace, all versions: the whole interval is above 70 %", sure["sface", "all"][0] > 0.7)
claim("SFace, occluders: the whole interval is above 80 %", sure["sface", "occluders"][0] > 0.8)
includes_half = sure["facenet", "all"][0] < 0.5 < sure["facenet", "all"][1]
claim("FaceNet, all versions: the interval includes 50 %, the toss of a coin", includes_half)
claim("FaceNet, occluders: the whole interval is above 55 %", sure["facenet", "occluders"][0] > 0.55)

# %% [markdown]
# And for each kind of degradation?

# %%
falls = (worse["fall"] > 0).groupby([worse["model"], worse["version"]]).mean().unstack("model")
falls = falls.sort_values("sface")
number = worse[worse["model"] == "sface"]["version"].value_counts()
claim("There are 12 to 31 photos of each kind", (number.min(), number.max()) == (12, 31))

# %% jupyter={"source_hidden": true} tags=["hide-input"]
figure, axes = plt.subplots(1, 2, figsize=(8.5, 5.5), sharey=True, layout="constrained")
is_occluder = ~falls.index.isin(EVERYWHERE)
for axis, model in zip(axes, ("sface", "facenet")):
    for kind, chosen, look in (
        ("occluder", is_occluder, {"color": "tab:orange", "hatch": "////"}),
        ("focus, light, noise, pose …", ~is_occluder, {"color": "tab:blue"}),
    ):
        axis.barh(falls.index, falls[model].where(chosen), label=kind, edgecolor="white", **look)
    axis.axvline(0.5, color="black", linestyle=":")
    axis.set(title=model, xlim=(0, 1), xlabel="share of degraded versions with a lower Q")
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
describe(
    figure,
    "How often Q falls, for 21 kinds of degradation: for SFace more often than not except for two kinds; for FaceNet for six of seven occluders, and seldom for wrong exposure, low contrast, compression and noise.",
)
plt.show()

# %% [markdown]
# *Hatched: something covers the face. Dotted: the toss of a coin. A bar stands for 12 to 31 photos: one standard error is up to 14 percentage points.*

# %%
half, rare = ({m: set(falls.index[falls[m] < limit]) for m in falls} for limit in (0.5, 0.3))
for model in ("sface", "facenet"):
    print(f"{model}: lower in less than half of the photos:", ", ".join(sorted(half[model])))
print("facenet: lower in less than 30 %:", ", ".join(sorted(rare["facenet"])))
claim(
    "SFace: Q falls in less than half of the photos for two kinds only, a nod and too little light",
    half["sface"] == {"pose-pitch", "illumination-under"},
)
claim(
    "FaceNet: Q falls in less than 30 % of the photos for compression, low contrast, too much or little light, noise",
    rare["facenet"] == {"compression", "contrast-low", "illumination-over", "illumination-under", "noise"},
)

# %%
mean_fall = worse.groupby("model")["fall"].mean()
spread = clean.groupby("model").std()
for model in ("sface", "facenet"):
    print(
        f"{model}: Q falls by {mean_fall[model]:.3f} on average; it differs by {spread[model]:.3f} between photos"
    )
claim(
    "Both networks: the mean fall is positive, but less than half of the standard deviation between photos",
    all(0 < mean_fall[model] < 0.5 * spread[model] for model in ("sface", "facenet")),
)

# %% [markdown]
# SFace's $Q$ falls in three of four cases, and nearly always if something covers the face; nodding the head and too little light are the exceptions. **FaceNet's $Q$ falls about as often as it rises.** It falls for most occluders, but under compression, low contrast, too much or too little light, and noise it *rises* in more than two thirds of the photos. So a high $Q$ of FaceNet does not say that a photo is clean. For both networks, $Q$ falls by much less on average than it differs between photos anyway: from a single $Q$ nobody can tell whether a photo was degraded.
#
# Nor does the formula promise more: $Q$ measures how much an embedding moves when features are switched off. Whether that predicts recognition has to be measured for each network (exercise 3).
#
# ## What the last layers do (optional)
#
# The head of SFace is a linear layer followed by BatchNorm, whose output is then divided by its length (L2 normalisation). Are these two needed? BatchNorm was folded into the linear layer when the model was built, so take the original layer from the file; L2 normalisation can simply be left out:

# %%
from plqlite.networks.onnx_graph import fold_constants, read_onnx
from plqlite.networks.weights import SFACE, find_weights

_, constants = fold_constants(read_onnx(find_weights(SFACE))[0].graph, opset=21)
linear = torch.nn.Linear(50176, 128).requires_grad_(False)
for parameter, name in ((linear.weight, "weight"), (linear.bias, "bias")):
    parameter.copy_(torch.tensor(constants[f"pre_fc1_{name}_dequantized"]))

# %%
features = sface.features(faces["sface"])
keep = torch.rand(100, 1, 50176, generator=torch.Generator().manual_seed(0)) >= 0.5
raw = sface.head(features * keep * 2).transpose(0, 1)  # (9, 100, 128), not normalised
distance = torch.cdist(raw, raw).mean((1, 2))  # (9,)
without_l2 = 2 * torch.sigmoid(-distance)
variants = {
    "as it is": robustness(stochastic_embeddings(sface.head, features)),
    "without BatchNorm": robustness(stochastic_embeddings(linear, features)),
    "without L2": without_l2,
}
for name, scores in variants.items():
    print(f"{name:<18} Q from {scores.min():.2f} to {scores.max():.2f}")

# %%
as_it_is = variants["as it is"]
same_order = {name: float(spearmanr(scores, as_it_is).statistic) for name, scores in variants.items()}
print("rank correlation with the first:", {name: round(value, 1) for name, value in same_order.items()})
claim(
    "Without BatchNorm, every score changes by less than 0.01",
    (as_it_is - variants["without BatchNorm"]).abs().max() < 0.01,
)
claim("Without BatchNorm, the order is nearly the same (above 0.9)", same_order["without BatchNorm"] > 0.9)
claim("Without L2, it is another order (below 0.7)", same_order["without L2"] < 0.7)

length = sface.head(features).norm(dim=1)
print(f"length of the embeddings before L2: {length.min():.0f} to {length.max():.0f}")
distance_with_l2 = -torch.logit(as_it_is / 2)  # Eq. 1 undone
claim(
    "Without L2, each distance is multiplied by that length, to within 5 %",
    torch.allclose(distance, length * distance_with_l2, rtol=0.05, atol=0),
)

# %% [markdown]
# BatchNorm hardly matters for this network. L2 normalisation matters a great deal. Without it, every distance is multiplied by the length of the embedding, which recognition ignores, and the images come out in a different order.

# %% [markdown]
# ## Exercises
#
# Where an answer is a number or a word, it checks itself: put it in place of `...` and run the cell.

# %% [markdown]
# ### Exercise 1 · Change a number (easy, 10 minutes)
#
# How does the astronaut's $Q$ (SFace) change with the dropout rate, from 0.1 to 0.9? Does the order of the nine faces change?
#
# <details><summary>Hint</summary><code>ser_fiq_closed_form(sface, faces["sface"], dropout=0.1)</code> returns nine scores, the astronaut's first. Compare orders with <code>spearmanr</code>.</details>

# %%
ends = ...  # the astronaut's [Q at 0.1, Q at 0.9]
check(ends, "855662105786", digits=2)

# %% [markdown]
# ### Exercise 2 · A worse image (easy, 10 minutes)
#
# Make three worse versions of the astronaut's crop: half the light (*dark*), noise of 20 grey levels (*noise*), and shrunk to 28 pixels and enlarged again (*small*). Guess first: which lowers SFace's $Q$ most? And FaceNet's? Are there any that raise it?
#
# <details><summary>Hint</summary>Divide by 2; add <code>20 * torch.randn(image.shape)</code> and clamp to 0..255; use <code>resize(image, [28, 28])</code> of <code>torchvision.transforms.functional</code> and back. Each network has crops of its own: <code>faces["facenet"][:1]</code> is FaceNet's.</details>

# %%
lowest = ...  # "dark", "noise" or "small": [for SFace, for FaceNet]
check(lowest, "1803aab59400")

# %% [markdown]
# ### Exercise 3 · Test the score (medium, 15 minutes)
#
# Quality should predict recognition. Blur all nine faces by 1, 2, 3, 4 and 6 pixels and compare SFace's $Q$ with the comparison score (the cosine) between each blurred image and its sharp original: what is the rank correlation over all 45?
#
# <details><summary>Hint</summary>Blur as at the start of this notebook: <code>gaussian_blur(images, 6 * width + 1, float(width))</code>. The cosine of two embeddings of length 1 is the sum of their products.</details>

# %%
correlation = ...  # rank correlation of Q and cosine, two digits
check(correlation, "434c9b5ae514", digits=2)

# %% [markdown]
# ### Exercise 4 · Understand the limit (medium, 15 minutes)
#
# Compute $\mathrm{tr}\,C$ and $u^{\!\top}Cu$ for the nine faces (SFace). What share of the variance is along $u$? What would $Q$ be if it were not subtracted?
#
# <details><summary>Hint</summary><code>closed_form_quality</code> computes both: <code>trace</code> and <code>along</code>. To see the effect on Q alone, take infinitely many passes on both sides.</details>

# %%
percent = ...  # share of the variance along u, mean over the nine faces, in per cent
check(percent, "3fdba35f04dc", digits=1)

# %% [markdown]
# ### Exercise 5 · Prove it (medium, 10 minutes)
#
# Show that $Q$ does not change if all features *and* the head's bias are multiplied by the same positive number.
#
# <details><summary>Hint</summary>What becomes of one pass z, and what of z divided by its length?</details>

# %% [markdown]
# Solutions: [solutions/01_ser_fiq.ipynb](solutions/01_ser_fiq.ipynb) · Back: [00](00_quickstart.ipynb) · Next: [02 · How does a number become a network?](02_quality_node.ipynb)
