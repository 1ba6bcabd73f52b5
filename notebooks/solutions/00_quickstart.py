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
# # 00 · Solutions
#
# Solutions to the exercises of [00 · What does my photo's map look like?](../00_quickstart.ipynb)

# %%
import tempfile
from pathlib import Path

import matplotlib
import numpy as np
import torch

import plqlite
from plqlite.figures import COLOUR_BLIND_SAFE, RED_YELLOW_GREEN
from plqlite.lessons import check

model = plqlite.sface()
images = plqlite.load_face(plqlite.sample_faces()["astronaut"], model)
explanation = plqlite.explain(model, images)

# %% [markdown]
# ## 1. Colours for everybody
#
# In grey, the paper's colours mislead: yellow, in the middle, is the brightest, and both ends are dark. Nor can about one man in twelve tell red from green. The default, `cividis`, gets brighter all the way from dark blue to yellow, so its order survives either.

# %%
plqlite.show(images, explanation, ["SFace"], colours=RED_YELLOW_GREEN)

# %%
for name in (RED_YELLOW_GREEN, COLOUR_BLIND_SAFE):
    grey = matplotlib.colormaps[name](np.linspace(0, 1, 101))[:, :3] @ [0.299, 0.587, 0.114]  # luma
    print(f"{name:<8} brightness at 0, 0.5 and 1: " + ", ".join(f"{grey[i]:.1f}" for i in (0, 50, 100)))
    assert (np.diff(grey) > 0).all() == (name == COLOUR_BLIND_SAFE)

# %% [markdown]
# ## 2. Where a square costs most
#
# Covering the eyes costs more than five times as much as covering the forehead or the background. The closed form draws no masks, so there is no luck of the draw in these differences.

# %%
places = {
    "eyes": (0.25, 0.38, 0.5, 0.16),
    "forehead": (0.25, 0.15, 0.5, 0.16),
    "background": (0.0, 0.75, 0.16, 0.25),
}
clean = plqlite.ser_fiq_closed_form(model, images)
loss = {}
for place, (left, top, width, height) in places.items():
    covered = images.clone()
    left, top, right, bottom = (round(112 * edge) for edge in (left, top, left + width, top + height))
    covered[:, :, top:bottom, left:right] = 0
    loss[place] = (clean - plqlite.ser_fiq_closed_form(model, covered)).item()
    print(f"{place:<11} Q falls by {loss[place]:.3f}")

assert loss["eyes"] > 5 * max(loss["forehead"], loss["background"])
most = max(loss, key=loss.get)
check(most, "d8fe183f5b8e")

# %% [markdown]
# ## 3. To a file and back

# %%
with tempfile.TemporaryDirectory() as folder:
    explanation.save(Path(folder, "plq.npz"))
    plq = np.load(Path(folder, "plq.npz"))["plq"][0]  # (H, W)

row, column = np.unravel_index(plq.argmax(), plq.shape)
print(f"the most useful pixel is in row {row}, column {column} of {plq.shape}")
assert 37 < row < 75 and 20 < column < 92  # between brows and nose
place = [row, column]
check(place, "416220f7ba61", digits=0)

# %% [markdown]
# ## 4. Another seed
#
# $Q$ changes by about a thousandth, since a hundred passes are only a sample. The order of the pixels does not change at all: the gradient of step 3 is that of the network *without* dropout, and the dropout passes enter only through the factor $\hat Q$, which is the same for all pixels of an image.

# %%
several = [plqlite.explain(model, images, passes=100, seed=seed) for seed in range(5)]
deviation = torch.cat([e.quality for e in several]).std().item()
print(f"standard deviation of Q over five seeds: {deviation:.3f}")
check(deviation, "6b86b273ff34", digits=3)

per_quality = [e.saliency / e.scaled_quality for e in several]  # Ŝ per unit of Q̂
assert all(torch.allclose(s, per_quality[0], rtol=1e-3) for s in per_quality)
