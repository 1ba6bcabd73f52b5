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
# # 08 · Why do some maps explode, and what cures it?
#
# | | |
# |---|---|
# | **Question** | For some images the gradients are far too large and the map is high all over. What causes this, and does clipping help? |
# | **Outcome** | You can predict from the embedding alone which map will explode, say what clipping can and cannot fix, and remove the cause. |
# | **Time** | 12 minutes to read, 55 for the exercises; 44 seconds to run ([two CPU cores](../docs/times.csv)) |
# | **Paper** | §6, §8.3, Fig. 12; needs [02](02_quality_node.ipynb) and [03](03_saliency.ipynb) |
#
# The paper reports that gradients sometimes explode, and proposes "simple gradient clipping". It leaves the cause open. Here it is. (Folded cells hold imports and drawing.)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
import matplotlib.pyplot as plt
import numpy as np
import torch

import plqlite
from plqlite.figures import describe, draw_map, strip
from plqlite.lessons import check, claim
from plqlite.regression import QualityRegression, node_weights
from plqlite.saliency import (
    centre_and_background,
    clip_by_norm,
    clip_by_value,
    fit_gamma,
    mean_over_channels,
    pixel_gradient,
    pixel_level_quality,
)

# %%
models = {"SFace": plqlite.sface(), "FaceNet": plqlite.facenet()}
portraits = plqlite.sample_faces()
names = list(portraits)

# %% [markdown]
# ## Many nearly identical photos
#
# To see a rare event, look often. Each of the nine sample faces is shifted by up to two pixels, made a little brighter or darker, and given a little noise, sixteen times over. Nobody would call the sixteen photos of one face different.


# %%
def perturbed(images, seed):
    """Shift, brighten and add noise, a little; the whole batch is shifted and brightened alike."""
    generator = torch.Generator().manual_seed(seed)
    down, right = torch.randint(-2, 3, (2,), generator=generator).tolist()
    brightness = 0.9 + 0.2 * torch.rand(1, generator=generator)
    noise = 3 * torch.randn(images.shape, generator=generator)
    return (images.roll((down, right), (-2, -1)) * brightness + noise).clamp(0, 255)


TIMES = 16
photos = {}
for name, model in models.items():
    faces = torch.cat([plqlite.load_face(portrait, model) for portrait in portraits.values()])
    photos[name] = torch.cat([perturbed(faces, seed) for seed in range(TIMES)])  # (144, 3, H, W)

# %% [markdown]
# For each photo we compute the saliency under two of the three readings of Eq. 3 (the paper's wording allows all three, see [02](02_quality_node.ipynb)). We divide it by $\hat Q$, a factor that every gradient carries. We also compute one property of the embedding alone: $|\sum_k e_k|$. To be fair to both readings, each gets its own γ, by the rule of [03](03_saliency.ipynb).

# %%
size, sum_of_e, gamma = {}, {}, {}
for name, model in models.items():
    batches = photos[name].split(16)
    sum_of_e[name] = torch.cat([model(batch).sum(-1).abs() for batch in batches]).cpu()  # (144,)
    for reading in ("summed", "signed"):
        explanations = [plqlite.explain(model, batch, reading=reading) for batch in batches]
        per_quality = [e.saliency / e.scaled_quality.view(-1, 1, 1) for e in explanations]
        saliency = torch.cat(per_quality).cpu()  # (144, H, W)
        size[name, reading] = saliency.mean((1, 2))
        gamma[name, reading] = fit_gamma(*centre_and_background(saliency))

apart = {name: gamma[name, "signed"] - gamma[name, "summed"] for name in models}
print("γ of signed less γ of summed:", {name: f"{value:.1f}" for name, value in apart.items()})
claim("For both networks it is between 2.5 and 4", all(2.5 < value < 4 for value in apart.values()))

# %% [markdown]
# A difference of three in γ is a factor of $10^{1.5}$ in saliency: a γ belongs to one reading, just as it belongs to one network. (The paper's 7.5 and 5.5 were set for `summed`.)
#
# ## The explosion
#
# Here are the two perturbed copies of Grace Hopper whose maps have the smallest and the largest mean saliency under `summed` (SFace), drawn for $\hat Q = 1$:

# %%
model = models["SFace"]
hopper = torch.arange(names.index("grace_hopper"), len(photos["SFace"]), len(names))  # her 16 photos
order = hopper[size["SFace", "summed"][hopper].argsort()]
calm, loud = order[0].item(), order[-1].item()
two = photos["SFace"][[calm, loud]]

maps = {}
for reading in ("summed", "signed"):
    e = plqlite.explain(model, two, reading=reading)
    per_quality = e.saliency / e.scaled_quality.view(-1, 1, 1)  # (2, 112, 112)
    maps[reading] = pixel_level_quality(per_quality, gamma["SFace", reading]).cpu()

