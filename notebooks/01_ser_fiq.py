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
# | **Time** | 30 minutes to read, 25 without the optional section; 30 seconds to run ([two CPU cores](../docs/times.csv)) |
# | **Paper** | §3.1, §8.2, Fig. 11; SER-FIQ: [arXiv 2003.09373](https://arxiv.org/abs/2003.09373) |
#
# A face recognition network turns an image into an **embedding**: a vector of length 1 that points in roughly the same direction for all images of one person. Two images are judged to show the same person if their embeddings are close. This notebook asks how far such a vector can be trusted.
#
# All functions of step 1 of the method (*how good is the image?*) are defined here in full. They are the library's own (`plqlite/quality.py` without its longer docstrings; a test checks that the code is the same), so change one and run the notebook again.
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
# (The images are *aligned crops*: every face is turned and scaled so that eyes, nose and mouth are where this network expects them.)
#
# A quality score is right if it predicts how well an image will be *recognised*. So take one face, blur it more and more, and watch two things: its *comparison score* with the sharp original (the cosine of the two embeddings), and the quality score $Q$ that this notebook is about. Only the first needs the original; the second sees nothing but the blurred image.

# %%
sharp = faces["sface"][:1]
widths = [0, 1, 2, 3, 4, 6, 8]  # standard deviation of the blur, in pixels of the 112×112 crop
blurred = torch.cat([sharp] + [gaussian_blur(sharp, 6 * width + 1, float(width)) for width in widths[1:]])
similarity = (sface(blurred) @ sface(sharp).T).flatten()
quality = plqlite.ser_fiq(sface, blurred)

figure, axes = plt.subplots(1, len(widths), figsize=(9, 2.2))
for axis, image, width, s, q in zip(axes, blurred, widths, similarity, quality):
    axis.imshow(image.permute(1, 2, 0) / 255)
    axis.set_title(f"blur {width} px\ncosine {s:.2f}\nQ = {q:.3f}", fontsize=9)
    axis.axis("off")
plt.show()

# %% [markdown]
# *Look at the titles: from left to right the network recognises the person less and less, and $Q$ falls too.*

# %%
assert (similarity.diff() < 0).all()
assert (quality.diff() < 0).all()

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


# %%
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


features = sface.features(torch.cat([sharp, blurred[4:5]]))  # (2, 50176): a good image and a poor one
embeddings = stochastic_embeddings(sface.head, features)
print("features", tuple(features.shape), "-> embeddings (image, pass, dimension)", tuple(embeddings.shape))

# %% [markdown]
# Each image is now a hundred points on a sphere in 128 dimensions. To see them, centre each cloud on its own mean and project both onto the two directions in which they scatter most.

# %%
clouds = embeddings - embeddings.mean(1, keepdim=True)  # (2, 100, 128)
directions = torch.linalg.svd(clouds.flatten(0, 1), full_matrices=False).Vh[:2]  # (2, 128)
flat = clouds @ directions.T  # (2, 100, 2)

figure, axes = plt.subplots(1, 2, figsize=(7, 3.4), sharex=True, sharey=True)
for axis, points, title, colour in zip(axes, flat, ("sharp", "blurred by 4 px"), ("tab:green", "tab:red")):
    axis.scatter(*points.T, s=12, color=colour)
    axis.set(title=title, xlabel="first direction", ylabel="second direction", aspect="equal")
plt.show()

# %% [markdown]
# *One point per dropout pass. The wider the cloud, the less the network can rely on what it sees.*

# %%
radius = clouds.norm(dim=-1).mean(1)
print(f"mean distance from the centre: sharp {radius[0]:.2f}, blurred {radius[1]:.2f}")
assert radius[0] < radius[1]

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
print(f"distances {d12:.2f} {d13:.2f} {d23:.2f}  ->  Q = 2 σ({exponent:.2f}) = {q_by_hand:.2f}")

# %% [markdown]
# The function does the same for any number of passes. (`_quality` is the last step, $2\sigma(-d)$; the error that it may raise has its own section below.)


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


