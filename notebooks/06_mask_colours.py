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
# # 06 · Does its colour matter?
#
# | | |
# |---|---|
# | **Question** | A black square is an odd thing to have on a face. Does the map also see a red one, a white one, one in the colour of the skin? |
# | **Outcome** | You can test a map against any disturbance, compare many of them on the same places, and say which hides best. |
# | **Time** | 10 minutes to read; under 60 seconds to run on two CPU cores |
# | **Paper** | §8.4.1, Fig. 13; needs [05](05_random_masks.ipynb) |
#
# In [05](05_random_masks.ipynb) every mask was black. Perhaps the map merely reacts to black, or to strong edges. So the paper repeats the experiment in twelve colours. We add a thirteenth: the colour of the subject's own skin, which should be the hardest to see.

# %%
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr
from skimage.color import deltaE_ciede2000, rgb2lab

import plqlite
from plqlite.dataset import aligned_faces
from plqlite.disturb import COLOURS, skin_colour
from plqlite.experiment import cover, mask_experiment
from plqlite.measure import mean_over_identities, pixel_change
from plqlite.show import draw_map

models = {"sface": plqlite.sface(), "facenet": plqlite.facenet()}
portraits = plqlite.sample_faces()
faces = {
    name: {person: plqlite.load_face(photo, model)[0] for person, photo in portraits.items()}
    for name, model in models.items()
}  # model -> person -> (3, H, W)
colours = COLOURS | {"skin": skin_colour}  # a colour, or a function that measures one on the image

# %% [markdown]
# ## The colour of a skin
#
# Measured, not guessed: the median red, green and blue of the pixels around nose and cheeks. Each face gets a colour of its own. (One of the nine photos is grey, and so is its skin.)

# %%
figure, axes = plt.subplots(1, 2, figsize=(4.6, 2.2), dpi=80, layout="constrained")
for axis, person in zip(axes, ("astronaut", "grace_hopper")):
    face = faces["sface"][person]
    covered, mask = cover(face, person, 30, skin_colour, seed=1)
    axis.imshow(covered.permute(1, 2, 0).cpu() / 255)
    axis.set(title=person, xticks=[], yticks=[])
plt.show()

# %% [markdown]
# *Each portrait carries a square of 30 pixels in the colour of its skin.*
#
# ## One face, thirteen colours
#
# The same square, in the same place, in each colour (Fig. 13). The place was chosen by hand: under a square on the eyes SFace's whole map would turn red and hide what we look for ([05](05_random_masks.ipynb)).

# %%
SEED = 4


def gallery(model, face, person):
    """The clean face and the masked ones, each above its map."""
    figure, axes = plt.subplots(4, 7, figsize=(8.4, 5.6), dpi=65, layout="constrained")
    pairs = zip([*axes[0], *axes[2]], [*axes[1], *axes[3]])
    clean = plqlite.explain(model, face[None])
    shown = {"clean": (face, clean, "P")}
    for name, colour in colours.items():
        covered, mask = cover(face, person, 30, colour, SEED)
        masked = plqlite.explain(model, covered[None])
        shown[name] = covered, masked, f"Δ_p {pixel_change(clean, masked, mask[None]).item():+.2f}"
    for (face_axis, map_axis), (name, (image, explanation, label)) in zip(pairs, shown.items()):
        face_axis.imshow(image.permute(1, 2, 0).cpu() / 255)
        face_axis.set_title(name, fontsize=10)
        draw_map(map_axis, explanation.plq[0].cpu().numpy())
        map_axis.set_title(label, fontsize=9)
    for axis in axes.flat:
        axis.set_axis_off()
    figure.suptitle(model.name)
    plt.show()


for name, model in models.items():
    gallery(model, faces[name]["astronaut"], "astronaut")

# %% [markdown]
# *Compare with the clean map, top left: where is the square? One face and one place prove nothing, so we count again.*
#
# ## Many faces, many places
#
# Nine faces, three places each, a square of 30 pixels. All thirteen colours take the *same* places, so they can be compared pair by pair: what is easy or hard about a place cancels.