# %% jupyter={"source_hidden": true} tags=["hide-input"]
figure, axes = plt.subplots(2, 3, figsize=(6.6, 4.2), layout="constrained")
for row, (line, photo) in enumerate(zip(axes, (calm, loud))):
    line[0].imshow(two[row].permute(1, 2, 0).cpu() / 255)
    line[0].set_ylabel(f"|Σe| = {sum_of_e['SFace'][photo]:.2f}")
    for axis, reading in zip(line[1:], maps):
        drawn = draw_map(axis, maps[reading][row].numpy())
for axis, title in zip(axes[0], ("face", *maps)):
    axis.set_title(title, fontsize=10)
for axis in axes.flat:
    axis.set(xticks=[], yticks=[])
figure.colorbar(drawn, ax=axes, label="P for Q̂ = 1")
describe(
    figure,
    "Two nearly equal photos of Grace Hopper and their maps. Under summed, the first map is high at eyes and "
    "nose, and the second is high nearly everywhere; under signed, both are high at eyes and nose.",
)
plt.show()

# %% [markdown]
# *Yellow is high. Middle: under `summed`, two photos that look alike get maps whose levels have nothing in common, as in Fig. 12. Right: under `signed`, the same two photos get nearly the same map.*

# %%
blow_up = {
    reading: (size["SFace", reading][loud] / size["SFace", reading][calm]).item()
    for reading in ("summed", "signed")
}
print("mean saliency of the second photo over that of the first:")
print(f"summed about {round(blow_up['summed'], -1):.0f}, signed {blow_up['signed']:.1f}")
claim("Under summed, it is more than ten times as high", blow_up["summed"] > 10)
claim("Under signed, it is 0.7 to 1.4 times as high", 0.7 < blow_up["signed"] < 1.4)

# %% [markdown]
# ## The cause
#
# Under `summed` the weights of the quality node are $\hat Q/\sum_k e_k$. An embedding has features of both signs, and nothing keeps their sum away from zero. As the sum approaches zero, the weights grow without bound, and so do all gradients. If that is the whole story, the mean saliency must be inversely proportional to $|\sum e|$: a line of slope −1 on logarithmic axes.

# %%
fits, correlation = {}, {}
for name in models:
    x = sum_of_e[name].log().numpy()
    for reading in ("summed", "signed"):
        fits[name, reading] = np.polyfit(x, size[name, reading].log().numpy(), 1)  # slope, intercept
    correlation[name] = np.corrcoef(x, size[name, "summed"].log().numpy())[0, 1]
    print(f"{name:<8} summed: slope {fits[name, 'summed'][0]:.2f}, correlation {correlation[name]:.2f}")
    print(f"{name:<8} signed: slope {fits[name, 'signed'][0]:.2f}")

claim(
    "Under summed, both slopes are −1, to within 0.2, and both correlations are below −0.95",
    all(abs(fits[name, "summed"][0] + 1) < 0.2 and correlation[name] < -0.95 for name in models),
)
claim("Under signed, both slopes are 0, to within 0.2", all(abs(fits[n, "signed"][0]) < 0.2 for n in models))

# %% jupyter={"source_hidden": true} tags=["hide-input"]
STYLES = {"summed": ("C0", "o", "--"), "signed": ("C1", "x", ":")}  # colour, marker, line
figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
for axis, name in zip(axes, models):
    x = sum_of_e[name].numpy()
    ends = np.array([x.min(), x.max()])
    for reading, (colour, marker, line) in STYLES.items():
        slope, intercept = fits[name, reading]
        axis.plot(ends, np.exp(intercept) * ends**slope, line, color="black", linewidth=1.2)
        axis.plot(x, size[name, reading].numpy(), marker, color=colour, markersize=4, label=reading)
    axis.set(xscale="log", yscale="log", title=name)
    axis.set(xlabel="|Σe| of the embedding", ylabel="mean Ŝ / Q̂, per grey level")
    axis.legend()
describe(
    figure,
    "Mean saliency against the sum of the embedding's features, 144 photos for each network, on logarithmic "
    "axes: under summed the points lie along a line that falls with slope −1, under signed along a flat one.",
)
plt.show()

# %% [markdown]
# *144 photos for each network, and the fitted lines. Dots, dashed line: under `summed`, the sum of the embedding's features almost completely determines the level of the map. Crosses, dotted line: under `signed`, the level hardly depends on it. (The slope is not exactly −1, because the faces also differ a little in other ways.)*
#
# And $\sum e$ is an accident. It changes when the embedding space is rotated, whereas no comparison score of two faces does ([02](02_quality_node.ipynb)); an exploding map says nothing about the photo.
#
# ## What clipping can fix, and what it cannot
#
# Two kinds of clipping are in use. Clipping *by value* cuts every entry of the gradient off at a limit; clipping *by norm* scales an image's whole gradient down until its length is within the limit. Where should the limit be? We take quantiles over all 144 photos, from mild to strict, and look at the spread that remains: the ratio of the 95th to the 5th percentile of the mean saliency.