def robustness(embeddings: torch.Tensor) -> torch.Tensor:
    """Turn the spread of an image's embeddings into its quality (Eq. 1)."""
    # The mean over all m² ordered pairs is the (2/m²) Σ_{i<j} of Eq. 1: the diagonal adds zeros.
    # Row by row, so that memory does not grow with m²; without the matrix product, whose
    # rounding would turn the zeros into 3e-4.
    exact = "donot_use_mm_for_euclid_dist"
    rows = embeddings.split(100, dim=-2)
    total = sum(torch.cdist(row, embeddings, compute_mode=exact).sum((-2, -1)) for row in rows)
    return _quality(total / embeddings.shape[-2] ** 2)


q = robustness(embeddings)
print(f"Q of the sharp image {q[0]:.3f}, of the blurred one {q[1]:.3f}")
torch.testing.assert_close(robustness(embeddings[:1, :3])[0], q_by_hand)
assert q[0] > q[1]

# %% [markdown]
# ### Two published versions
#
# The SER-FIQ paper averages over the $\frac{m(m-1)}{2}$ pairs; Eq. 1 here divides by $\frac{m^2}{2}$. The two mean distances differ by the factor $\frac{m-1}{m}$, the same for every image, so the order of the images cannot change. At $m = 100$ it changes $Q$ by about a thousandth. Remember the factor: it returns below.

# %%
passes = embeddings.shape[1]
mean_over_pairs = torch.stack([torch.pdist(cloud).mean() for cloud in embeddings])
q_pairs = 2 * torch.sigmoid(-mean_over_pairs)
print(f"Eq. 1 minus mean over pairs: {(q - q_pairs)[0]:.4f} (sharp), {(q - q_pairs)[1]:.4f} (blurred)")
torch.testing.assert_close(q, 2 * torch.sigmoid(-mean_over_pairs * (passes - 1) / passes))
assert (q - q_pairs < 2e-3).all()

# %% [markdown]
# ## From pixels to quality
#
# One line for the features, one for the rest:


# %%
def ser_fiq(
    model: torch.nn.Module, images: torch.Tensor, passes: int = 100, dropout: float = 0.5, seed: int = 0
) -> torch.Tensor:
    """Estimate the quality of face images (Eq. 1; SER-FIQ, arXiv 2003.09373)."""
    with torch.no_grad():
        features = model.features(images)  # (B, D)
    return robustness(stochastic_embeddings(model.head, features, passes, dropout, seed))


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

figure, axis = plt.subplots(figsize=(5, 3))
axis.errorbar(counts, [scores[m].mean() for m in counts], yerr=noise, marker="o", capsize=3)
axis.set(xscale="log", xlabel="number of passes m", ylabel="Q of the astronaut (FaceNet)")
plt.show()

slope = np.polyfit(np.log(counts), noise.log(), 1)[0]
print(f"the standard deviation falls like m to the power of {slope:.1f}")
assert -0.7 < slope < -0.3

photos = ser_fiq(facenet, faces["facenet"]).std()
print(f"standard deviation at m = 100: {noise[2]:.3f} over seeds, {photos:.3f} over the nine faces")
assert 0.1 < noise[2] / photos < 0.7

# %% [markdown]
# *Bars: one standard deviation over ten seeds. The noise falls like $1/\sqrt m$: a tenth of the noise takes a hundred times as many passes. The first points are high because Eq. 1 divides by $m^2$, although there are only $m(m-1)$ ordered pairs of different points.*
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
print(
    f"Q changes by {change.mean():+.4f}; noise of one such comparison: shared masks {shared:.4f}, fresh masks {fresh:.4f}"
)
assert shared < 0.7 * fresh
assert shared < change.mean().abs() < fresh

# %% [markdown]
# The change (an improvement, by the way: FaceNet does not mind losing that patch) is larger than the noise with shared masks and smaller than the noise with fresh ones.
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
for model in (sface, facenet):
    passes = stochastic_embeddings(model.head, model.features(faces[model.name]))
    pairs = torch.stack([torch.pdist(cloud) for cloud in passes])  # (9, 4950)
    excess = pairs.square().mean(1).sqrt() / pairs.mean(1) - 1
    print(
        f"{model.name:<8} root mean square of the distances exceeds their mean by at most {excess.max():.1%}"
    )
    assert excess.max() < 0.01

