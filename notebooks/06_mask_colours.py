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
# | **Question** | A black square is an odd thing to have on a face. Does the PLQ map also show a red one, a white one, or one in the colour of the skin? Which are easy to find, which are hard, and why? |
# | **Outcome** | You can test a PLQ map with any perturbation, compare many of them in the same places, and find out which property of it makes it easy or hard to find. |
# | **Time** | 10 minutes to read; 101 seconds to run ([two CPU cores](../docs/times.csv)) |
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
from skimage.color import deltaE_ciede2000, lab2rgb, rgb2lab

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
# The same square, in the same place, in each colour (Fig. 13). The place, between nose and chin, was chosen by hand: both networks have something to lose there. In the maps $P$, yellow is high and blue is low.

# %%
SEED = 4


def gallery(model, face, person):
    """Draw the clean face and the masked ones, each above its map."""
    covered, squares = zip(*(cover(face, person, 30, colour, SEED) for colour in colours.values()))
    clean, masked = plqlite.explain(model, face[None]), plqlite.explain(model, torch.stack(covered))
    change = pixel_change(clean, masked, torch.stack(squares))  # (13,)
    titles = ["P", *(f"Δ_p {each:+.2f}" for each in change)]
    figure, axes = plt.subplots(4, 7, figsize=(8.4, 5.6), dpi=80, layout="constrained")
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
# *Compare each map with the clean one, top left: can you tell where the square is? For SFace, cyan and green leave a clean hole; black and skin hardly leave one. One face and one place prove nothing, so we measure many.*
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
# ### Covered pixels lose quality, in whatever colour: reproduced
#
# Every colour is to the right of zero, and so is its interval. Skin comes closest to zero for FaceNet: its interval hardly excludes it.

# %%
for name, rows in found.items():
    assert (rows["mean"] > 0.1).all()
    assert (rows["low"].drop("skin") > 0.03).all() and rows.loc["skin", "low"] > -0.02
    assert rows["low"]["skin"] > 0.1 or name == "facenet"

# %% [markdown]
# ## The mask that hides best
#
# But for FaceNet the intervals overlap widely, because faces differ more than colours do: on Grace Hopper's, the covered pixels even gain.

# %%
for name, table in tables.items():
    spread = {column: table.groupby(column)["delta_p"].mean().std() for column in ("identity", "colour")}
    print(f"{name}: spread over faces / spread over colours {spread['identity'] / spread['colour']:.0f}")
    assert spread["identity"] > {"sface": 0.8, "facenet": 1.5}[name] * spread["colour"]
assert tables["facenet"].groupby("identity")["delta_p"].mean()["grace_hopper"] < -0.03

# %% [markdown]
# There are two remedies. First, compare in *pairs*: for each face and place, take the value for a colour minus the value for skin. Second, use the AUC of [05](05_random_masks.ipynb) instead of $\Delta_p$: it does not depend on the level of a map, so faces whose map is low all over to begin with count as much as the others. How much easier to find than the skin-coloured mask is each colour?


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
        below = colour in ("red", "blue")  # SFace's yellow and purple are next to them
        axis.annotate(colour, row, xytext=(5, -11 if below else 4), textcoords="offset points", fontsize=8)
    axis.margins(0.12)
    axis.set(title=name, xlabel="distance from the skin (CIEDE2000)", ylabel="AUC of 1 − P")
    rank[name] = spearmanr(means["distance"], means["auc"]).statistic
plt.show()

# %%
print(f"rank correlation: facenet {rank['facenet']:.1f}")
assert rank["facenet"] > 0.6
assert rank["sface"] < rank["facenet"] - 0.2

# %% [markdown]
# *For FaceNet, mostly yes. For SFace, hardly: black, the furthest of all, is found about as poorly as skin, while cyan and green, at half that distance, are found best.* But a distance mixes three properties: these colours differ in hue, in lightness and in how saturated they are, all at once.
#
# ## Hue, with all else equal
#
# So change one property at a time. In the CIELAB space a colour has a lightness $L$ (0 is black, 100 is white), a chroma $C$ (0 is grey) and a hue, an angle: red is near 30°, yellow 90°, green 150°, cyan 200°, blue 280°. First twelve hues of the same lightness and the same chroma, then five greys, from black to white, in the same places:

