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
# # 11 · Solutions
#
# Solutions to the exercises of [11 · Are the maps right, and is the score?](../11_faithfulness.ipynb)

# %%
import numpy as np
import pandas as pd
import torch

import plqlite
from plqlite.experiments.discard import all_pairs, error_versus_discard, partial_area, threshold_at
from plqlite.experiments.faithfulness import agreement, fills, intervene, relevance_gain
from plqlite.experiments.rivals import centre, saliency
from plqlite.experiments.statistics import mean_over_identities
from plqlite.lessons import check

sface = plqlite.sface()
portraits = plqlite.sample_faces()
faces = torch.cat([plqlite.load_face(photo, sface) for photo in portraits.values()])
astronaut = list(portraits).index("astronaut")
image, others = faces[astronaut], faces[torch.arange(len(faces)) != astronaut]
average = others.mean(0)

# %% [markdown]
# ## 1. A larger patch

# %%
maps = {
    "PLQ": plqlite.explain(sface, image[None]).plq[0].cpu(),
    "centre": centre(sface, image[None])[0].cpu(),
}
rho = {}
for patch in (16, 32):
    effects = intervene(sface, image, average, patch=patch)
    rho[patch] = {name: agreement(values, effects) for name, values in maps.items()}
    for name, found in rho[patch].items():
        print(
            f"{patch} {name}: ρ with the shift {found['shift']:.2f}, with the fall of Q {found['fall']:.1f}"
        )
wider = [found["shift"] for found in rho[32].values()]
check(wider, "9d656a6851aa", digits=2)

# %%
for name in maps:
    for effect in ("shift", "fall"):
        assert abs(rho[32][name][effect] - rho[16][name][effect]) < 0.1
assert rho[32]["PLQ"]["shift"] < rho[16]["PLQ"]["shift"]
assert rho[32]["centre"]["shift"] > rho[16]["centre"]["shift"]

# %% [markdown]
# No: with the shift, the map agrees a little less, the Gaussian a little more, and with the fall of $Q$ neither changes by as much as 0.1. A larger patch is not a better question, only a coarser one.

# %% [markdown]
# ## 2. The area under a curve
#
# The area, over the width, is the mean. The stored curves have eleven points, the table was made from more, so the areas differ a little.


# %%
def area_under(shares, errors):
    """The mean of the errors over the shares, as a part of the first error."""
    return np.trapezoid(errors, shares) / (shares[-1] - shares[0]) / errors[0]


check(area_under([0.0, 0.1, 0.3], [0.2, 0.1, 0.0]), "73475cb40a56", digits=2)

results = "../../docs/results/evaluation/discard_"
for name in ("sface", "facenet"):
    curve, table = (pd.read_csv(f"{results}{each}.csv") for each in ("curves", "areas"))
    curve, table = (
        rows[(rows["model"] == name) & (rows["fmr"] == 0.01) & (rows["score"] == "closed form")]
        for rows in (curve, table)
    )
    mine = area_under(curve["discarded"].to_numpy(), curve["fnmr"].to_numpy())
    theirs = table[table["limit"] == 0.5]["mean"].item()
    print(f"{name}: {mine:.2f}, in the table {theirs:.2f}")
    assert abs(mine - theirs) < 0.02

# %% [markdown]
# ## 3. Who needs the photo?


# %%
uncovered = saliency("signed")(sface, faces)  # (9, 112, 112)


def rho_of(images):
    """For each image, ρ with the shift of the embedding of its own map, and of the mean map of the others: (9, 2)."""
    own, found = saliency("signed")(sface, images), []
    for index, each in enumerate(images):
        rest = torch.arange(len(images)) != index
        effects = intervene(sface, each, faces[rest].mean(0), row=7)
        found.append(
            [agreement(values, effects)["shift"] for values in (own[index], uncovered[rest].mean(0))]
        )
    return np.array(found)