# %% [markdown]
# Neither $\mathrm{tr}\,C$ nor $u^{\!\top}Cu$ needs the matrix $C$:


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


def ser_fiq_closed_form(
    model: torch.nn.Module, images: torch.Tensor, dropout: float = 0.5, passes: float = 100
) -> torch.Tensor:
    """Compute the quality that `ser_fiq` estimates, without its noise."""
    with torch.no_grad():
        return closed_form_quality(model.head, model.features(images), dropout, passes)


# %% [markdown]
# Compared with a hundred passes, drawn with twenty seeds, on every face:

# %%
print("100 passes:      mean of 20 seeds   seed 0   closed form")
for model in (sface, facenet):
    images = faces[model.name]
    seeds = torch.stack([ser_fiq(model, images, seed=seed) for seed in range(20)])  # (20, 9)
    closed = ser_fiq_closed_form(model, images)
    for name, *row in zip(portraits, seeds.mean(0), seeds[0], closed):
        print(f"{model.name:<8}{name:<14}" + "      ".join(f"{value:.3f}" for value in row))
    error, one_seed = (closed - seeds.mean(0)).abs().max(), (seeds - seeds.mean(0)).abs().mean(1).max()
    assert error < 1e-3
    assert error < one_seed
    limit = ser_fiq_closed_form(model, images, passes=float("inf"))
    assert (limit < seeds.mean(0)).all()

# %% [markdown]
# The closed form agrees with the mean over the seeds to a thousandth, and one seed alone is farther off. With `passes=float("inf")` it gives the limit of ever more passes, which is about a thousandth lower: the factor $\frac{m-1}{m}$ again.
#
# So the closed form computes the very number that a hundred passes estimate. It draws nothing, gives the same number each time and takes one pass instead of a hundred. **It is the default:** `explain`, `advise` and the command line use it wherever the head is affine, as it is in both networks here, and so do all notebooks from here on. `explain(..., passes=100)` draws masks, as the paper does, and so does a head that is not affine. The constants α and r of Eq. 2 serve both.
#
# ## If every image scores 1
#
# A common mistake: the network is in evaluation mode, where a dropout *layer* does nothing. Every pass is then the same, every distance 0 and every $Q$ exactly 1. (The remedy is not `.train()`, which also switches BatchNorm to the statistics of the batch. Here dropout is an explicit mask, so the mode does not matter.) A score of 1 for every image is an error, and is reported as one:

# %%
same = sface(sharp)[:, None].repeat(1, 100, 1)  # (1, 100, 128): a hundred passes without dropout
print(f"2σ(0) = {2 * torch.sigmoid(-torch.cdist(same, same).mean()):.2f}")
try:
    robustness(same)
except DropoutHasNoEffect as error:
    print(error)
else:
    raise AssertionError("a meaningless score went through")

# %% [markdown]
# ## Why is the range so narrow?
#
# Dropout removes half of the features of *every* image, so the passes of every image scatter, and good and poor ones differ only in how much. And $2\sigma(-d)$ has a slope of only −½ at 0, which halves what difference there is. Undo Eq. 1 to see the distances:

# %%
for model in (sface, facenet):
    distance = -torch.logit(ser_fiq_closed_form(model, faces[model.name]) / 2)
    print(
        f"{model.name:<8} mean distance between two passes: from {distance.min():.2f} to {distance.max():.2f}"
    )
    assert distance.max() < 1.5 * distance.min()

# %% [markdown]
# That is no flaw of the method as long as the *order* is right, but such a number means nothing to a person. Eq. 2 spreads it:
#
# $$\hat Q = \sigma\big(\alpha\,(Q - r)\big) \qquad\text{(Eq. 2)}$$
#
# $r$ is the mean of $Q$ over a *development set* (photos set aside for fitting the constants), and $\alpha$ is chosen so that $\hat Q$ of 95 % of that set is between 0.05 and 0.95. So $\hat Q = 0.5$ means a middling photo of that set, for this network.


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


# %% [markdown]
# ### The development set (Fig. 11)
#
# Which photos? Our constants were fitted on a set as wide as life: 208 photos whose face nothing covers, 74 from LFW (*Labeled Faces in the Wild*, press photos) and 134 everyday photos from six other sources, **and two degraded versions of each**, such as a blurred and a dark one. (For a folder of your own, `python data_scripts/calibrate.py FOLDER --out calibration.json` does the same.)
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
assert (development["skipped"] == "").all()

