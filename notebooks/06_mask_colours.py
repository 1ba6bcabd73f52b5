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
# | **Outcome** | You can test a PLQ map with any perturbation, compare many of them in the same places, and find out which property makes one easy or hard to find. |
# | **Time** | 21 minutes to read, 55 for the exercises; 70 seconds to run ([two CPU cores](../docs/times.csv)) |
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
from plqlite.experiments.masks import COLOURS, cover, mask_experiment, skin_colour
from plqlite.experiments.statistics import mean_over_identities, pixel_change
from plqlite.figures import describe, draw_map, strip
from plqlite.lessons import check, claim, compact_pictures

compact_pictures()  # so many maps are large as PNG
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
# It is measured, not guessed: the median red, green and blue of the pixels around the nose and the cheeks. Each face gets its own colour. (One of the nine photos is black and white, so its skin is grey.) A square of 30 pixels on each portrait, in the colour of its skin:

# %%
shown = ("astronaut", "grace_hopper")
strip(
    {person: cover(faces["sface"][person], person, 30, skin_colour, seed=1)[0] for person in shown},
    "Two faces, each with a plain square in the colour of its own skin, over the mouth and on a cheek.",
)

# %% [markdown]
# ## One face, thirteen colours
#
# The same square, in the same place, in each colour (Fig. 13). The place, between nose and chin, was chosen by hand: both networks have something to lose there. In the maps $P$, yellow is high and blue is low; above each is $\Delta_p$, the fall of $P$ under the square (Eq. 9, [05](05_random_masks.ipynb)). The folded cell draws them.

# %%
SEED = 4  # of the place


def all_colours(model, face, person):
    """Cover the same square of a face in each colour: images (13, …), both explanations, Δ_p by colour."""
    covered, squares = zip(*(cover(face, person, 30, colour, SEED) for colour in colours.values()))
    clean, masked = plqlite.explain(model, face[None]), plqlite.explain(model, torch.stack(covered))
    change = pixel_change(clean, masked, torch.stack(squares))  # (13,)
    return covered, clean, masked, dict(zip(colours, change.tolist()))


painted = {name: all_colours(model, faces[name]["astronaut"], "astronaut") for name, model in models.items()}


# %% jupyter={"source_hidden": true} tags=["hide-input"]
def gallery(name, alt):
    """Draw the clean face and the masked ones, each above its map, five in a row."""
    covered, clean, masked, fall = painted[name]
    images, maps = [faces[name]["astronaut"], *covered], [*clean.plq, *masked.plq]
    titles = [("clean", "P")]
    titles += [(colour, rf"P, $\Delta_p$ {each:+.2f}".replace("-", "−")) for colour, each in fall.items()]
    figure, axes = plt.subplots(6, 5, figsize=(9, 11.1), layout="constrained")
    for axis in axes.flat:
        axis.set_axis_off()
    for image, plq, pair, above, below in zip(images, maps, titles, axes[::2].flat, axes[1::2].flat):
        above.imshow(image.permute(1, 2, 0).cpu() / 255)
        drawn = draw_map(below, plq.cpu().numpy())
        for axis, title in zip((above, below), pair):
            axis.set_title(title, fontsize=10)
    figure.colorbar(drawn, ax=axes, label="pixel-level quality P", pad=0.02, aspect=40, shrink=0.5)
    figure.suptitle(name)
    describe(figure, alt)
    plt.show()


# %%
gallery(
    "sface",
    "The astronaut without and with a square between nose and chin in thirteen colours, each above SFace's "
    "map. Under cyan and green the map has a dark hole; under black and skin it is only a little thinner.",
)

# %%
gallery(
    "facenet",
    "The astronaut with the same squares, each above FaceNet's map. It has a dark hole under most colours; "
    "under skin the fall of P is smallest.",
)

# %% [markdown]
# *Compare each map with the clean one, top left: can you tell where the square is? For SFace, cyan and green leave a clean hole; black and skin hardly leave one. For FaceNet, skin leaves the faintest.*

# %%
by_fall = {name: sorted(fall, key=fall.get) for name, (*_, fall) in painted.items()}
claim("SFace: P falls least under black and skin", set(by_fall["sface"][:2]) == {"black", "skin"})
claim("FaceNet: P falls least under skin", by_fall["facenet"][0] == "skin")
claim("SFace: P falls most under cyan and green", set(by_fall["sface"][-2:]) == {"cyan", "green"})

