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
# | **Question** | A black square is an odd thing to have on a face. Does the PLQ map also show a red one, a white one, or one in the colour of the skin? |
# | **Outcome** | You can test a PLQ map with any perturbation, compare many of them in the same places, and say which one is the hardest to find. |
# | **Time** | 10 minutes to read; 75 seconds to run ([two CPU cores](../docs/times.csv)) |
# | **Paper** | §8.4.1, Fig. 13; needs [05](05_random_masks.ipynb) |
#
# In [05](05_random_masks.ipynb) every mask was black. Perhaps the map reacts only to black, or to strong edges. So the paper repeats the experiment in twelve colours. We add a thirteenth, the colour of the subject's own skin, which should be the hardest to see.

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
from plqlite.experiments.dataset import aligned_faces
from plqlite.experiments.masks import COLOURS, cover, mask_experiment, skin_colour
from plqlite.experiments.statistics import mean_over_identities, pixel_change
from plqlite.figures import draw_map

models = {"sface": plqlite.sface(), "facenet": plqlite.facenet()}
portraits = plqlite.sample_faces()
faces = {
    name: {person: plqlite.load_face(photo, model)[0] for person, photo in portraits.items()}
    for name, model in models.items()
}  # model -> person -> (3, H, W)
colours = COLOURS | {"skin": skin_colour}  # a colour, or a function that measures one in the image

# %% [markdown]
# ## The colour of the skin
#
# It is measured, not guessed: the median red, green and blue of the pixels around the nose and the cheeks. Each face gets its own colour. (One of the nine photos is black and white, so its skin is grey.)

# %%
figure, axes = plt.subplots(1, 2, figsize=(4.6, 2.2), dpi=80, layout="constrained")
for axis, person in zip(axes, ("astronaut", "grace_hopper")):
    face = faces["sface"][person]
    covered, mask = cover(face, person, 30, skin_colour, seed=1)
    axis.imshow(covered.permute(1, 2, 0).cpu() / 255)
    axis.set(title=person, xticks=[], yticks=[])
plt.show()

# %% [markdown]
# *A square of 30 pixels on each portrait, in the colour of its skin.*
#
# ## One face, thirteen colours
#
# The same square, in the same place, in each colour (Fig. 13). The place was chosen by hand: with a square over the eyes, SFace's whole map would turn red and hide what we are looking for ([05](05_random_masks.ipynb)).

# %%
SEED = 4


def gallery(model, face, person):
    """Draw the clean face and the masked ones, each above its map."""
    covered, squares = zip(*(cover(face, person, 30, colour, SEED) for colour in colours.values()))
    clean, masked = plqlite.explain(model, face[None]), plqlite.explain(model, torch.stack(covered))
    change = pixel_change(clean, masked, torch.stack(squares))  # (13,)
    titles = ["P", *(f"Δ_p {each:+.2f}" for each in change)]
    figure, axes = plt.subplots(4, 7, figsize=(8.4, 5.6), dpi=65, layout="constrained")
    face_axes, map_axes = axes[::2].flat, axes[1::2].flat
    for axis, name, image in zip(face_axes, ["clean", *colours], [face, *covered]):
        axis.imshow(image.permute(1, 2, 0).cpu() / 255)
        axis.set_title(name, fontsize=10)
    for axis, title, plq in zip(map_axes, titles, [*clean.plq, *masked.plq]):
        draw_map(axis, plq.cpu().numpy())
        axis.set_title(title, fontsize=9)
    for axis in axes.flat:
        axis.set_axis_off()
    figure.suptitle(model.name)
    plt.show()


for name, model in models.items():
    gallery(model, faces[name]["astronaut"], "astronaut")

# %% [markdown]
# *Compare each map with the clean one, top left: can you tell where the square is? One face and one place prove nothing, so we measure many.*
#
# ## Many faces, many places
#
# Nine faces, three places each, a square of 30 pixels. All thirteen colours are put in the *same* places, so they can be compared in pairs: whatever makes a place easy or hard cancels out.

# %%
tables = {
    name: mask_experiment(model, faces[name], sizes=[30], colours=colours, seeds=range(3))
    for name, model in models.items()
}


# %%
def by_colour(table):
    """Return the mean Δ_p of each colour, with its interval over subjects; the smallest first."""
    rows = {
        colour: mean_over_identities(group["delta_p"], group["identity"])._asdict()
        for colour, group in table.groupby("colour")
    }
    return pd.DataFrame(rows).T.sort_values("mean")


def draw_colours(axis, rows, label):
    """Draw a point with its interval for each colour, from the bottom up."""
    for place, (colour, row) in enumerate(rows.iterrows()):
        fill = np.array(COLOURS[colour]) / 255 if colour in COLOURS else "peachpuff"
        axis.plot([row["low"], row["high"]], [place, place], color="grey")
        axis.plot(row["mean"], place, "o", color=fill, markeredgecolor="black", markersize=9)
    axis.axvline(0, color="black", linewidth=1)
    axis.set(yticks=range(len(rows)), yticklabels=rows.index, xlabel=f"{label}, mean and 95 % interval")