# %%
HUES, GREYS = range(0, 360, 30), range(0, 101, 25)


def from_lab(lightness, chroma, hue):
    """RGB 0..255 of a colour, given its hue in degrees."""
    angle = np.radians(hue)
    return 255 * lab2rgb([float(lightness), chroma * np.cos(angle), chroma * np.sin(angle)])


wheel = {hue: from_lab(65, 35, hue) for hue in HUES}
ladder = {lightness: from_lab(lightness, 0, 0) for lightness in GREYS}
paints = {f"{hue}°": paint for hue, paint in wheel.items()} | {f"L {each}": ladder[each] for each in GREYS}
swept = {
    name: mask_experiment(model, faces[name], [30], paints, seeds=[0]).pivot(
        index="identity", columns="colour", values="auc"
    )
    for name, model in models.items()
}  # model -> (9, 17)


def skin_hue(face):
    """The hue of a subject's skin, in degrees."""
    _, a, b = rgb2lab(np.array(skin_colour(face)) / 255)
    return np.degrees(np.arctan2(b, a))


skins = [skin_hue(face) for person, face in faces["sface"].items() if person != "actor"]  # he is grey
_, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained", sharey=True)
for (name, table), marker in zip(swept.items(), "os"):
    for axis, colours_of, label in ((axes[0], wheel, "{}°"), (axes[1], ladder, "L {}")):
        means = [table[label.format(each)].mean() for each in colours_of]
        axis.plot(list(colours_of), means, color="grey", zorder=1)
        fills = [np.clip(paint / 255, 0, 1) for paint in colours_of.values()]
        axis.scatter(list(colours_of), means, c=fills, edgecolors="black", marker=marker, s=60, label=name)
axes[0].axvspan(min(skins), max(skins), color="peachpuff", zorder=0)
axes[0].text(np.mean(skins), 0.84, "skin", ha="center", fontsize=9)
axes[0].set(xlabel="hue in degrees, at L = 65 and C = 35", ylabel="AUC of 1 − P", xticks=range(0, 360, 60))
axes[1].set(xlabel="lightness L of a grey", ylim=(0.4, 0.88))
axes[1].legend()
plt.show()

# %%
for name, table in swept.items():
    near, far = table[["30°", "60°"]].mean(axis=1), table[["180°", "210°", "240°"]].mean(axis=1)
    farther = mean_over_identities(far - near, table.index)
    black = mean_over_identities(table["L 0"] - table[["L 50", "L 75"]].mean(axis=1), table.index)
    print(
        f"{name}: AUC of far hues less that of near ones {farther.mean:+.1f}, of black less greys {black.mean:+.1f}"
    )
    means = table.mean()
    assert farther.low > 0.1
    assert means[[f"{hue}°" for hue in HUES]].idxmin() in ("30°", "60°")
    assert means[[f"{hue}°" for hue in HUES]].idxmax() in ("180°", "210°", "240°")
    assert black.high < -0.05 if name == "sface" else black.low > 0.04
    assert np.ptp(means[["L 50", "L 75", "L 100"]]) < 0.05

magenta = tables["facenet"].query("colour == 'magenta' and seed == 0")["auc"].mean()
pale = swept["facenet"]["330°"].mean()
print(f"facenet: magenta {magenta:.1f}, its hue at C = 35 {pale:.1f}")
assert magenta > pale + 0.1