# %% [markdown]
# One face and one place prove nothing, so we measure many.
#
# ## Many faces, many places
#
# Nine faces, three places each, a square of 30 pixels. All thirteen colours are put in the *same* places, so they can be compared in pairs: whatever makes a place easy or hard cancels out.

# %%
tables = {
    name: mask_experiment(model, faces[name], sizes=[30], colours=colours, seeds=range(3))
    for name, model in models.items()
}


def by_colour(table):
    """Return the mean Δ_p of each colour, with its interval over subjects; the smallest first."""
    rows = {
        colour: mean_over_identities(group["delta_p"], group["identity"])._asdict()
        for colour, group in table.groupby("colour")
    }
    return pd.DataFrame(rows).T.sort_values("mean")


found = {name: by_colour(table) for name, table in tables.items()}


# %% jupyter={"source_hidden": true} tags=["hide-input"]
def fill_of(colour):
    """The colour that a point has in the figures."""
    return np.array(COLOURS[colour]) / 255 if colour in COLOURS else "peachpuff"


def draw_both(found, label, alt):
    """Draw a point with its interval for each colour, from the bottom up, for both models."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
    for axis, (name, rows) in zip(axes, found.items()):
        for place, (colour, row) in enumerate(rows.iterrows()):
            axis.plot([row["low"], row["high"]], [place, place], color="grey")
            axis.plot(row["mean"], place, "o", color=fill_of(colour), markeredgecolor="black", markersize=9)
        axis.axvline(0, color="black", linewidth=1)
        axis.set(yticks=range(len(rows)), yticklabels=rows.index, xlabel=f"{label}, mean and 95 % interval")
        axis.set_title(f"{name}, n = {rows['count'].max():.0f} per colour")
    describe(figure, alt)
    plt.show()


# %%
draw_both(
    found,
    r"$\Delta_p$",
    "Mean fall of P for thirteen colours, all above zero. SFace: from black and skin, the smallest, to green "
    "and cyan. FaceNet: from skin and orange to magenta and blue, with wide intervals that overlap.",
)

# %% [markdown]
# ### Covered pixels lose quality, in whatever colour: reproduced
#
# Every colour is to the right of zero, with its interval; only for skin and FaceNet does the interval begin at about zero.

# %%
claim(
    "P falls by more than 0.1 on average, for every colour",
    all((f["mean"] > 0.1).all() for f in found.values()),
)
claim(
    "Without skin, every interval begins above 0.03",
    all((rows["low"].drop("skin") > 0.03).all() for rows in found.values()),
)
skin = {name: rows.loc["skin", "low"] for name, rows in found.items()}
claim(
    "That of skin begins above 0.1 for SFace, and above −0.02 for FaceNet",
    skin["sface"] > 0.1 and skin["facenet"] > -0.02,
)

# %% [markdown]
# ## The mask that hides best
#
# Which colour hides best? For FaceNet the intervals overlap widely, because faces differ more than colours do: on Grace Hopper's, the covered pixels even gain. Here is how much the mean $\Delta_p$ differs from face to face, and from colour to colour (standard deviations):

# %%
ratio = {}
for name, table in tables.items():
    spread = {column: table.groupby(column)["delta_p"].mean().std() for column in ("identity", "colour")}
    ratio[name] = spread["identity"] / spread["colour"]
    print(f"{name}: spread over faces / spread over colours {ratio[name]:.1f}")
claim(
    "The ratio is above 0.8 for SFace, and above 1.5 for FaceNet",
    ratio["sface"] > 0.8 and ratio["facenet"] > 1.5,
)
hopper = tables["facenet"].groupby("identity")["delta_p"].mean()["grace_hopper"]
claim("FaceNet, Grace Hopper: covered pixels gain more than 0.03 on average", hopper < -0.03)

# %% [markdown]
# There are two remedies. First, compare in *pairs*: for each face and place, take the value for a colour minus the value for skin. Second, use the AUC of [05](05_random_masks.ipynb) instead of $\Delta_p$, the chance that a covered pixel has a lower $P$ than one that is not covered: it does not depend on the level of a map, so faces whose map is low all over to begin with count as much as the others. How much easier to find than the skin-coloured mask is each colour?


# %%
def against_skin(table, colour):
    """Return the mean of AUC(colour) − AUC(skin) over the same faces and places, with its interval."""
    pairs = table.pivot(index=["identity", "image", "seed"], columns="colour", values="auc")
    return mean_over_identities(pairs[colour] - pairs["skin"], pairs.index.get_level_values("identity"))


def compare_with_skin(tables):
    """Compare all colours with skin for both models; the smallest difference first."""
    rows = {
        name: {colour: against_skin(table, colour)._asdict() for colour in COLOURS}
        for name, table in tables.items()
    }
    return {name: pd.DataFrame(each).T.sort_values("mean") for name, each in rows.items()}


differences = compare_with_skin(tables)
draw_both(
    differences,
    "AUC − AUC of skin",
    "How much easier to find than skin twelve colours are. SFace: all are to the right of zero but black; "
    "green and cyan are easiest. FaceNet: all are to the right of zero, from orange to blue and magenta.",
)

# %%
clear = {name: set(rows.index[rows["low"] > 0.02]) for name, rows in differences.items()}  # well above 0
nine = {"blue", "cyan", "green", "grey", "magenta", "purple", "red", "white", "yellow"}
claim(
    "Nine colours are easier to find than skin for both networks: their intervals begin above 0.02",
    nine <= clear["sface"] and nine <= clear["facenet"],
)
black = differences["sface"].loc["black"]
claim(
    "So is black for FaceNet; for SFace its interval includes 0",
    "black" in clear["facenet"] and black["low"] < 0 < black["high"],
)
claim(
    "Brown and orange are among the three that come closest to skin, for both",
    all({"brown", "orange"} <= set(rows.index[:3]) for rows in differences.values()),
)

# %% [markdown]
# *To the right of zero: easier to find than skin.* Twelve comparisons at once invite a false alarm, so we claim only the clear ones. Brown and orange are warm colours like that of skin. And for SFace we cannot tell black from skin: anyone who tests maps with black masks only, as we did in [05](05_random_masks.ipynb), does not see SFace at its best.
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


means = {
    name: table.assign(distance=distance_from_skin(table, faces[name]))
    .groupby("colour")[["distance", "auc"]]
    .mean()
    for name, table in tables.items()
}
rank = {name: spearmanr(rows["distance"], rows["auc"]).statistic for name, rows in means.items()}
print(f"rank correlation of distance and AUC: sface {rank['sface']:.1f}, facenet {rank['facenet']:.1f}")
claim("It is above 0.6 for FaceNet", rank["facenet"] > 0.6)
claim("… and lower by more than 0.2 for SFace", rank["sface"] < rank["facenet"] - 0.2)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
left_of = {
    "sface": {"grey", "green", "purple", "black"},
    "facenet": {"magenta", "cyan", "green", "black", "white"},
}
figure, axes = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
for axis, (name, rows) in zip(axes, means.items()):
    for colour, row in rows.iterrows():
        axis.plot(
            row["distance"], row["auc"], "o", color=fill_of(colour), markeredgecolor="black", markersize=8
        )
        side = {"xytext": (-8, 0), "ha": "right"} if colour in left_of[name] else {"xytext": (8, 0)}
        if (name, colour) == ("sface", "red"):  # below its yellow neighbour
            side["xytext"] = (5, -11)
        axis.annotate(colour, row, **side, textcoords="offset points", va="center_baseline", fontsize=9)
    axis.margins(0.13, 0.08)
    axis.set(title=name, xlabel="distance from the skin (CIEDE2000)", ylabel="AUC of 1 − P")
describe(
    figure,
    "AUC of thirteen colours by their distance from skin. FaceNet: mostly, the further, the higher. SFace: no such "
    "order; black, the furthest, is lowest, and cyan and green, half-way, are highest.",
)
plt.show()

# %% [markdown]
# *Is it the distance? For FaceNet, mostly yes. For SFace, hardly: black, the furthest of all, is found about as poorly as skin, while cyan and green, at little more than half that distance, are found best.* But a distance mixes three properties: these colours differ in hue, in lightness and in how saturated they are, all at once.
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


wheel = {f"{hue}°": from_lab(65, 35, hue) for hue in HUES}
ladder = {f"L {lightness}": from_lab(lightness, 0, 0) for lightness in GREYS}
swept = {
    name: mask_experiment(model, faces[name], [30], wheel | ladder, seeds=[0]).pivot(
        index="identity", columns="colour", values="auc"
    )
    for name, model in models.items()
}  # model -> (9, 17)


# %%
def skin_hue(face):
    """The hue of a subject's skin, in degrees."""
    _, a, b = rgb2lab(np.array(skin_colour(face)) / 255)
    return np.degrees(np.arctan2(b, a))