# %%
tables = {
    name: mask_experiment(model, faces[name], sizes=[30], colours=colours, seeds=range(3))
    for name, model in models.items()
}


# %%
def by_colour(table):
    """Mean Δ_p of each colour, with its interval over identities; the smallest first."""
    rows = {
        colour: mean_over_identities(group["delta_p"], group["identity"])._asdict()
        for colour, group in table.groupby("colour")
    }
    return pd.DataFrame(rows).T.sort_values("mean")


def draw_colours(axis, rows, label):
    """A point with its interval for each colour, from the bottom to the top."""
    for place, (colour, row) in enumerate(rows.iterrows()):
        fill = np.array(COLOURS[colour]) / 255 if colour in COLOURS else "peachpuff"
        axis.plot([row["low"], row["high"]], [place, place], color="grey")
        axis.plot(row["mean"], place, "o", color=fill, markeredgecolor="black", markersize=9)
    axis.axvline(0, color="black", linewidth=1)
    axis.set(yticks=range(len(rows)), yticklabels=rows.index, xlabel=f"{label}, mean and 95 % interval")


def draw_both(found, label):
    """The same for both models."""
    _, axes = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
    for axis, (name, rows) in zip(axes, found.items()):
        draw_colours(axis, rows, label)
        axis.set_title(f"{name}, n = {rows['count'].max():.0f} for each colour")
    plt.show()


found = {name: by_colour(table) for name, table in tables.items()}
draw_both(found, r"$\Delta_p$")

# %% [markdown]
# *Every colour lies to the right of zero: on average the covered pixels lose quality, whatever they are covered with.* That is the paper's finding, and our first claim. Each interval excludes zero:

# %%
for rows in found.values():
    assert (rows["low"] > 0).all()

# %% [markdown]
# ## The mask that hides
#
# Most intervals overlap, since faces differ more than colours do:

# %%
for name, table in tables.items():
    spread = {column: table.groupby(column)["delta_p"].mean().std() for column in ("identity", "colour")}
    assert spread["identity"] > 1.5 * spread["colour"]
    quality = torch.tensor(table.groupby("identity")["quality"].first().values)
    scaled = plqlite.scale_quality(quality, models[name].scaling.alpha, models[name].scaling.r)
    print(f"{name}: {(scaled < 0.01).sum()} of {len(scaled)} faces have a Q̂ below 0.01 without any mask")

# %% [markdown]
# Two remedies. First, compare in *pairs*: for each face and place, the other colour minus the colour of the skin. Second, use the AUC of [05](05_random_masks.ipynb) in place of $\Delta_p$: it does not depend on the level of a map, and so the faces whose map is red all over from the start have their say, too. How much easier than the skin-coloured mask is each colour to find?


# %%
def against_skin(table, colour):
    """Mean of AUC(colour) − AUC(skin) over the same faces and places, with its interval."""
    pairs = table.pivot(index=["identity", "image", "seed"], columns="colour", values="auc")
    return mean_over_identities(pairs[colour] - pairs["skin"], pairs.index.get_level_values("identity"))


def compare_with_skin(tables):
    """The same for all colours and both models: draw the numbers and return them."""
    rows = {
        name: {colour: against_skin(table, colour)._asdict() for colour in COLOURS}
        for name, table in tables.items()
    }
    differences = {name: pd.DataFrame(each).T.sort_values("mean") for name, each in rows.items()}
    draw_both(differences, "AUC − AUC of skin")
    return differences


differences = compare_with_skin(tables)

# %%
clear = {name: set(rows.index[rows["low"] > 0.02]) for name, rows in differences.items()}
loud = {"blue", "cyan", "green", "grey", "magenta", "purple", "red", "white", "yellow"}
assert loud <= clear["sface"]
assert loud | {"black"} <= clear["facenet"]
black = differences["sface"].loc["black"]
assert black["low"] < 0 < black["high"]
assert all({"brown", "orange"} <= set(rows.index[:3]) for rows in differences.values())