scarf = faces.clone()
scarf[:, :, 72:, :] = torch.tensor([130.0, 60.0, 60.0])[:, None, None]  # from the tip of the nose down
found = {"as they are": rho_of(faces), "behind a scarf": rho_of(scarf)}
for name, each in found.items():
    own, mean = each.mean(0)
    print(f"{name}: own map {own:.2f}, mean map of others {mean:.2f}")
    assert 0 < mean_over_identities(each[:, 0] - each[:, 1], list(portraits)).low
    assert own - mean < 0.15
behind = [(each[:, 0] - each[:, 1]).mean() for each in found.values()]
check(behind, "ad20437f190a", digits=2)

# %% [markdown]
# Each photo's own map is ahead of the mean map of the others, as they are and behind a scarf, but not by much. So most of what SFace's PLQ map says of one face, it says of *every* face.

# %% [markdown]
# ## 4. A score of your own
#
# Ten subjects on a sphere, six images of each; two of the six are noisy. A score that knows the noise removes the pairs with a noisy image first, so the errors go early. One that knows nothing leaves the error rate where it is. The reverse of the first is no mirror image: the quality of a pair is the lower of its two, so only pairs of *two* noisy images, the worst ones, are kept to the end.

# %%
generator = torch.Generator().manual_seed(0)
middle = torch.nn.functional.normalize(torch.randn(10, 64, generator=generator), dim=1)
noise = torch.tensor([0.25, 0.25, 0.02, 0.02, 0.02, 0.02]).repeat(10)
embeddings = middle.repeat_interleave(6, dim=0) + noise[:, None] * torch.randn(60, 64, generator=generator)
embeddings = torch.nn.functional.normalize(embeddings, dim=1)
pairs = all_pairs(embeddings, np.repeat(list("abcdefghij"), 6), [str(number) for number in range(60)])
threshold = threshold_at(pairs.score[~pairs.genuine], 0.01)

scores = {
    "knows": -noise.numpy(),
    "knows nothing": np.random.default_rng(0).random(60),
    "reverse": noise.numpy(),
}
found = {}
for name, quality in scores.items():
    curve = error_versus_discard(pairs, quality, 0.01, threshold, shares=[0, 0.25, 0.5])
    found[name] = partial_area(pairs, quality, threshold, limit=0.5)
    print(f"{name:<14} FNMR {curve['fnmr'].round(2).tolist()}, partial area {found[name].mean:.1f}")
assert found["knows"].mean < 0.85 < found["knows nothing"].mean < 1.15
assert found["reverse"].mean > max(1, found["knows nothing"].mean)

# %% [markdown]
# ## 5. A map drawn at random
#
# Half of the pixels have a 1, and which half is drawn at random; equal pixels are in random order, independent of the half. So the order of all pixels is a random permutation $\pi$, each as likely as any other. *Lowest first* is $\pi$ reversed, and that is a random permutation, too. Let $m_s(\pi)$ be the measure after the first share $s$ of $\pi$ has been replaced. $m_s(\pi)$ and $m_s(\text{reversed }\pi)$ have one and the same distribution, as long as measure and fill do not depend on $\pi$, so the expectation of their difference is 0 for each $s$, and so is that of its integral, the gain. ∎
#
# A single map of this kind can have a gain above or below 0. The mean of many cannot be far from it:

# %%
small = torch.rand(3, 8, 8, generator=generator) * 255


def measure(images):
    """Something that is not linear: how much the pixels scatter."""
    return images.flatten(1).std(dim=1)


halves = [torch.randperm(64, generator=generator).view(8, 8) % 2 for _ in range(400)]
fill = fills(torch.zeros(3, 8, 8))["average face"]
drawn = np.array(
    [relevance_gain(measure, small, each.float(), fill, seed) for seed, each in enumerate(halves)]
)
print("mean of 400 gains within three standard errors of 0:", abs(drawn.mean()) < 3 * drawn.std() / 20)
assert abs(drawn.mean()) < 3 * drawn.std() / 20 < 0.1 * np.abs(drawn).max()
