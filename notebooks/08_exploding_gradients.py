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
# | **Time** | 10 minutes to read; 48 seconds to run ([two CPU cores](../docs/times.csv)) |
# | **Paper** | §6, §8.3, Fig. 12; needs [02](02_quality_node.ipynb) and [03](03_saliency.ipynb) |
#
# The paper reports that gradients sometimes explode, and proposes "simple gradient clipping". It leaves the cause open. Here it is.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

import plqlite
from plqlite.figures import draw_map
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

models = {"sface": plqlite.sface(), "facenet": plqlite.facenet()}
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
    sum_of_e[name] = torch.cat([model(batch).sum(-1).abs() for batch in batches])  # (144,)
    for reading in ("summed", "signed"):
        explanations = [plqlite.explain(model, batch, reading=reading) for batch in batches]
        saliency = torch.cat(
            [e.saliency / e.scaled_quality.view(-1, 1, 1) for e in explanations]
        )  # (144, H, W)
        size[name, reading] = saliency.mean((1, 2))
        gamma[name, reading] = fit_gamma(*centre_and_background(saliency))

apart = {name: gamma[name, "signed"] - gamma[name, "summed"] for name in models}
print("γ of signed less γ of summed:", {name: f"{value:.1f}" for name, value in apart.items()})
assert all(2.5 < value < 4 for value in apart.values())

# %% [markdown]
# The two readings differ by about three in γ, which is a factor of $10^{1.5}$ in saliency: a γ belongs to one reading, just as it belongs to one network. (The paper's 7.5 and 5.5 were set for `summed`.)
#
# ## The explosion
#
# Here are the two perturbed copies of Grace Hopper whose maps have the smallest and the largest mean saliency under `summed` (SFace), drawn for $\hat Q = 1$:

# %%
model = models["sface"]
hopper = torch.arange(names.index("grace_hopper"), len(photos["sface"]), len(names))  # her 16 photos
order = hopper[size["sface", "summed"][hopper].argsort()]
calm, loud = order[0].item(), order[-1].item()
two = photos["sface"][[calm, loud]]

figure, axes = plt.subplots(2, 3, figsize=(6.4, 4.2), layout="constrained")
for (face, *_), image in zip(axes, two):
    face.imshow(image.permute(1, 2, 0).cpu() / 255)
for column, reading in ((1, "summed"), (2, "signed")):
    e = plqlite.explain(model, two, reading=reading)
    per_quality = e.saliency / e.scaled_quality.view(-1, 1, 1)  # (2, 112, 112)
    for axis, plq in zip(axes[:, column], pixel_level_quality(per_quality, gamma["sface", reading])):
        drawn = draw_map(axis, plq.cpu().numpy())
    axes[0, column].set_title(reading, fontsize=10)
for (face, *_), photo in zip(axes, (calm, loud)):
    face.set_ylabel(f"|Σe| = {sum_of_e['sface'][photo]:.2f}")
for axis in axes.flat:
    axis.set(xticks=[], yticks=[])
figure.colorbar(drawn, ax=axes, label="P for Q̂ = 1")
plt.show()

# %% [markdown]
# *Yellow is high. Middle: under `summed`, two photos that look alike get maps that have nothing in common, as in Fig. 12. Right: under `signed`, the same two photos get nearly the same map.*

# %%
blow_up = {
    reading: (size["sface", reading][loud] / size["sface", reading][calm]).item()
    for reading in ("summed", "signed")
}
print("mean saliency of the second photo over that of the first:")
print(f"summed about {round(blow_up['summed'], -1):.0f}, signed {blow_up['signed']:.1f}")
assert blow_up["summed"] > 10
assert 0.7 < blow_up["signed"] < 1.4

# %% [markdown]
# ## The cause
#
# Under `summed` the weights of the quality node are $\hat Q/\sum_k e_k$. An embedding has features of both signs, and nothing keeps their sum away from zero. As the sum approaches zero, the weights grow without bound, and so do all gradients. If that is the whole story, the mean saliency must be inversely proportional to $|\sum e|$: a line of slope −1 on logarithmic axes.

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained", sharey=False)
for axis, name in zip(axes, models):
    for reading, colour in (("summed", "tab:red"), ("signed", "tab:green")):
        axis.loglog(sum_of_e[name], size[name, reading], ".", color=colour, label=reading)
    x, y = (values.log().numpy() for values in (sum_of_e[name], size[name, "summed"]))
    slope, correlation = np.polyfit(x, y, 1)[0], np.corrcoef(x, y)[0, 1]
    signed = np.polyfit(x, size[name, "signed"].log().numpy(), 1)[0]
    axis.set(title=name, xlabel="|Σe| of the embedding", ylabel="mean Ŝ / Q̂, per grey level")
    axis.legend()
    print(f"{name:<8} summed: slope {slope:.2f}, correlation {correlation:.2f}   signed: slope {signed:.2f}")
    assert correlation < -0.95
    assert abs(slope + 1) < 0.2
    assert abs(signed) < 0.2
plt.show()

# %% [markdown]
# *144 photos for each network. Red: the sum of the embedding's features almost completely determines the level of the map. Green: under `signed` the line is flat. (The slope is not exactly −1, because the faces also differ a little in other ways.)*
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


raw = torch.cat(
    [gradients(model, batch, "summed") for batch in photos["sface"].split(16)]
)  # (144, 3, 112, 112)
norms = raw.flatten(1).norm(dim=1)
peaks = raw.flatten(1).abs().quantile(0.99, dim=1)
unclipped = mean_over_channels(raw).mean((1, 2))

