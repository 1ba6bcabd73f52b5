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
# # 05 · Solutions
#
# Solutions to the exercises of [05 · Does a perturbation show up where it is?](../05_random_masks.ipynb)

# %%
from dataclasses import replace

import numpy as np
import torch

import plqlite
from plqlite.experiments.inpainting import qualities
from plqlite.experiments.masks import COLOURS, cover, mask_experiment
from plqlite.experiments.statistics import localisation_auc, pixel_change, share_positive
from plqlite.lessons import check
from plqlite.saliency import pixel_level_quality

facenet = plqlite.facenet()
faces = {name: plqlite.load_face(photo, facenet)[0] for name, photo in plqlite.sample_faces().items()}
images = torch.stack(list(faces.values()))  # (9, 3, H, W)


def covered_faces(size, seed=0):
    """Every face with a black square of a size: masked images (9, 3, H, W), masks (9, H, W)."""
    pairs = [cover(face, name, size, COLOURS["black"], seed) for name, face in faces.items()]
    return tuple(torch.stack(each) for each in zip(*pairs))


# %% [markdown]
# ## 1. Change a number
#
# We need maps for many seeds, but not a backward pass for each: $\hat Q$ is only a factor of $\hat S$ ([02](../02_quality_node.ipynb)), so one map can be scaled to the $\hat Q$ of any seed. The next cell first tests this for one seed.

# %%
masked, masks = covered_faces(30)
clean_explained, masked_explained = plqlite.explain(facenet, images), plqlite.explain(facenet, masked)


def with_quality(explanation, quality):
    """The explanation that `explain` would return if the quality were this one, (B,)."""
    scaled = plqlite.scale_quality(quality, facenet.scaling.alpha, facenet.scaling.r)
    saliency = explanation.saliency * (scaled / explanation.scaled_quality)[:, None, None]
    plq = pixel_level_quality(saliency, facenet.scaling.gamma)
    return replace(explanation, quality=quality, scaled_quality=scaled, saliency=saliency, plq=plq)


seed_1 = plqlite.explain(facenet, images, passes=100, seed=1)
assert torch.allclose(with_quality(clean_explained, seed_1.quality).plq, seed_1.plq, atol=1e-3)

raw, pixels, level = {}, {}, {}
for passes in (10, 100):
    sampled = qualities(facenet, torch.cat([images, masked]), seeds=6, passes=passes)  # (6, 18)
    before, after = sampled.split(len(images), dim=1)  # (6, 9) each
    raw[passes] = (before - after).std(0).mean()  # over seeds
    clean = [with_quality(clean_explained, quality) for quality in before]
    covered = [with_quality(masked_explained, quality) for quality in after]
    changes = torch.stack([pixel_change(a, b, masks) for a, b in zip(clean, covered)])  # (6, 9)
    pixels[passes] = changes.std(0).mean()
    level[passes] = torch.stack([each.scaled_quality for each in clean]).mean()

# %%
ratio = raw[10] / raw[100]
print(f"Q(I) − Q(I_m): {ratio:.0f} times the scatter, Δ_p: {pixels[10] / pixels[100]:.1f} times")
print(f"mean Q̂ with 10 passes {level[10]:.2f}, with 100 passes {level[100]:.2f}")
check(ratio, "4e07408562be", digits=0)
assert 2 < ratio < 5
assert pixels[10] < pixels[100]
assert level[10] > level[100] + 0.2

# %% [markdown]
# The difference of the raw $Q$ scatters about three times as much, as expected from a tenth of the draws ($\sqrt{10}$). And yet $\Delta_p$ scatters *less*. The reason is a trap: Eq. 1 divides by $m^2$, not by $m(m-1)$, so fewer passes make $Q$ larger for every image. With α and r fitted for a hundred passes, $\hat Q$ of all images is pushed towards 1, where hardly anything moves. The constants belong to a number of passes, too.
#
# ## 2. Break the pairing
#
# The scatter of $\Delta_{\hat Q}$ over eight sets of dropout masks, averaged over the faces: once with the same seed for both images, once with a different one for the masked image.

# %%
masked, masks = covered_faces(10)
sampled = qualities(facenet, torch.cat([images, masked]), seeds=8)  # (8, 18)
scaled = plqlite.scale_quality(sampled, facenet.scaling.alpha, facenet.scaling.r)
before, after = scaled.split(len(images), dim=1)  # (8, 9) each
paired, split = before - after, before - after.roll(1, dims=0)
scatter = {"shared": paired.std(0).mean().item(), "different": split.std(0).mean().item()}
unpaired = scatter["different"] / scatter["shared"]
print(f"scatter with a shared seed {scatter['shared']:.2f}, with different seeds {scatter['different']:.2f}")
print(f"the effect itself is {paired.mean():.2f}")
check(unpaired, "4b227777d4dd", digits=0)
assert unpaired > 2

# %% [markdown]
# ## 3. Find the mask
#
# With the clean photo at hand, the difference between the maps finds the mask far better than the map of the masked photo alone.

# %%
masked, masks = covered_faces(30)
before, after = clean_explained.plq, masked_explained.plq
alone = np.mean([localisation_auc(plq, mask) for plq, mask in zip(after, masks)])
auc = np.mean([localisation_auc(plq, mask) for plq, mask in zip(after - before, masks)])
print(f"AUC of the map alone {alone:.2f}, of the difference {auc:.2f}")
check(auc, "98a3ab7c340e", digits=2)
assert auc > alone + 0.1

# %% [markdown]
# ## 4. One mask or many?
#
# The interval over identities is wider: the masks on one face share its fate. To treat them as independent is to claim more evidence than nine subjects can give.

# %%
table = mask_experiment(facenet, faces, sizes=[40], seeds=range(10))
over_identities = share_positive(table["delta_q"], table["identity"])
over_masks = share_positive(table["delta_q"], table.index)
wider = (over_identities.high - over_identities.low) / (over_masks.high - over_masks.low)
print(f"{wider:.0f} times as wide")
check(wider, "f5ca38f748a1", digits=1)
assert over_identities.mean == over_masks.mean
assert wider > 1.3