def draw_both(found, label):
    """Draw both models, side by side."""
    _, axes = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
    for axis, (name, rows) in zip(axes, found.items()):
        draw_colours(axis, rows, label)
        axis.set_title(f"{name}, n = {rows['count'].max():.0f} per colour")
    plt.show()


found = {name: by_colour(table) for name, table in tables.items()}
draw_both(found, r"$\Delta_p$")

# %% [markdown]
# *Every colour is to the right of zero: on average the covered pixels lose quality, whatever colour they are covered with.* That is what the paper found, and it is our first claim. Each interval excludes zero:

# %%
for rows in found.values():
    assert (rows["low"] > 0).all()

# %% [markdown]
# ## The mask that hides best
#
# But most of the intervals overlap, because faces differ more than colours do:

# %%
for name, table in tables.items():
    spread = {column: table.groupby(column)["delta_p"].mean().std() for column in ("identity", "colour")}
    assert spread["identity"] > 1.5 * spread["colour"]
    quality = torch.tensor(table.groupby("identity")["quality"].first().values)
    scaled = plqlite.scale_quality(quality, models[name].scaling.alpha, models[name].scaling.r)
    print(f"{name}: {(scaled < 0.01).sum()} of {len(scaled)} faces have a Q̂ below 0.01 even without a mask")

# %% [markdown]
# There are two remedies. First, compare in *pairs*: for each face and place, take the value for a colour minus the value for skin. Second, use the AUC of [05](05_random_masks.ipynb) instead of $\Delta_p$: it does not depend on the level of a map, so faces whose map is red all over to begin with count as much as the others. How much easier to find than the skin-coloured mask is each colour?


# %%
def against_skin(table, colour):
    """Return the mean of AUC(colour) − AUC(skin) over the same faces and places, with its interval."""
    pairs = table.pivot(index=["identity", "image", "seed"], columns="colour", values="auc")
    return mean_over_identities(pairs[colour] - pairs["skin"], pairs.index.get_level_values("identity"))


def compare_with_skin(tables):
    """Compare all colours with skin for both models: draw the numbers and return them."""
    rows = {
        name: {colour: against_skin(table, colour)._asdict() for colour in COLOURS}
        for name, table in tables.items()
    }
    differences = {name: pd.DataFrame(each).T.sort_values("mean") for name, each in rows.items()}
    draw_both(differences, "AUC − AUC of skin")
    return differences


differences = compare_with_skin(tables)

# %%
clear = {name: set(rows.index[rows["low"] > 0.02]) for name, rows in differences.items()}  # well above 0
nine = {"blue", "cyan", "green", "grey", "magenta", "purple", "red", "white", "yellow"}
assert nine <= clear["sface"]
assert nine | {"black"} <= clear["facenet"]
black = differences["sface"].loc["black"]
assert black["low"] < 0 < black["high"]
assert all({"brown", "orange"} <= set(rows.index[:3]) for rows in differences.values())

# %% [markdown]
# *To the right of zero: easier to find than skin.* Twelve comparisons at once invite a false alarm, so we claim only the clear ones: nine colours for both networks, and black for FaceNet. Brown and orange, warm colours like that of skin, are among the three that come closest to it. And for SFace we cannot tell black from skin. Anyone who tests maps with black masks only, as we did in [05](05_random_masks.ipynb), does not see SFace at its best.
#
# ## Is it the distance from the colour of the skin?
#
# If a network reacts to what does not belong on a face, a mask should be easier to find the further its colour is from that of the skin. CIEDE2000 measures how different two colours look to the human eye.


# %%
def distance_from_skin(table, faces):
    """Return CIEDE2000 between the mask's colour and the subject's skin, for each row of a table."""
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
# *For FaceNet, mostly yes. For SFace, much less so: black, the furthest of all, is found about as poorly as skin.* Thirteen colours are few, so this is a hint, not a law. But it shows how to question such a map: change one property of a perturbation, keep its place, and compare in pairs.
#
# ## On a full data set


# %%
def on_data_set(folder):
    """Measure both models on a data set that a script in data_scripts/ has prepared."""
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
# 1. **Change a number.** Make the squares 15 and 45 pixels wide. Is skin still the hardest colour for FaceNet to find?
# 2. **Colour or edge?** Cover the same places with the *mean colour of what is there*. That leaves no odd colour and hardly any edge. Does $\Delta_p$ vanish?
# 3. **Noise.** Cover them with random noise. Guess first: is noise easier or harder to see than grey, its mean?
# 4. **Who decides?** Repeat the paired comparison for SFace with $\Delta_p$ instead of the AUC. Which faces account for most of the mean? What does that say about its interval?
#
# Solutions: [solutions/06_mask_colours.ipynb](solutions/06_mask_colours.ipynb) · Back: [05](05_random_masks.ipynb) · Next: [07 · Which rule does a passport photo break?](07_icao.ipynb)