skins = [skin_hue(face) for person, face in faces["sface"].items() if person != "actor"]  # he is grey

# %% jupyter={"source_hidden": true} tags=["hide-input"]
figure, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained", sharey=True)
for (name, table), marker, line in zip(swept.items(), "os", ("-", "--")):
    for axis, paints, places in ((axes[0], wheel, HUES), (axes[1], ladder, GREYS)):
        auc = [table[paint].mean() for paint in paints]
        fills = [np.clip(paint / 255, 0, 1) for paint in paints.values()]
        axis.plot(places, auc, line, color="grey", zorder=1)
        axis.scatter(places, auc, c=fills, edgecolors="black", marker=marker, s=60)
        axis.plot([], [], line, marker=marker, color="grey", markeredgecolor="black", label=name)
axes[0].axvspan(min(skins), max(skins), color="peachpuff", zorder=0)
axes[0].text(np.mean(skins), 0.84, "skin", ha="center", fontsize=9)
axes[0].set(xlabel="hue in degrees, at L = 65 and C = 35", ylabel="AUC of 1 − P", xticks=range(0, 360, 60))
axes[1].set(xlabel="lightness L of a grey", ylim=(0.4, 0.88))
axes[1].legend()
describe(
    figure,
    "Left: AUC by hue; for both networks it is lowest at or next to the hue of skin and highest for the "
    "hues from green to blue. Right: AUC by lightness; from grey to white it is flat, and black is lower "
    "than the greys for SFace, higher for FaceNet.",
)
plt.show()

