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
# To the exercises of [05 · Does a disturbance show up where it is?](../05_random_masks.ipynb)

# %%
import numpy as np
import torch

import plqlite
from plqlite.disturb import COLOURS
from plqlite.experiment import cover, mask_experiment
from plqlite.measure import localisation_auc, pixel_change, quality_change, share_positive

facenet = plqlite.facenet()
faces = {name: plqlite.load_face(photo, facenet)[0] for name, photo in plqlite.sample_faces().items()}


def covered_faces(size, seed=0):
    """Every face with a black square of a size: images (9, 3, H, W), masked images, masks (9, H, W)."""
    pairs = [cover(face, name, size, COLOURS["black"], seed) for name, face in faces.items()]
    return torch.stack(list(faces.values())), *(torch.stack(each) for each in zip(*pairs))


# %% [markdown]
# ## 1. Ten passes
#
# The difference of the raw $Q$ scatters about three times as much, as one expects of ten times fewer draws ($\sqrt{10}$). And yet $\Delta_p$ scatters *less*. The reason is a trap: Eq. 1 divides by $m^2$, not by $m(m-1)$, so that few passes make $Q$ larger for every image. With α and r that were fitted for a hundred passes, $\hat Q$ of all of them is pushed towards 1, where nothing moves any more. Constants belong to a number of passes, too.

# %%
images, masked, masks = covered_faces(30)
raw, pixels, level = {}, {}, {}
for passes in (10, 100):
    clean = [plqlite.explain(facenet, images, passes, seed) for seed in range(6)]
    covered = [plqlite.explain(facenet, masked, passes, seed) for seed in range(6)]
    pairs = list(zip(clean, covered))
    raw[passes] = torch.stack([a.quality - b.quality for a, b in pairs]).std(0).mean()  # over seeds
    pixels[passes] = torch.stack([pixel_change(a, b, masks) for a, b in pairs]).std(0).mean()
    level[passes] = torch.stack([a.scaled_quality for a in clean]).mean()

print(f"raw: {raw[10] / raw[100]:.0f} times the scatter")
print(f"mean Q̂ with 10 passes {level[10]:.2f}, with 100 passes {level[100]:.1f}")
assert 2 < raw[10] / raw[100] < 5
assert pixels[10] < pixels[100]
assert level[10] > level[100] + 0.2

# %% [markdown]
# ## 2. Break the pairing
#
# The scatter of $\Delta_{\hat Q}$ over eight choices of the dropout masks, for each face; once with the same seed for both images, once with another for the masked one.

# %%
images, masked, masks = covered_faces(10)
clean = [plqlite.explain(facenet, images, seed=seed) for seed in range(8)]
disturbed = [plqlite.explain(facenet, masked, seed=seed) for seed in range(8)]
paired = torch.stack([quality_change(clean[seed], disturbed[seed]) for seed in range(8)])  # (8, 9)
unpaired = torch.stack([quality_change(clean[seed], disturbed[seed - 1]) for seed in range(8)])
scatter = {"shared": paired.std(0).mean().item(), "different": unpaired.std(0).mean().item()}
print(
    {label: f"{value:.2f}" for label, value in scatter.items()}, f"; the effect itself is {paired.mean():.2f}"
)
assert scatter["different"] > 2 * scatter["shared"]

# %% [markdown]
# ## 3. Find the mask
#
# With the clean photo at hand the difference of the maps finds the mask far better than the map of the masked photo alone.

# %%
images, masked, masks = covered_faces(30)
before, after = plqlite.explain(facenet, images).plq, plqlite.explain(facenet, masked).plq
alone = np.mean([localisation_auc(plq, mask) for plq, mask in zip(after, masks)])
difference = np.mean([localisation_auc(plq, mask) for plq, mask in zip(after - before, masks)])
print(f"AUC of the map alone {alone:.1f}, of the difference {difference:.1f}")
assert difference > alone + 0.1

# %% [markdown]
# ## 4. One mask or many?
#
# The one over identities is wider: the masks of one face share its fate. Treating them as independent pretends to more evidence than nine people can give.

# %%
table = mask_experiment(facenet, faces, sizes=[40], seeds=range(10), passes=None)
as_people = share_positive(table["delta_q"], table["identity"])
as_masks = share_positive(table["delta_q"], table.index.astype(str))
wider = (as_people.high - as_people.low) / (as_masks.high - as_masks.low)
print(f"{wider:.0f} times as wide")
assert as_people.mean == as_masks.mean
assert wider > 1.3