figure, axes = plt.subplots(2, 2, figsize=(7.5, 4.5), layout="constrained")
for axis, model in zip(axes, (sface, facenet)):
    rows = development[development["model"] == model.name]
    as_it_is = torch.tensor((rows["version"] == "").to_numpy())
    q = torch.tensor(rows["quality"].to_numpy())
    alpha, r = fit_scaling(q)
    scaled = scale_quality(q, alpha, r)
    for each, values, limits in zip(axis, (q, scaled), ((0.75, 0.92), (0, 1))):
        parts = [values[as_it_is].numpy(), values[~as_it_is].numpy()]
        style = {"stacked": True, "color": ["grey", "tab:orange"], "label": ["as it is", "degraded"]}
        each.hist(parts, 25, range=limits, **style)
    axis[0].set(title=f"{model.name}: Q", xlabel="quality Q", ylabel="images")
    axis[1].set(title=f"{model.name}: Q̂, α = {alpha:.0f}, r = {r:.3f}", xlabel="scaled quality Q̂")
    inside = ((scaled >= 0.05) & (scaled <= 0.95)).double().mean()
    print(
        f"{model.name:<8} {as_it_is.sum()} photos, {(~as_it_is).sum()} versions: Q = {q.mean():.3f} ± {q.std():.3f}; "
        f"{inside:.0%} of Q̂ within 0.05..0.95; α = {alpha:.1f}, r = {r:.4f}"
    )
    assert abs(inside - 0.95) <= 0.01
    assert abs(alpha - model.scaling.alpha) < 0.1
    assert abs(r - model.scaling.r) < 1e-4
axes[0, 0].legend(loc="upper left")
plt.show()

# %% [markdown]
# *Left: raw quality, as in Fig. 11. Nearly all photos of SFace score higher than every photo of FaceNet, which does not make SFace the better network: a $Q$ can only be compared with others of the same network. Right: the same photos after Eq. 2.*
#
# How much does the choice of the development set matter? Fit the constants on the 74 press photos alone, and apply both pairs to the blurred astronaut from above:

# %%
of_sface, of_facenet = (development["quality"][development["model"] == m.name] for m in (sface, facenet))
print(f"{(of_sface > of_facenet.max()).mean():.0%} of SFace's Q are above all of FaceNet's")
assert (of_sface > of_facenet.max()).mean() > 0.9

press = development[(development["source"] == "LFW") & (development["version"] == "")]
press = fit_scaling(torch.tensor(press["quality"][press["model"] == "sface"].to_numpy()))
for name, (alpha, r) in {
    "press photos": press,
    "wide as life": (sface.scaling.alpha, sface.scaling.r),
}.items():
    scaled = scale_quality(ser_fiq_closed_form(sface, blurred[[0, 4]]), alpha, r)
    print(
        f"{name}: α = {alpha:.0f}, r = {r:.2f}; Q̂ = {scaled[0]:.1f} (sharp), {scaled[1]:.1g} (blurred by 4 px)"
    )
assert press[0] > 3 * sface.scaling.alpha
assert scaled[1] > 0.05

# %% [markdown]
# On press photos, which are much alike and mostly good, $\alpha$ comes out four times as steep, and a blurred face gets a $\hat Q$ of practically 0. So would every photo worse than that: the scale would have no room for them. The constants belong to one network and one development set. Never carry them over to another.
#
# $\alpha$ magnifies noise as well, if masks are drawn:

# %%
noisy = torch.cat([ser_fiq(facenet, faces["facenet"][:1], seed=seed) for seed in range(8)])
noisy = scale_quality(noisy, facenet.scaling.alpha, facenet.scaling.r)
print(
    f"Q̂ of the astronaut (FaceNet, a hundred passes) over eight seeds: {noisy.min():.1f} to {noisy.max():.1f}"
)
assert noisy.max() - noisy.min() > 0.1

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

assert shares["sface", "all"].low > 0.7 and shares["sface", "occluders"].low > 0.8
assert shares["facenet", "all"].low < 0.5 < shares["facenet", "all"].high
assert shares["facenet", "occluders"].low > 0.55