shares = torch.linspace(0.95, 0.2, 16)  # the limit as a quantile, from mild to strict
by_value = [spread(mean_over_channels(clip_by_value(raw, peaks.quantile(q))).mean((1, 2))) for q in shares]
by_norm = [spread(mean_over_channels(clip_by_norm(raw, norms.quantile(q))).mean((1, 2))) for q in shares]

figure, axis = plt.subplots(figsize=(6.5, 3.4), layout="constrained")
axis.axhline(spread(unclipped), color="tab:red", label="summed, unclipped")
axis.plot(1 - shares, by_value, "o-", color="tab:orange", label="summed, clipped by value")
axis.plot(1 - shares, by_norm, "s-", color="tab:blue", label="summed, clipped by norm")
axis.axhline(spread(size["sface", "signed"]), color="tab:green", label="signed, unclipped")
axis.set(
    xlabel="how strict the limit is (1 − quantile over the photos)",
    ylabel="spread of mean Ŝ (95th / 5th percentile)",
)
axis.legend(loc="upper right", bbox_to_anchor=(1, 0.94))
plt.show()

# %% [markdown]
# *The limit gets stricter from left to right. Clipping by norm comes down to the spread of `signed` only when it affects most of the photos.*
#
# But consider what that means. A limit that affects only the worst few leaves most of the spread, because the rest of the range does not consist of outliers: *every* map is scaled by the accident of its $\sum e$. A limit that affects most images gives every map that was clipped by norm *the same* level, whatever the photo is like: the level comes from the limit, not from the image. Clipping hides the outliers. It does not make maps comparable.

# %%
strict = clip_by_norm(raw, norms.quantile(0.25))
levels = strict.flatten(1).norm(dim=1)[norms > norms.quantile(0.25)]
assert spread(unclipped) > 10
assert min(by_value[0], by_norm[0]) > 0.8 * spread(unclipped)  # mild: most of the spread is left
affected = [1 - share for share, left in zip(shares, by_norm) if left <= spread(size["sface", "signed"])]
assert min(affected) > 0.5  # as little spread as signed: most photos are affected
assert (
    levels.max() / levels.min() - 1
).abs() < 1e-3  # strict: three images in four at one and the same level

# %% [markdown]
# Clipping by value has a further cost: pixels beyond the limit can no longer be told apart. Clipping by norm keeps the order of an image's pixels, since it multiplies all of them by the same number:

# %%
worst = raw[loud][None]
figure, axes = plt.subplots(1, 3, figsize=(8, 2.7), layout="constrained")
maps = {
    "summed": worst,
    "clipped by value": clip_by_value(worst, peaks.quantile(0.25)),
    "clipped by norm": clip_by_norm(worst, norms.quantile(0.25)),
}
for axis, (title, gradient) in zip(axes, maps.items()):
    plq = pixel_level_quality(mean_over_channels(gradient)[0], gamma["sface", "summed"])
    drawn = draw_map(axis, plq.cpu().numpy())
    axis.set(title=title, xticks=[], yticks=[])
figure.colorbar(drawn, ax=axes, label="P for Q̂ = 1")
plt.show()

different = {title: len(mean_over_channels(gradient).unique()) / 112**2 for title, gradient in maps.items()}
print("distinct values, as a share of the pixels:")
print({title: f"{share:.0%}" for title, share in different.items()})
assert different["clipped by value"] < 0.5 < different["clipped by norm"]

# %% [markdown]
# *The exploded map of Grace Hopper, without and with strict clipping. Clipped by value, the face has become one plateau; clipped by norm, a map remains, at a level that the limit has chosen.*
#
# ## The cure
#
# `signed` divides by $\lVert e\rVert_1$, which cannot come near zero: for an embedding of length 1 it is at least 1. There is nothing left to clip.

# %%
for name in models:
    ratio = {reading: spread(size[name, reading]) for reading in ("summed", "signed")}
    print(f"{name:<8} spread: summed about {round(ratio['summed'], -1):.0f}, signed {ratio['signed']:.1f}")
    assert ratio["summed"] >= 5 * ratio["signed"]
    assert ratio["signed"] < 3.5
    assert size[name, "signed"].max() < 4 * size[name, "signed"].min()

# %% [markdown]
# Under `signed`, 144 photos of nine subjects stay within a factor of four. That is why it is our default, and why clipping is a separate function here and not part of `explain`.
#
# ## Exercises
#
# 1. **Change a number.** Make the perturbation ten times smaller. Do the maps of one face still differ under `summed`? Why?
# 2. **Predict.** From the embeddings alone, name the three of the 144 photos (FaceNet) whose maps have the largest mean saliency under `summed`. Check.
# 3. **How often?** How likely is it that $|\sum e|$ is at most a tenth of its median, if embeddings are random points on the sphere? Compare with the 144 photos.
# 4. **Prove it.** Under `summed`, $\nabla\mathcal M_Q = \hat Q\,\nabla\log|\sum_k e_k|$. Show this, and conclude that the explosion is one of *scale*: the order of an image's pixels is that of $|\nabla \sum_k e_k|$, whether the sum is near zero or not.
#
# Solutions: [solutions/08_exploding_gradients.ipynb](solutions/08_exploding_gradients.ipynb) · Back: [07](07_icao.ipynb) · Next: [09 · Where does the embedding come from?](09_evidence.ipynb)