# %%
def gradients(model, images, reading):
    """Gradient of the quality node per unit of Q̂: (B, 3, H, W)."""
    images = images.clone().requires_grad_()
    unit = torch.ones(len(images), device=images.device)
    m_q = QualityRegression(model, node_weights(model(images), unit, reading))
    return pixel_gradient(m_q(images), images)


def spread(values):
    """95th percentile over 5th percentile."""
    return (values.quantile(0.95) / values.quantile(0.05)).item()


# %%
raw = torch.cat([gradients(model, batch, "summed") for batch in photos["SFace"].split(16)])  # (144, 3, H, W)
norms = raw.flatten(1).norm(dim=1)
peaks = raw.flatten(1).abs().quantile(0.99, dim=1)
unclipped = mean_over_channels(raw).mean((1, 2))

shares = torch.linspace(0.95, 0.2, 16)  # the limit as a quantile, from mild to strict
by_value = [spread(mean_over_channels(clip_by_value(raw, peaks.quantile(q))).mean((1, 2))) for q in shares]
by_norm = [spread(mean_over_channels(clip_by_norm(raw, norms.quantile(q))).mean((1, 2))) for q in shares]

# %% jupyter={"source_hidden": true} tags=["hide-input"]
figure, axis = plt.subplots(figsize=(6.5, 3.8), layout="constrained")
axis.axhline(spread(unclipped), color="C0", linestyle="--", label="summed, unclipped")
axis.plot(1 - shares, by_value, "^-", color="C0", label="summed, clipped by value")
axis.plot(1 - shares, by_norm, "s-", color="C0", label="summed, clipped by norm")
axis.axhline(
    spread(size["SFace", "signed"]), color="C1", linestyle=":", linewidth=2.5, label="signed, unclipped"
)
axis.set(
    xlabel="how strict the limit is (1 − quantile over the photos)",
    ylabel="spread of mean Ŝ (95th / 5th percentile)",
    ylim=(0, None),
)
axis.legend(loc="upper right", bbox_to_anchor=(1, 0.94))
describe(
    figure,
    "Spread of the mean saliency against the strictness of the limit: clipped by value, it falls slowly and "
    "stays far above that of signed; clipped by norm, it reaches that of signed at the strictest limits.",
)
plt.show()

# %% [markdown]
# *The limit gets stricter from left to right. Clipping by norm comes down to the spread of `signed` only when it affects most of the photos.*
#
# But consider what that means. A limit that affects only the worst few leaves most of the spread, because the rest of the range does not consist of outliers: *every* map is scaled by the accident of its $\sum e$. A limit that affects most images gives every gradient that was clipped by norm *the same* length, whatever the photo is like: the level comes mostly from the limit, not from the image. Clipping hides the outliers. It does not make maps comparable.

# %%
strict = clip_by_norm(raw, norms.quantile(0.25))
lengths = strict.flatten(1).norm(dim=1)[norms > norms.quantile(0.25)]
affected = [1 - share for share, left in zip(shares, by_norm) if left <= spread(size["SFace", "signed"])]

claim("Unclipped, the 95th percentile is more than ten times the 5th", spread(unclipped) > 10)
claim(
    "The mildest limit leaves more than four fifths of that, by value and by norm",
    min(by_value[0], by_norm[0]) > 0.8 * spread(unclipped),
)
claim(
    "By norm, as little as under signed is left only where more than half of the photos are clipped",
    min(affected) > 0.5,
)
claim(
    "Clipped by a norm that three in four exceed, these gradients have one length, to 0.1 %",
    (lengths.max() / lengths.min() - 1).abs() < 1e-3,
)

# %% [markdown]
# Clipping by value has a further cost: pixels beyond the limit can no longer be told apart. Clipping by norm keeps the order of an image's pixels, since it multiplies all of them by the same number:

# %%
worst = raw[loud][None]
clipped = {
    "summed, unclipped": worst,
    "clipped by value": clip_by_value(worst, peaks.quantile(0.25)),
    "clipped by norm": clip_by_norm(worst, norms.quantile(0.25)),
}
saliency = {title: mean_over_channels(gradient)[0] for title, gradient in clipped.items()}
strip(
    {title: pixel_level_quality(s, gamma["SFace", "summed"]) for title, s in saliency.items()},
    "The exploded map, high nearly everywhere; clipped by value, it is one plateau over the whole face; "
    "clipped by norm, eyes and nose stand out again.",
    label="P for Q̂ = 1",
)