# %%
far_less_near, black_less_greys, hues, flat = {}, {}, {}, {}
for name, table in swept.items():
    near, far = table[["30°", "60°"]].mean(axis=1), table[["180°", "210°", "240°"]].mean(axis=1)
    far_less_near[name] = mean_over_identities(far - near, table.index)
    greys = table[["L 50", "L 75"]].mean(axis=1)
    black_less_greys[name] = mean_over_identities(table["L 0"] - greys, table.index)
    hues[name] = table[list(wheel)].mean()
    flat[name] = np.ptp(table[["L 50", "L 75", "L 100"]].mean())
    print(
        f"{name}: AUC of far hues less that of near ones {far_less_near[name].mean:+.2f}, "
        f"of black less greys {black_less_greys[name].mean:+.2f}"
    )
magenta = tables["facenet"].query("colour == 'magenta' and seed == 0")["auc"].mean()
print(f"facenet: magenta {magenta:.1f}, its hue at C = 35 {hues['facenet']['330°']:.1f}")

# %%
claim(
    "Both networks: hues from 180° to 240° are easier than 30° and 60°, the interval beyond 0.1",
    all(each.low > 0.1 for each in far_less_near.values()),
)
claim(
    "Of the twelve hues 30° or 60° is the hardest, and 180°, 210° or 240° the easiest",
    all(h.idxmin() in ("30°", "60°") and h.idxmax() in ("180°", "210°", "240°") for h in hues.values()),
)
claim("From L = 50 to L = 100 the AUC varies by less than 0.05", max(flat.values()) < 0.05)
claim(
    "Black is harder than the greys L = 50 and 75 for SFace (beyond 0.05), easier for FaceNet (beyond 0.04)",
    black_less_greys["sface"].high < -0.05 and black_less_greys["facenet"].low > 0.04,
)
claim(
    "FaceNet: magenta is easier than a pale square of its hue, by more than 0.1",
    magenta > hues["facenet"]["330°"] + 0.1,
)