# %%
falls = (worse["fall"] > 0).groupby([worse["model"], worse["version"]]).mean().unstack("model")
falls = falls.sort_values("sface")
is_occluder = ~falls.index.isin(EVERYWHERE)

figure, axes = plt.subplots(1, 2, figsize=(8, 5), sharey=True, layout="constrained")
for axis, model in zip(axes, ("sface", "facenet")):
    axis.barh(falls.index, falls[model], color=np.where(is_occluder, "tab:orange", "tab:blue"))
    axis.axvline(0.5, color="black", linestyle=":")
    axis.set(title=model, xlim=(0, 1), xlabel="share of degraded versions with a lower Q")
plt.show()

# %% [markdown]
# *Orange: something covers the face. Dotted: the toss of a coin. A bar stands for 12 to 31 photos: one standard error is up to 14 percentage points.*

# %%
number = worse[worse["model"] == "sface"]["version"].value_counts()
assert (number.min(), number.max()) == (12, 31)
for model in ("sface", "facenet"):
    print(f"{model}: lower in less than half of the photos:", ", ".join(falls.index[falls[model] < 0.5]))
rises = set(falls.index[falls["facenet"] < 0.3])
print("facenet: lower in less than 30 %:", ", ".join(sorted(rises)))
assert rises == {"compression", "contrast-low", "illumination-over", "illumination-under", "noise"}
assert set(falls.index[falls["sface"] < 0.5]) == {"pose-pitch", "illumination-under"}

mean_fall = worse.groupby("model")["fall"].mean()
spread = clean.groupby("model").std()
for model in ("sface", "facenet"):
    print(
        f"{model}: Q falls by {mean_fall[model]:.3f} on average; it differs by {spread[model]:.3f} between photos"
    )
    assert 0 < mean_fall[model] < 0.5 * spread[model]

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
linear.weight.copy_(torch.tensor(constants["pre_fc1_weight_dequantized"]))
linear.bias.copy_(torch.tensor(constants["pre_fc1_bias_dequantized"]))

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

same_order = {name: spearmanr(scores, variants["as it is"]).statistic for name, scores in variants.items()}
print(
    "rank correlation with the first:", {name: round(float(value), 1) for name, value in same_order.items()}
)
assert (variants["as it is"] - variants["without BatchNorm"]).abs().max() < 0.01
assert same_order["without BatchNorm"] > 0.9
assert same_order["without L2"] < 0.7

length = sface.head(features).norm(dim=1)
print(f"length of the embeddings before L2: {length.min():.0f} to {length.max():.0f}")
distance_with_l2 = -torch.logit(variants["as it is"] / 2)  # Eq. 1 undone
torch.testing.assert_close(distance, length * distance_with_l2, rtol=0.05, atol=0)

# %% [markdown]
# BatchNorm hardly matters for this network: no score changes by more than 0.01, and the order hardly changes. L2 normalisation matters a great deal. Without it, every distance is multiplied by the length of the embedding, which recognition ignores, and the images come out in a different order.
#
# ## Exercises
#
# 1. **Change a number.** How does the astronaut's $Q$ change with the dropout rate, from 0.1 to 0.9? Does the order of the nine faces change?
# 2. **A worse image.** Darken the astronaut's photo, add noise to it, or shrink it to 28 pixels and enlarge it again. Which lowers SFace's $Q$ most? And FaceNet's?
# 3. **Test the score.** Quality should predict recognition. Blur all nine faces by different widths and compare $Q$ with the comparison score (the cosine) between each blurred image and its sharp original: what is the rank correlation over all of them?
# 4. **Understand the limit.** Compute $\mathrm{tr}\,C$ and $u^{\!\top}Cu$ for the nine faces. What share of the variance is along $u$? What would $Q$ be if it were not subtracted?
# 5. **Prove it.** Show that $Q$ does not change if all features *and* the head's bias are multiplied by the same positive number.
#
# Solutions: [solutions/01_ser_fiq.ipynb](solutions/01_ser_fiq.ipynb) · Back: [00](00_quickstart.ipynb) · Next: [02 · How does a number become a network?](02_quality_node.ipynb)