# %%
different = {title: len(s.unique()) / s.numel() for title, s in saliency.items()}
print("distinct values, as a share of the pixels:")
print({title: f"{share:.0%}" for title, share in different.items()})
claim("Clipped by value, fewer than half of them are left", different["clipped by value"] < 0.5)
claim("Clipped by norm, more than half", different["clipped by norm"] > 0.5)

# %% [markdown]
# *The exploded map of Grace Hopper ($P$ for $\hat Q = 1$, yellow is high), without and with strict clipping. Clipped by value, the face has become one plateau; clipped by norm, a map remains, at a level that the limit has chosen.*
#
# ## The cure
#
# `signed` divides by $\lVert e\rVert_1$, which cannot come near zero: for an embedding of length 1 it is at least 1. There is nothing left to clip.

# %%
ratio = {key: spread(values) for key, values in size.items()}
for name in models:
    print(f"{name:<8} spread: summed {ratio[name, 'summed']:.0f}, signed {ratio[name, 'signed']:.1f}")

claim(
    "Both networks: under summed it is at least five times that under signed, which is below 3.5",
    all(ratio[n, "summed"] >= 5 * ratio[n, "signed"] and ratio[n, "signed"] < 3.5 for n in models),
)
claim(
    "Under signed, the 144 photos of nine subjects stay within a factor of four",
    all(size[name, "signed"].max() < 4 * size[name, "signed"].min() for name in models),
)

# %% [markdown]
# That is why `signed` is our default, and why clipping is a separate function here and not part of `explain`.

# %% [markdown]
# ## Exercises
#
# Where an answer is a number, a word or a list, it checks itself: put it in place of `...` and run the cell.

# %% [markdown]
# ### Exercise 1 · Change a number (easy, 10 minutes)
#
# Of the nine sample faces as they are, take the one whose $|\sum e|$ is nearest to zero for FaceNet, and make the perturbation ten times smaller: no shift, brightness within 1 %, a tenth of the noise. Do the maps of a dozen copies still differ under `summed`? Under `signed`? Why?
#
# <details><summary>Hint</summary>Compare the largest and the smallest mean saliency of the copies. How far does |Σe| change from copy to copy, as a share of itself?</details>

# %% [markdown]
# ### Exercise 2 · How strict must a limit be? (easy, 5 minutes)
#
# The limit is to halve the spread of the 144 unclipped maps (SFace). Which is the mildest limit of ours that does it, by norm and by value? How many of the photos are then clipped by norm?
#
# <details><summary>Hint</summary>Compare <code>by_norm</code> and <code>by_value</code> with <code>spread(unclipped) / 2</code>. The strictness is 1 − <code>shares</code>, as on the axis of the figure.</details>

# %%
strictness = ...  # [by norm, by value], two digits each
check(strictness, "dee114f3e599", digits=2)

# %% [markdown]
# ### Exercise 3 · Predict (medium, 10 minutes)
#
# From the embeddings alone, name the three of the 144 photos (FaceNet) whose maps have the largest mean saliency under `summed`. Check. The first two of your three are the answer, the largest first.
#
# <details><summary>Hint</summary>By which number does <code>summed</code> divide? <code>argsort</code> ranks photos by it; photos are numbered from 0 to 143, as in <code>photos["FaceNet"]</code>.</details>

# %%
predicted = ...  # [photo, photo]
check(predicted, "9069743d8407", digits=0)

# %% [markdown]
# ### Exercise 4 · How often? (medium, 15 minutes)
#
# How likely is it that $|\sum e|$ is at most a tenth of its median, if embeddings are random points on the sphere? Compare with the 144 photos.
#
# <details><summary>Hint</summary>For a random point, Σe is nearly normal with mean 0. Half of the values of a normal variable lie within 0.674 standard deviations of its mean. Or draw a million points: normal numbers, divided by their length.</details>

# %%
likelihood = ...  # between 0 and 1, three digits
check(likelihood, "2fca346db656", digits=3)

# %% [markdown]
# ### Exercise 5 · Prove it (hard, 15 minutes)
#
# Under `summed`, $\nabla\mathcal M_Q = \hat Q\,\nabla\log|\sum_k e_k|$. Show this, and conclude that the explosion is one of *scale*: the order of an image's pixels is that of $|\nabla \sum_k e_k|$, whether the sum is near zero or not.
#
# <details><summary>Hint</summary>The weights of the node are constants: they do not depend on the pixels. What is the derivative of log |x|?</details>

# %% [markdown]
# Solutions: [solutions/08_exploding_gradients.ipynb](solutions/08_exploding_gradients.ipynb) · Back: [07](07_icao.ipynb) · Next: [09 · Where does the embedding come from?](09_evidence.ipynb)