# %% [markdown]
# *Circles: SFace; squares: FaceNet.* **Hue**: both networks hardly show a square in the hue of skin or next to it (30° and 60°), and show one in the opposite hues, green to blue (180° to 240°), best. Nothing else differs between these squares, so hue it is. **Lightness**: from a middle grey to white it hardly matters. Black is the exception, in opposite directions: it hides from SFace, and stands out for FaceNet. Why, this experiment does not tell. **Saturation** counts, too: magenta is FaceNet's easiest colour, while a pale square of the same hue (330°) is among its harder ones.
#
# ## So which colours are easy, and which are hard?
#
# - **Hard:** skin, brown and orange, which have its hue; for SFace also black.
# - **Easy:** what is opposite to skin in hue, or strongly saturated: cyan and green for SFace; magenta, blue, cyan and green for FaceNet.
# - **What it depends on:** how far the hue is from that of skin, the saturation and, at the dark end, the network. It is not enough to look odd: black is as odd on a face as blue.
#
# This also shows how to question such a map: change one property of a perturbation, keep its place, and compare in pairs.
#
# ## On 74 faces of LFW
#
# Nine faces are few, and six of them come from one photo. The same thirteen colours on the 74 photos of LFW whose face nothing covers (eight subjects, [docs/development_set.csv](../docs/development_set.csv)), one place each:
#
# ```python
# listed = pd.read_csv("docs/development_set.csv").query("source == 'LFW' and covered.isna()")
# names = listed["image"].str.removeprefix("lfw100/")  # PERSON/PHOTO
# photos = {name: Path("lfw", name) for name in names}  # lfw: your copy of LFW, unpacked
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
from plqlite.experiments.dataset import aligned_faces


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
    full_colours, against = {name: by_colour(table) for name, table in full.items()}, compare_with_skin(full)
    draw_both(full_colours, r"$\Delta_p$", "Mean fall of P by colour, for all faces of the data set.")
    draw_both(against, "AUC − AUC of skin", "Differences from skin, for all faces of the data set.")
    print(pd.concat(full_colours).round(3))
    print(pd.concat(against).round(3))
else:
    print(
        "No data set: run  python data_scripts/prepare_lfw.py --out data/lfw  and set PLQLITE_DATA to its full path"
    )

# %% [markdown]
# ## Exercises
#
# Where an answer is a number or a word, it checks itself: put it in place of `...` and run the cell.

# %% [markdown]
# ### Exercise 1 · Change a number (easy, 10 minutes)
#
# Make the squares 15 and 45 pixels wide, one place for each face. Is skin still among the hardest colours for FaceNet, those of the smallest mean $\Delta_p$? Which colour is the other of the hardest two, at both sizes?
#
# <details><summary>Hint</summary>The second argument of <code>mask_experiment</code> is a list of sizes. Then <code>groupby("size")</code> and, within it, <code>groupby("colour")</code>.</details>

# %%
other = ...  # a name in `colours`
check(other, "1b4c9133da73")

# %% [markdown]
# ### Exercise 2 · Colour or edge? (medium, 20 minutes)
#
# Cover squares of 30 pixels, in four places on each face (seeds 0 to 3), with the *mean colour of what is there*. That leaves no odd colour and hardly any edge. Does $\Delta_p$ vanish? What is its mean over the nine faces, to two digits, for SFace and for FaceNet?
#
# <details><summary>Hint</summary><code>cover</code> returns the mask, too: take a copy of the face and write into <code>image[:, mask]</code>. <code>pixel_change</code> wants both explanations and the masks.</details>

# %%
falls = ...  # [SFace, FaceNet], mean Δ_p
check(falls, "ec4ea764e22c", digits=2)

# %% [markdown]
# ### Exercise 3 · Noise (medium, 10 minutes)
#
# Cover the same places with random noise. Guess first: is noise easier or harder to see than grey, its mean?
#
# <details><summary>Hint</summary>Your solution of exercise 2, with <code>255 * torch.rand(…)</code> in place of the mean colour, and then with 127.5.</details>

# %% [markdown]
# ### Exercise 4 · Who decides? (medium, 15 minutes)
#
# Repeat the paired comparison for SFace with $\Delta_p$ instead of the AUC: for each face, the mean over the other twelve colours minus skin. Does one face account for most of it? Which share of the sum over the nine faces do the two largest make up? In what case would two faces make up most of the sum, and how far could the interval be trusted then?
#
# <details><summary>Hint</summary><code>tables["sface"].pivot(index=["identity", "seed"], columns="colour", values="delta_p")</code>, then <code>groupby("identity")</code>. If all nine faces counted the same, two would make up 22 %.</details>

# %%
share = ...  # of the two largest in the sum, 0..1
check(share, "7a61b53701be", digits=2)

# %% [markdown]
# Solutions: [solutions/06_mask_colours.ipynb](solutions/06_mask_colours.ipynb) · Back: [05](05_random_masks.ipynb) · Next: [07 · Which rule does a passport photo break?](07_icao.ipynb)