# %% [markdown]
# *Circles: SFace; squares: FaceNet.* **Hue**: both networks hardly show a square in the hue of skin or next to it (30° and 60°), and show one in the opposite hues, green to blue (180° to 240°), best. Nothing else differs between these squares, so hue it is. **Lightness**: from a middle grey to white it hardly matters. Black is the exception, in opposite directions: it hides from SFace, and stands out for FaceNet. Why, this experiment does not tell. **Saturation** counts, too: magenta is FaceNet's easiest colour, while a pale square of the same hue (330°) is among its harder ones.
#
# ## So which colours are easy, and which are hard?
#
# - **Hard:** skin, brown and orange, which have its hue; for SFace also black.
# - **Easy:** what is opposite to skin in hue. Cyan and green for SFace; magenta, blue, cyan and green for FaceNet.
# - **What it depends on:** on how far its hue is from that of skin, on saturation, and at the dark end on the network. It is not enough to look odd: black is as odd on a face as blue.
#
# This also shows how to question such a map: change one property of a perturbation, keep its place, and compare in pairs.
#
# ## On 74 faces of LFW
#
# Nine faces are few, and six of them come from one photo. The same thirteen colours on the 74 photos of LFW whose face nothing covers (eight subjects, [docs/development_set.csv](../docs/development_set.csv)), one place each:
#
# ```python
# listed = pd.read_csv("docs/development_set.csv").query("source == 'LFW' and covered.isna()")
# photos = {name.removeprefix("lfw100/"): Path("data", name) for name in listed["image"]}  # PERSON/PHOTO
# faces = {name: plqlite.load_face(photo, model)[0] for name, photo in photos.items()}
# table = mask_experiment(model, faces, [30], COLOURS | {"skin": skin_colour})
# ```
#
# Mean AUC of $1-P$ after the mask, with 95 % intervals over subjects, the easiest first (25 November 2026):
#
# | SFace | AUC | FaceNet | AUC |
# |---|---|---|---|
# | cyan | 0.83 [0.82, 0.84] | magenta | 0.70 [0.68, 0.72] |
# | green | 0.80 [0.79, 0.82] | cyan | 0.68 [0.66, 0.70] |
# | yellow | 0.70 [0.68, 0.72] | blue | 0.67 [0.65, 0.70] |
# | magenta | 0.69 [0.67, 0.72] | green | 0.63 [0.61, 0.66] |
# | grey | 0.68 [0.67, 0.70] | black | 0.61 [0.59, 0.64] |
# | blue | 0.67 [0.65, 0.69] | red | 0.60 [0.58, 0.63] |
# | red | 0.66 [0.64, 0.69] | purple | 0.58 [0.55, 0.61] |
# | purple | 0.66 [0.63, 0.69] | yellow | 0.57 [0.55, 0.60] |
# | white | 0.64 [0.62, 0.66] | white | 0.52 [0.50, 0.55] |
# | orange | 0.60 [0.57, 0.63] | grey | 0.50 [0.48, 0.53] |
# | brown | 0.56 [0.53, 0.60] | brown | 0.48 [0.47, 0.51] |
# | skin | 0.53 [0.51, 0.57] | orange | 0.48 [0.46, 0.51] |
# | black | 0.52 [0.49, 0.54] | skin | 0.42 [0.40, 0.45] |
#
# It confirms the nine faces. For FaceNet all twelve colours are easier to find than skin, for SFace all but black: AUC lower than for skin by 0.015 [−0.001, 0.031], which settles nothing. And covered pixels lose quality ($\Delta_p > 0$) under at least 96 % of the masks of each colour for SFace; for FaceNet under 69 % of those in the colour of skin, 78 % of the orange ones, and at least 85 % of all others.
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
# 1. **Change a number.** Make the squares 15 and 45 pixels wide. Is skin still among the hardest colours for FaceNet to find?
# 2. **Colour or edge?** Cover the same places with the *mean colour of what is there*. That leaves no odd colour and hardly any edge. Does $\Delta_p$ vanish?
# 3. **Noise.** Cover them with random noise. Guess first: is noise easier or harder to see than grey, its mean?
# 4. **Who decides?** Repeat the paired comparison for SFace with $\Delta_p$ instead of the AUC. Does one face account for most of the mean? When would that happen, and what would it say about the interval?
#
# Solutions: [solutions/06_mask_colours.ipynb](solutions/06_mask_colours.ipynb) · Back: [05](05_random_masks.ipynb) · Next: [07 · Which rule does a passport photo break?](07_icao.ipynb)