# %% [markdown]
# *To the right of zero: easier to find than skin.* Twelve comparisons at once invite a false alarm, so we claim the clear ones alone: nine colours for both networks, and black for FaceNet. Brown and orange, warm as skin is, are among the three that come closest. And for SFace we cannot tell black from skin. Whoever tests maps with black masks alone, as we did in [05](05_random_masks.ipynb), does not see SFace at its best.
#
# ## Is it the distance from the skin?
#
# If a network reacts to what does not belong on a face, a mask should be the easier to find the farther its colour is from the skin. CIEDE2000 measures how different two colours look to a human eye.


# %%
def distance_from_skin(table, faces):
    """CIEDE2000 between the mask's colour and the subject's skin, for each row of a table."""
    skins = {image: rgb2lab(np.array(skin_colour(face)) / 255) for image, face in faces.items()}
    return [
        0.0 if colour == "skin" else deltaE_ciede2000(skins[image], rgb2lab(np.array(COLOURS[colour]) / 255))
        for image, colour in zip(table["image"], table["colour"])
    ]


_, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
rank = {}
for axis, (name, table) in zip(axes, tables.items()):
    table = table.assign(distance=distance_from_skin(table, faces[name]))
    means = table.groupby("colour")[["distance", "auc"]].mean()
    for colour, row in means.iterrows():
        fill = np.array(COLOURS[colour]) / 255 if colour in COLOURS else "peachpuff"
        axis.plot(row["distance"], row["auc"], "o", color=fill, markeredgecolor="black", markersize=8)
        axis.annotate(colour, row, xytext=(5, 4), textcoords="offset points", fontsize=8)
    axis.margins(0.12)
    axis.set(title=name, xlabel="distance from the skin (CIEDE2000)", ylabel="AUC of 1 − P")
    rank[name] = spearmanr(means["distance"], means["auc"]).statistic
plt.show()

# %%
print(f"rank correlation: facenet {rank['facenet']:.1f}")
assert rank["facenet"] > 0.6
assert rank["sface"] < rank["facenet"] - 0.2

# %% [markdown]
# *For FaceNet mostly yes. For SFace much less: black, the farthest, is found about as badly as skin.* Thirteen colours are few, so this is a hint and no law. But it shows how such a map can be questioned: change one property of a disturbance, keep its place, and compare in pairs.
#
# ## On a full data set


# %%
def on_data_set(folder):
    """Both models on a data set that a script in data_scripts/ has prepared."""
    return {
        name: mask_experiment(
            model, aligned_faces(folder, model), [30], colours, table=Path(folder, "mask_colours.csv")
        )
        for name, model in models.items()
    }


if "PLQLITE_DATA" in os.environ:
    full = on_data_set(os.environ["PLQLITE_DATA"])
    full_colours = {name: by_colour(table) for name, table in full.items()}
    draw_both(full_colours, r"$\Delta_p$")
    print(pd.concat(full_colours).round(3))
    print(pd.concat(compare_with_skin(full)).round(3))
else:
    print(
        "No data set: run  python data_scripts/prepare_lfw.py --out data/lfw  and set PLQLITE_DATA to its full path"
    )

# %% [markdown]
# ## Exercises
#
# 1. **Change a number.** Make the squares 15 and 45 pixels large. Does skin still hide best from FaceNet?
# 2. **Colour or edge?** Cover the same places with the *mean colour of what is there*. That leaves no odd colour and little edge. Does $\Delta_p$ vanish?
# 3. **Noise.** Cover them with random noise. Guess first: is it easier or harder to see than grey, its mean?
# 4. **Who decides?** Repeat the paired comparison for SFace with $\Delta_p$ in place of the AUC. Which faces make the mean? What does that say of its interval?
#
# Solutions: [solutions/06_mask_colours.ipynb](solutions/06_mask_colours.ipynb) · Back: [05](05_random_masks.ipynb) · Next: [08 · Why do some maps explode, and what cures it?](08_exploding_gradients.ipynb)
