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
# # 11 · Are the maps right, and is the score?
#
# | | |
# |---|---|
# | **Question** | A map that looks like a face convinces everybody. Does a PLQ map say what matters, and more than a blob in the middle would? And does the score know on which photos a network fails? |
# | **Outcome** | You can test any map by changing the image, and any quality score by error versus discard; and you know what a PLQ map does not tell. |
# | **Time** | 28 minutes to read, 100 for the exercises; 36 seconds to run ([two CPU cores](../docs/times.csv)) |
# | **Paper** | §5.2, §5.4, and beyond it; needs [03](03_saliency.ipynb) and [05](05_random_masks.ipynb); [09](09_evidence.ipynb) helps |
#
# So far we covered something and asked whether the map had noticed. That is a test with a known answer, and an easy one. Now the harder question: here is an ordinary face, and its map says that these pixels are useful. Useful for what? And how would we know?

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

import plqlite
from plqlite.lessons import check, claim, compact_pictures

compact_pictures()  # maps are large as PNG
RESULTS = Path("../docs/results/evaluation")  # of data_scripts/evaluate.py, on 100 photos of LFW
models = {"sface": plqlite.sface(), "facenet": plqlite.facenet()}
portraits = plqlite.sample_faces()
faces = {
    name: torch.cat([plqlite.load_face(photo, model) for photo in portraits.values()])
    for name, model in models.items()
}  # model -> (9, 3, H, W)
astronaut = list(portraits).index("astronaut")

# %% [markdown]
# ## What could "right" mean?
#
# Nobody can look up the usefulness of a pixel. But we can change pixels, and see what happens. There are several ways to do so, and none of them is the truth:
#
# | measure | what is done | what it cannot show |
# |---|---|---|
# | **interventions** | replace one patch, everywhere in turn; compare the map with what each replacement does | anything that two patches do only together |
# | **deletion** | replace more and more pixels, the highest of the map first, or the lowest | whether the harm comes from what is gone or from what a half-deleted face looks like |
# | **sanity** | give the network random weights: a map that stays the same was not about what the network has learnt | whether a map that changes is right |
# | **sensitivity** | add noise of up to two grey levels: the map should hardly change (0: not at all; 1: by its own length) | whether a steady map is right: a Gaussian never moves |
#
# What takes the place of a pixel is a choice, too. We use the average of other faces, a blur, the mean colour, and a linear imputation with noise (ROAD, [arXiv 2202.00449](https://arxiv.org/abs/2202.00449)). Each measure is taken with three of them. The tables give the mean over these three; where a single one disagrees, the text says so.
#
# Any of these numbers means little alone. So every map has **rivals**: some that know nothing of the photo, such as a Gaussian in the middle or the mean map of other subjects; some that know nothing of the network, such as edges; and those that the field would use, such as integrated gradients, Grad-CAM or occlusion.
#
# ## Change the image, and look
#
# `intervene` slides a patch 16 pixels wide (in a crop of 112) over a face, in 13×13 places, and puts the average of the other eight faces in its place. Each time it measures two effects: how far the *embedding* moves, and how far the *quality* $Q$ falls.


# %%
from plqlite.experiments.faithfulness import agreement, intervene


def average_of_others(name, index):
    """The mean of the other sample faces, (3, H, W)."""
    return faces[name][torch.arange(len(portraits)) != index].mean(0)


def in_patches(values, size):
    """The mean of a map (H, W) in each of 13×13 patches, (13, 13)."""
    side = round(16 * size / 112)
    edge = torch.linspace(0, size - side, 13).round().int().tolist()
    return np.array([[values[y : y + side, x : x + side].mean() for x in edge] for y in edge])


# %%
effects, maps, rho = {}, {}, {}
for name, model in models.items():
    image = faces[name][astronaut]
    effects[name] = intervene(model, image, average_of_others(name, astronaut))
    maps[name] = plqlite.explain(model, image[None]).plq[0].cpu()
    rho[name] = agreement(maps[name], effects[name])  # with "shift" and with "fall"

# %% jupyter={"source_hidden": true} tags=["hide-input"]
from plqlite.figures import describe, draw_deviation, draw_map

figure, axes = plt.subplots(2, 4, figsize=(9.6, 6.2), layout="constrained")
for row, (name, model) in zip(axes, models.items()):
    shift, change = effects[name].shift.reshape(13, 13), -effects[name].fall.reshape(13, 13)
    row[0].imshow(faces[name][astronaut].permute(1, 2, 0).cpu() / 255)
    drawn = [
        draw_map(row[1], in_patches(maps[name], model.size)),
        row[2].imshow(shift, cmap="cividis", vmin=0),
        draw_deviation(row[3], change, limit=np.abs(change).max()),
    ]
    texts = ("P", f"distance\n(ρ with the map: {rho[name]['shift']:.1f})")
    texts += (f"after − before\n(ρ with its fall: {round(rho[name]['fall'], 1) + 0.0:.1f})",)
    for axis, image, text in zip(row[1:], drawn, texts):
        figure.colorbar(image, ax=axis, location="bottom", shrink=0.9, pad=0.02, label=text)
    for axis, title in zip(row, (name, "PLQ map, in patches", "shift of the embedding", "change of Q")):
        axis.set_title(title, fontsize=10)
        axis.set(xticks=[], yticks=[])
describe(
    figure,
    "The astronaut, for SFace and for FaceNet: the map and the shift of the embedding are both high in the middle of "
    "the face; Q falls elsewhere, for SFace most at one eye, for FaceNet at the nose, around which it rises.",
)
plt.show()

# %% [markdown]
# *Left to right: the face; its map $P$; how far the embedding moved when the patch there was replaced; how $Q$ changed (red: it fell, inside the dashed line most; blue: it rose). ρ is the rank correlation with the map.* The map resembles the third picture, not the fourth.

# %%
claim("The maps agree with the shift, ρ above 0.5", all(each["shift"] > 0.5 for each in rho.values()))
claim(
    "ρ with the fall of Q is lower by more than 0.3",
    all(each["fall"] < each["shift"] - 0.3 for each in rho.values()),
)
claim(
    "For FaceNet, replacing a patch raises Q in about two places of three",
    abs((effects["facenet"].fall < 0).mean() - 2 / 3) < 0.1,
)

# %% [markdown]
# ## The rivals
#
# All maps have one signature, `(model, images) -> (B, H, W)`, so that each can be put to the same test. Whatever a map knows of other faces (an average, a mean map) comes from *other subjects*.
#
# | map | what it is |
# |---|---|
# | random; centre | noise; a Gaussian in the middle, with a standard deviation of a quarter of the width |
# | mean map of others | the mean PLQ map of other subjects |
# | edges | Sobel's edges of the grey image |
# | typical colours, typical features | how like each place is to that of other faces, by its colours or by the cells of the last feature map |
# | PLQ, signed; PLQ, summed | $\hat S$ by two readings of Eq. 3, ours and that of the authors' program; `literal` has the order of the latter ([02](02_quality_node.ipynb)) |
# | PLQ, smoothed | the mean of *PLQ, signed* over eight noisy copies of the photo (SmoothGrad, [arXiv 1706.03825](https://arxiv.org/abs/1706.03825)) |
# | pattern; deviation | what `show` draws: the map at one level, smoothed ([03](03_saliency.ipynb)); and how far it is from other faces ([04](04_inpainting.ipynb)) |
# | signal, noise, signal for noise | what each cell adds to the embedding and to its uncertainty ([09](09_evidence.ipynb)), and signal over the root of noise |
# | energy of cells | $\sum f^2$ of each cell, without the head |
# | leave one cell out | how far $Q$ falls when a cell is set to zero |
# | gradient of Q, also smoothed | how steep $Q$ itself is, in closed form |
# | integrated gradients | the gradients of $Q$ on the way from the average face to the photo ([arXiv 1703.01365](https://arxiv.org/abs/1703.01365)) |
# | Grad-CAM of Q | gradient × activation of $Q$ at the last feature map |
# | occlusion | how far $Q$ falls when one place of 49, or of 196, is replaced by the average face |
# | RISE | the mean $Q$ of 98 random mixtures with the average face that show a place ([arXiv 1806.07421](https://arxiv.org/abs/1806.07421)) |

# %%
from plqlite.experiments.rivals import all_rivals

model, image = models["sface"], faces["sface"][astronaut]
others = faces["sface"][torch.arange(len(portraits)) != astronaut]
rivals = all_rivals(model, others, plqlite.explain(model, others).plq.mean(0))
print(len(rivals), "maps")
quick = {name: rival for name, rival in rivals.items() if "196" not in name}
patches = {
    name: in_patches(rival(model, image[None])[0].cpu(), model.size) for name, rival in quick.items()
}  # name -> (13, 13)


# %% jupyter={"source_hidden": true} tags=["hide-input"]
def draw_own_scale(axis, values, title):
    """Draw a map from its own lowest value to its own highest."""
    axis.set_title(title, fontsize=10)
    return axis.imshow((values - values.min()) / np.ptp(values), cmap="cividis")


def name_ends(figure, axes, drawn, *ends):
    """Switch axes off, and put a colour bar below them, of which only the ends have names."""
    for axis in axes.flat:
        axis.set_axis_off()
    bar = figure.colorbar(drawn, ax=axes, location="bottom", shrink=0.5, aspect=30, pad=0.02, ticks=[0, 1])
    bar.ax.set_xticklabels(ends)


# %% jupyter={"source_hidden": true} tags=["hide-input"]
figure, axes = plt.subplots(5, 5, figsize=(9, 10.6), layout="constrained")
axes[0, 0].imshow(image.permute(1, 2, 0).cpu() / 255)
axes[0, 0].set_title("face", fontsize=10)
for axis, (name, values) in zip(axes.flat[1:], patches.items()):
    drawn = draw_own_scale(axis, values, name)
name_ends(figure, axes, drawn, "lowest patch", "highest patch")
describe(
    figure,
    "The astronaut and 22 maps of her face: the Gaussian, the mean map of others, the PLQ maps, signal, noise and the "
    "gradients of Q are all high in the middle; others, such as edges, deviation and RISE, are not.",
)
plt.show()

# %%
ring = np.ones((13, 13), dtype=bool)
ring[1:-1, 1:-1] = False  # the patches at the edge
higher = [name for name, values in patches.items() if values[4:9, 4:9].mean() > values[ring].mean()]
claim("Most maps are higher in the middle than at the edge", len(higher) > len(patches) / 2)

# %% [markdown]
# *The astronaut, SFace: all maps but the finer occlusion, which is slow, in patches, each on its own scale, since only the order of places counts here.* Faces are in the middle of their crops, so a map can look right for that reason alone.
#
# ## Which map is right?
#
# One face proves nothing. `data_scripts/evaluate.py` did all this for 100 photos of ten subjects from LFW: interventions on three photos of each, deletion on one. It takes about two hours on two cores, so its results are stored in [docs/results](../docs/results/evaluation/about.json). The folded cells read them and write them as tables.


# %% jupyter={"source_hidden": true} tags=["hide-input"]
def read(name, **chosen):
    """Read a table of results, and choose rows."""
    rows = pd.read_csv(RESULTS / f"{name}.csv", keep_default_na=False)
    for column, value in chosen.items():
        rows = rows[rows[column] == value]
    return rows.set_index("map") if "map" in rows else rows


def written(rows, times=1, digits=2, lowest=False):
    """Write means with their intervals; the best in bold."""
    values = (times * rows[["mean", "low", "high"]]).round(digits) + 0.0  # no −0
    texts = [
        f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]" for mean, low, high in values.to_numpy()
    ]
    best = rows["mean"] == (rows["mean"].min() if lowest else rows["mean"].max())
    return pd.Series([f"**{text}**" if top else text for text, top in zip(texts, best)], rows.index)


# %% jupyter={"source_hidden": true} tags=["hide-input"]
def comparison(model):
    """All measures of all maps of one network, as text."""
    agree, gain = ({"model": model, "fill": "all", "ahead_of": ""} for _ in range(2))
    columns = {
        "ρ, shift of e": written(read("agreement", **agree, measure="shift")),
        "ρ, fall of Q": written(read("agreement", **agree, measure="fall")),
        "gain, score": written(read("gain", **gain, measure="gain of score")),
        "gain, matches": written(read("gain", **gain, measure="gain of matches")),
        "gain, Q × 1000": written(read("gain", **gain, measure="gain of quality"), 1000, 0),
    }
    random = read("sanity", model=model, stage="100 %", measure="rho")["mean"].map("{:.1f}".format)
    moved = read("sensitivity", model=model)["mean"].map("{:.2f}".format)
    cost = read("cost", model=model)["mean"].map("{:.0f}".format)
    columns |= {"ρ, random weights": random, "sensitivity": moved, "cost": cost}
    return pd.DataFrame(columns).loc[list(rivals)].fillna("")


# %% jupyter={"source_hidden": true} tags=["hide-input"]
def as_table(frame, first="map"):
    """A table in Markdown."""
    head = [first, *frame.columns]
    lines = [head, ["---"] * len(head), *([name, *row] for name, row in zip(frame.index, frame.to_numpy()))]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# %%
from IPython.display import Markdown, display

tables = {name: comparison(name) for name in models}
for name, table in tables.items():
    display(Markdown(f"**{name}**\n\n{as_table(table)}"))

# %% [markdown]
# *ρ: rank correlation with what replacing patches does; gain: see the next section. Means with 95 % intervals over ten subjects, averaged over fills; the best in bold. Then, for three photos, the rank correlation between the map and that of the same network with random weights (low is good), sensitivity (low is good), and cost in forward passes. Blank: not measured, since it takes too long.*
#
# **What the embedding depends on** a PLQ map does tell: ρ is above 0.8 for both networks. But look at *centre*, a Gaussian that has never seen the photo. The PLQ map is ahead of it for SFace, by less than 0.1, and not for FaceNet. Averaged over noisy copies of the photo (*PLQ, smoothed*), it is ahead for both, by 0.13 and 0.03.
#
# **What the quality depends on** it hardly tells. For SFace its ρ with the fall of $Q$ is 0.3, ahead of the Gaussian's but by less than 0.1; for FaceNet it cannot be told from 0. So a dark pixel does not mark where quality was lost, nor a bright one where it could be. Only one kind of map tells, and that by brute force: *occlusion*, which replaces 49 or 196 places and measures the fall of $Q$, predicts well (ρ about 0.65) what replacing 169 overlapping ones does. That is no insight, since it is nearly the same experiment; but it is an answer, for 50 forward passes.
#
# **The raw PLQ map is the most sensitive of all** but for the random one: noise of two grey levels changes it by 40 % of its length, the *pattern* by 10 to 15 %. Read a map by region.


# %%
def against(measure, yardstick, table="agreement"):
    """For each network, what maps are ahead of another one by: means and intervals."""
    chosen = {"fill": "all", "measure": measure, "ahead_of": yardstick}
    return {name: read(table, model=name, **chosen) for name in models}


shift, fall = against("shift", ""), against("fall", "")
beyond, quality_beyond = against("shift", "centre"), against("fall", "centre")  # ahead of the Gaussian
for name in models:
    print(f"{name}: PLQ, smoothed is ahead by {beyond[name].loc['PLQ, smoothed', 'mean']:.2f}")
brute = ["occlusion, 49 places", "occlusion, 196 places"]
moved = [read("sensitivity", model=name)["mean"].drop("random") for name in models]

# %% [markdown]
# In the following claims, *above*, *below* and *ahead* hold for the whole interval, and for both networks where none is named:

# %%
claim(
    "ρ of the PLQ map with the shift is above 0.8",
    all(shift[n].loc["PLQ, signed", "low"] > 0.8 for n in models),
)
of_sface, of_facenet = (beyond[name].loc["PLQ, signed"] for name in models)
claim(
    "For SFace it is ahead of the Gaussian, by less than 0.1", 0 < of_sface["low"] and of_sface["high"] < 0.1
)
smoothed = beyond["facenet"].loc["PLQ, smoothed"]
claim("For FaceNet it is not, but the smoothed one is", of_facenet["mean"] < 0 < smoothed["low"])

# %%
of_sface, of_facenet = quality_beyond["sface"].loc["PLQ, signed"], fall["facenet"].loc["PLQ, signed"]
claim(
    "ρ of the PLQ map with the fall of Q: for SFace it is ahead of the Gaussian's, by less than 0.1",
    0 < of_sface["low"] < of_sface["high"] < 0.1,
)
claim("… for FaceNet it cannot be told from 0", of_facenet["low"] < 0 < of_facenet["high"])
claim(
    "Occlusion's ρ with the fall of Q is above 0.55, that of all other maps below 0.45",
    all(fall[n].loc[brute, "low"].min() > 0.55 > 0.45 > fall[n]["high"].drop(brute).max() for n in models),
)
claim(
    "The raw PLQ map is the most sensitive of all but the random one",
    all(m.idxmax() == "PLQ, signed" for m in moved),
)
claim(
    "Noise changes it by 35 to 45 % of its length, the pattern by 9 to 16 %",
    all(0.35 < m.max() < 0.45 and 0.09 < m["pattern"] < 0.16 for m in moved),
)

# %% [markdown]
# ## Delete pixels
#
# Patches are small, and a map may be right about many of them together. So replace more and more pixels, *the highest of the map first*, and then again *the lowest first*. If the map is right, the first order destroys the face early, and the second preserves it for long. The **relevance gain** is the area between the two curves (the symmetric relevance gain of [arXiv 2401.06654](https://arxiv.org/abs/2401.06654)): what a random order would do cancels, so a random map has 0 on average. We measure three curves: the comparison score with *another photo* of the subject, whether the two still match (at the equal error threshold, where the share of pairs of different subjects that match equals the share of pairs of one subject that do not), and $Q$.
#
# Of the astronaut there is only one photo, so we take the score with the unaltered photo itself:


# %%
from plqlite.experiments.faithfulness import (
    SHARES,
    area_between,
    deletion,
    embedding_and_quality,
    fills,
    ranked,
)


def curves(name, values, fill):
    """Q, and the score with the face as it was, when pixels of a map go from the highest down, and up: (2, 2, 20)."""
    model, image = models[name], faces[name][astronaut]
    clean = model(image[None])[0].detach()
    found = []
    for order in (ranked(values), ranked(values)[::-1]):
        measures = (
            lambda images: embedding_and_quality(model, images)[1],
            lambda images: embedding_and_quality(model, images)[0] @ clean,
        )
        found.append([deletion(measure, image, order, fill) for measure in measures])
    return np.array(found)


# %%
from plqlite.experiments.rivals import centre, saliency

gains, deleted, regained = {}, {}, []
for name, model in models.items():
    image, average = faces[name][astronaut], average_of_others(name, astronaut)
    for label, rival in {"PLQ": saliency("signed"), "centre": centre}.items():
        found = curves(name, rival(model, image[None])[0].cpu(), fills(average)["average face"])
        deleted[name, label] = found  # (order, measure, share)
        gains[name, label] = [area_between(low, high) for high, low in zip(*found)]
    quality = deleted[name, "PLQ"][0, 0]  # highest first
    first, lowest, last = quality[0], quality.min(), quality[-1]
    print(f"{name}: Q, from {first:.2f} down to {lowest:.2f}, is {last:.2f} in the end")
    regained.append((last - lowest) / (first - lowest))

# %% jupyter={"source_hidden": true} tags=["hide-input"]
figure, axes = plt.subplots(2, 2, figsize=(9, 6.4), layout="constrained", sharex=True)
for row, name in zip(axes, models):
    for label, colour, marker in (("PLQ", "C0", "o"), ("centre", "C1", "s")):
        for axis, high, low in zip(row, *deleted[name, label]):
            style = {"color": colour, "marker": marker, "markersize": 4}
            axis.plot(100 * SHARES, high, "-", label=f"{label}, high first", **style)
            axis.plot(100 * SHARES, low, "--", label=f"{label}, low first", **style, fillstyle="none")
    for axis, measure in zip(row, ("Q", "comparison score")):
        axis.set_title(name, fontsize=10)
        axis.set_ylabel(measure)
for axis in axes[1]:
    axis.set_xlabel("pixels replaced, %")
figure.legend(*axes[0, 0].get_legend_handles_labels(), ncols=4, loc="outside lower center")
describe(
    figure,
    "Four diagrams of Q and comparison score against the share of replaced pixels: the score falls faster if the "
    "highest pixels go first, and the gap is wider for the Gaussian than for the PLQ map; in the map's order Q falls and rises again.",
)
plt.show()

# %% [markdown]
# *Solid, filled: the highest pixels first; dashed, open: the lowest first; blue circles: the PLQ map; orange squares: the Gaussian.* The further apart solid and dashed are, the better the map. $Q$ does something odd: at the end it is *high* again. What is left then is nearly the average of eight faces, and an average face is a good face: $Q$ says how sure a network is of what it sees, not that it sees *her*.

# %%
for name in models:
    print(name, "gain of the score:", {label: f"{gains[name, label][1]:.1f}" for label in ("PLQ", "centre")})
claim(
    "The Gaussian's curves of the score are further apart, for both networks",
    all(gains[name, "centre"][1] > gains[name, "PLQ"][1] > 0.2 for name in models),
)
claim("In the end, Q has regained more than 30 % of what it had lost", min(regained) > 0.3)

# %%
score, quality = (against(f"gain of {each}", "centre", "gain") for each in ("score", "quality"))
both = [rows for name in models for rows in (score[name], quality[name])]  # averaged over fills
claim(
    "On LFW, the Gaussian's gain of score and Q is clearly above the PLQ map's",
    all(rows.loc["PLQ, signed", "high"] < 0 for rows in both),
)
claim("No map is clearly ahead of the Gaussian", all((rows["low"] <= 0).all() for rows in both))
gap = [rows["mean"]["pattern"] - rows["mean"]["PLQ, signed"] for rows in score.values()]
claim("The pattern's gain of the score is more than 0.05 above the raw map's", min(gap) > 0.05)

one = read("gain", model="sface", measure="gain of quality", fill="average face")
blob = one.loc["centre"]
claim("SFace, average face: the Gaussian's gain of Q cannot be told from 0", blob["low"] < 0 < blob["high"])
print("clearly ahead of the Gaussian there:", (one["low"] > blob["high"]).sum(), "maps")

# %% [markdown]
# On the photos of LFW it is the same: averaged over fills, no map beats the Gaussian, neither for the score nor for $Q$. One fill disagrees: where SFace's pixels are replaced by the average face, the Gaussian's gain of $Q$ cannot be told from 0, and some maps are ahead of it. Part of the reason for the Gaussian's lead is grain. Single pixels of a gradient are noisy, and where every other pixel is left, a network still sees the face: the *pattern*, which is the same map smoothed, comes close to the Gaussian. The other part is probably the task: the middle of a crop *is* where a face is, and to lose a whole nose hurts more than to lose some of everything.
#
# ## Does any map tell what costs quality?
#
# It would have to be clearly ahead of the PLQ map for both networks, in both tests: where $Q$ falls when a patch is replaced, and the gain of $Q$.

# %%
tests = {"fall": "agreement", "gain of quality": "gain"}
clearly = {}
for name in models:
    ahead = [against(measure, "PLQ, signed", table)[name] for measure, table in tests.items()]
    first, second = (set(rows.index[rows["low"] > 0]) for rows in ahead)
    clearly[name] = first & second
    print(f"{name}: {'; '.join(sorted(clearly[name])) or 'none'}")
claim("No map is clearly ahead for both networks", not clearly["sface"] & clearly["facenet"])
claim(
    "For SFace the smoothed PLQ map, the smoothed gradient of Q, and occlusion are; for FaceNet Grad-CAM is",
    clearly["sface"] == {"PLQ, smoothed", "gradient of Q, smoothed", "occlusion, 49 places"}
    and clearly["facenet"] == {"Grad-CAM of Q"},
)

# %% [markdown]
# **So the question "which pixels cost quality?" is open**: none of our 23 maps answers it better than the PLQ map for both networks. That is why `explain` offers no other kind of map. To find out for one photo, replace its patches one by one: that is occlusion.
#
# ## Random weights
#
# Draw the weights of the network at random, from the head down, each layer with its own mean and standard deviation; biases stay. A map that does not change shows the photo, or the middle, or the architecture, but nothing that was learnt ([arXiv 1810.03292](https://arxiv.org/abs/1810.03292)).

# %%
from torch.nn.functional import avg_pool2d

from plqlite.experiments.faithfulness import randomised, similarity

kept, blurred = {}, {}
for name, model in models.items():
    image = faces[name][astronaut][None]
    before = saliency("signed")(model, image)[0].cpu()
    blurred[name, "trained"] = avg_pool2d(before[None], 4)[0]  # for the picture
    for stage, changed in randomised(model):
        after = saliency("signed")(changed, image)[0].cpu()
        kept[name, stage] = similarity(before, after)[0]
        blurred[name, stage] = avg_pool2d(after[None], 4)[0]

# %% jupyter={"source_hidden": true} tags=["hide-input"]
figure, axes = plt.subplots(3, 4, figsize=(9, 7.6), layout="constrained")
for name, half in zip(models, (axes[:, :2], axes[:, 2:])):
    stages = {stage: values for (model, stage), values in blurred.items() if model == name}
    for axis, (stage, values) in zip(half.flat, stages.items()):
        rho_of = "" if stage == "trained" else f": ρ = {kept[name, stage]:.1f}"
        drawn = draw_own_scale(axis, values, f"{name}, {stage}{rho_of}")
name_ends(figure, axes, drawn, "lowest saliency", "highest of each map")
describe(
    figure,
    "Saliency of the astronaut with trained weights, and with random ones in the head, and in a quarter, half, three "
    "quarters and all of the backbone: SFace's loses its shape, FaceNet's stays low near the edge.",
)
plt.show()

# %% [markdown]
# *For each network, first the saliency with trained weights; then with random weights in the head, and in more and more of the backbone.* SFace's map loses most of its order. FaceNet's keeps a ρ of about one half even with all weights random: it is more sensitive in the middle then, too, perhaps because more paths lead from there to the output. That much of its map needs no learnt weights. The *pattern*, which is smoothed, keeps more: 0.4 for SFace and 0.7 for FaceNet, on three photos of LFW.

# %%
claim(
    "The astronaut's map keeps a ρ below 0.4 for SFace, above 0.45 for FaceNet",
    kept["sface", "100 %"] < 0.4 < 0.45 < kept["facenet", "100 %"],
)
random = {name: read("sanity", model=name, stage="100 %", measure="rho") for name in models}
own = [random[name].loc["PLQ, signed"] for name in models]
claim(
    "On LFW it is below 0.4 for SFace and above 0.5 for FaceNet, each with its whole interval",
    own[0]["high"] < 0.4 < 0.5 < own[1]["low"],
)
print("pattern:", {name: f"{rows['mean']['pattern']:.1f}" for name, rows in random.items()})

# %% [markdown]
# ## Is the score right?
#
# Now the other half of the question: $Q$ itself. Quality is utility, so the test is whether a network makes fewer errors when the comparisons of the lowest quality are left out (Grother & Tabassi 2007; ISO/IEC 29794-1). `evaluate.py` compared 300 images with each other: 100 photos of LFW, and two worse versions of each, such as a blurred and a dark one, since press photos alone leave nothing to discard. A photo never meets a version of itself. A *genuine* pair shows one subject, an *impostor* pair two. A pair matches if its comparison score reaches a threshold: we take the one at which 1 % of the impostor pairs of the unaltered photos match (the false match rate, FMR). The curves show the share of the remaining genuine pairs that do *not* match (the false non-match rate, FNMR). The quality of a pair is the lower one of its two images, by one of these scores:

# %%
from plqlite.experiments.evaluation import SCORES

print("\n".join(f"{name}: {what}" for name, what in SCORES.items()))

# %%
discarding = {name: read("discard_curves", model=name, fmr=0.01) for name in models}
ends = {}
for name, rows in discarding.items():
    ours = rows[rows["score"] == "closed form"].set_index("discarded")
    ends[name] = ours["left"], ours["fnmr"]
pairs, _ = ends["sface"]
print("genuine pairs left:", ", ".join(f"{each} ({1 - share:.0%})" for share, each in pairs.items()))
for name, (pairs, fnmr) in ends.items():
    print(f"{name}: {pairs[0]} genuine pairs, {fnmr[0] * pairs[0]:.0f} errors; ", end="")
    print(f"in the better half: {pairs[0.5]} pairs, {fnmr[0.5] * pairs[0.5]:.0f} errors")

# %% jupyter={"source_hidden": true} tags=["hide-input"]
styles = {
    "closed form": ("C0", "o", "-"),
    "signal for noise": ("C1", "s", "-"),
    "norm": ("C2", "^", "--"),
    "mean P": ("C3", "v", "--"),
    "detector": ("C4", "D", "-."),
    "sharpness": ("C5", "x", "-."),
}
figure, axes = plt.subplots(1, 2, figsize=(9, 4.4), layout="constrained")
for axis, (name, rows) in zip(axes, discarding.items()):
    for score, (colour, marker, line) in styles.items():
        part = rows[rows["score"] == score]
        axis.plot(100 * part["discarded"], 100 * part["fnmr"], line, color=colour, marker=marker, label=score)
    axis.axhline(100 * rows["fnmr"].iloc[0], color="0.6", linestyle=":", label="random, on average")
    axis.set(title=f"{name}, FMR 1 %", xlabel="genuine pairs left out, %", ylabel="FNMR, %", ylim=(0, None))
figure.legend(*axes[0].get_legend_handles_labels(), ncols=4, loc="outside lower center")
describe(
    figure,
    "Error against the share of genuine pairs left out: with Q in closed form, SFace's error falls to 0 and FaceNet's "
    "to less than half; with sharpness it falls for neither, and with the norm for SFace alone.",
)
plt.show()

# %% [markdown]
# *The lower the better; dotted: what a random number does on average.* FaceNet makes many more errors than SFace. (SFace's errors are few, so its curves are coarse.) The mean over such a curve, as a part of the error without discarding, is the *partial area*: 1, on average, for a score that knows nothing.

# %%
claim(
    "Leaving out the half with the lowest Q removes all of SFace's errors, and more than halves FaceNet's rate",
    ends["sface"][1][0.5] == 0 and ends["facenet"][1][0.5] < 0.5 * ends["facenet"][1][0],
)


# %%
def areas(model, fmr=0.01):
    """The partial areas of all scores of one network, by limit, as text."""
    rows = read("discard_areas", model=model, fmr=fmr)
    parts = {f"to {limit:.0%}": part.set_index("score") for limit, part in rows.groupby("limit")}
    return pd.DataFrame({label: written(part, lowest=True) for label, part in parts.items()})


for name in models:
    display(Markdown(f"**{name}**\n\n{as_table(areas(name), 'score')}"))

# %% [markdown]
# *Partial areas up to 5, 20 and 50 % of the pairs left out, with 95 % intervals over subjects; the best in bold. Last row: the mean of 1000 random scores, and between what 95 % of them are.* $Q$ knows on which photos the network fails, whether masks are drawn or not. The *norm*, the length of the embedding before normalisation, costs nothing; it does as well for SFace, but shows no effect for FaceNet. The mean of the PLQ map comes close to $Q$, since $\hat S$ has $\hat Q$ as a factor, but for SFace its interval still contains 1.

# %%
area = {name: read("discard_areas", model=name, fmr=0.01, limit=0.5).set_index("score") for name in models}
ours = ["closed form", "sampled"]
claim(
    "To 50 %, the intervals of Q are below 1 for both networks, with masks or without",
    all(rows.loc[ours, "high"].max() < 1 for rows in area.values()),
)
claim(
    "… and its areas are smaller than those of 97.5 % of random scores",
    all(rows.loc[ours, "mean"].max() < rows.loc["random", "low"] for rows in area.values()),
)
claim(
    "With masks or without, the areas differ by less than 0.02",
    all(abs(rows.loc["closed form", "mean"] - rows.loc["sampled", "mean"]) < 0.02 for rows in area.values()),
)

# %%
plain = [rows.loc[["sharpness", "face size"]] for rows in area.values()]
claim(
    "Neither sharpness nor the size of the face can be told from 1",
    all((rows["low"] < 1).all() and (rows["high"] > 1).all() for rows in plain),
)
near = all(abs(rows.loc["mean P", "mean"] - rows.loc["closed form", "mean"]) < 0.1 for rows in area.values())
claim("The mean of the PLQ map is within 0.1 of Q", near)
above = {
    score: [name for name in models if area[name].loc[score, "high"] > 1] for score in ("mean P", "norm")
}
claim("Its interval reaches above 1 for SFace alone", above["mean P"] == ["sface"])
claim("The norm's does so for FaceNet alone", above["norm"] == ["facenet"])

# %% [markdown]
# ## Two claims that no picture shows
#
# §5.4 says two things about the maps as a whole.
#
# **More pixels of high quality do not mean a higher quality.** Count the pixels of each face whose saliency is above the median of all faces, and compare the count with $\hat Q$:

# %%
useful, scaled = {}, {}
for name, model in models.items():
    explanation = plqlite.explain(model, faces[name])
    median = explanation.saliency.median()
    useful[name] = (
        (explanation.saliency > median).float().mean((1, 2)).cpu()
    )  # share of the pixels of each face
    scaled[name] = explanation.scaled_quality.cpu()

# %% jupyter={"source_hidden": true} tags=["hide-input"]
figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained", sharey=True)
for axis, name, marker in zip(axes, models, "os"):
    axis.plot(100 * useful[name], scaled[name], marker)
    axis.set(title=name, xlabel="useful pixels, %", ylim=(0, 1))
axes[0].set_ylabel("scaled quality Q̂")
describe(
    figure,
    "Scaled quality of nine faces against their share of useful pixels, for SFace and for FaceNet: on the whole, both "
    "grow together, but there are pairs in which they do not.",
)
plt.show()

# %%
claims = pd.read_csv(RESULTS.parent / "claims.csv").set_index(["model", "measure"])
lows, highs = {}, {}
for reading in ("summed", "signed"):
    measure = f"pairs in which more useful pixels mean less Q̂, {reading}"
    pairs = [claims.loc[(name, measure)] for name in models]
    print(f"{reading}: more useful pixels, lower Q̂ in", " and ".join(f"{each['mean']:.0%}" for each in pairs))
    lows[reading], highs[reading] = min(each["low"] for each in pairs), max(each["high"] for each in pairs)
claim(
    "The interval of this share is above 20 % for both networks with summed, not for both with signed",
    lows["summed"] > 0.2 >= lows["signed"],
)
claim(
    "With summed, an interval reaches above 50 %, which is chance; with signed, none does",
    highs["summed"] > 0.5 >= highs["signed"],
)

# %% [markdown]
# *The picture: nine sample faces, by `signed`. The numbers: pairs of 74 photos of LFW, SFace first.* With `summed`, the reading of the authors' program, the claim is reproduced: in about two of five pairs the photo with more useful pixels has the lower quality, which can hardly be told from chance. But there the level of a map depends mostly on $\sum e$ ([08](08_exploding_gradients.ipynb)). With `signed`, $\hat Q$ is the main thing that moves the level ($\hat S$ has it as a factor, [02](02_quality_node.ipynb)), and less is left of the claim: a little less for SFace, much less for FaceNet. So it is partly a matter of the reading.
#
# **ArcFace's maps are more precise than FaceNet's.** That we cannot test: ArcFace's weights may not be passed on ([10](10_your_own_model.ipynb) has a cell for those who have them). Of our two, FaceNet's maps are the more precise: under the same squares of 30 pixels, the AUC of $1 - P$ on the photos of LFW is

# %%
for name in models:
    print(name, written(claims.loc[[(name, "AUC, 30 px")]]).iloc[0].strip("*"))
lowest, highest = claims.loc[("facenet", "AUC, 30 px"), "low"], claims.loc[("sface", "AUC, 30 px"), "high"]
claim("FaceNet's interval lies above SFace's", lowest > highest)

# %% [markdown]
# ## What follows
#
# - **A PLQ map shows what the embedding depends on, and little that a Gaussian in the middle would not.** For SFace its order is clearly better than the Gaussian's; for FaceNet only the smoothed map's is, and by little.
# - **It hardly shows what costs quality.** Its order says a little for SFace and nothing measurable for FaceNet, and no other map is clearly better for both networks in both tests. The name *pixel-level quality* promises more than that.
# - **What it is good for is comparison.** Compared with another map of the same subject, or with the maps of other subjects, it finds what is in front of a face ([04](04_inpainting.ipynb), [07](07_icao.ipynb)): there the middle cancels, since every face has it.
# - **The score is informative.** Leaving out what scores low leaves fewer errors, for both networks, and the closed form does as well as a hundred draws.
#
# All this is for two networks, ten subjects and one way of cropping. `data_scripts/evaluate.py` runs it on yours.
#
# ## The scorecard
#
# Every claim of the paper, and what became of it in these notebooks. The verdicts are computed from intervals; what counts as reproduced is our choice, and [docs/scorecard.md](../docs/scorecard.md) says it.

# %%
card = Path("../docs/scorecard.md").read_text("utf-8")
rows = [line for line in card.splitlines() if line.startswith("|")]
display(Markdown("\n".join(rows).replace("../notebooks/", "")))

# %% [markdown]
# ## Exercises
#
# Where an answer is a number, a list or a function, it checks itself: put it in place of `...` and run the cell.

# %% [markdown]
# ### Exercise 1 · Change a number (easy, 10 minutes)
#
# Slide a patch of 32 pixels instead of 16 over the astronaut (SFace, `patch=32`). Does her map $P$ agree better with the shift of the embedding? Does the Gaussian? And with the fall of $Q$?
#
# <details><summary>Hint</summary><code>intervene(models["sface"], faces["sface"][astronaut], average_of_others("sface", astronaut), patch=32)</code>, then <code>agreement</code>. The map is <code>maps["sface"]</code>, the Gaussian <code>centre(models["sface"], faces["sface"])[0]</code>.</details>

# %%
wider = ...  # ρ with the shift, for patches of 32 pixels: [of the map P, of the Gaussian]
check(wider, "9d656a6851aa", digits=2)

# %% [markdown]
# ### Exercise 2 · The area under a curve (easy, 15 minutes)
#
# Write a function that takes shares that are left out and the errors that remain, and returns the partial area: the mean error over these shares, as a part of the first one. Between two points the curve is a straight line; the points need not be equally far apart. Then apply it to the curves of $Q$ in `ends`. Do you get what the last column of the table says?
#
# <details><summary>Hint</summary><code>np.trapezoid</code> gives the area. What do you divide it by to get a mean, and what the mean, to get a part?</details>


# %%
def area_under(shares, errors):
    """The mean of the errors over the shares, as a part of the first error."""
    ...


check(area_under([0.0, 0.1, 0.3], [0.2, 0.1, 0.0]), "73475cb40a56", digits=2)

# %% [markdown]
# ### Exercise 3 · Who needs the photo? (medium, 25 minutes)
#
# Give each of the nine faces the mean of the maps of the other eight (SFace; take $\hat S$, `saliency("signed")`). How far does its ρ with the shift of the embedding fall behind that of the photo's own map, on average? Use 7×7 patches (`row=7`), replaced by the average of the other eight. And if all of them wear a scarf up to the nose, while mean map and average face are still those of the faces without?
#
# <details><summary>Hint</summary>A scarf: <code>scarf[:, :, 72:, :] = torch.tensor([130.0, 60.0, 60.0])[:, None, None]</code> in a copy of <code>faces["sface"]</code>. For each face, call <code>intervene</code> once, and compute the <code>agreement</code> of both maps with its effects.</details>

# %%
behind = ...  # own map less mean map, on average: [as they are, behind a scarf]
check(behind, "ad20437f190a", digits=2)

# %% [markdown]
# ### Exercise 4 · A score of your own (medium, 30 minutes)
#
# Make up embeddings: ten subjects on a sphere, six images of each, two of the six noisy. Compute the error-versus-discard curve of a score that knows the noise, of one that knows nothing, and of the reverse of the first. What are their partial areas?
#
# <details><summary>Hint</summary><code>plqlite.experiments.discard</code> has <code>all_pairs</code>, <code>threshold_at</code>, <code>error_versus_discard</code> and <code>partial_area</code>. Noise: normal, added to a random direction of 64 numbers, then normalised; a standard deviation of 0.25 for a noisy image, 0.02 for a good one.</details>

# %% [markdown]
# ### Exercise 5 · Prove it (hard, 20 minutes)
#
# A map is 1 in one half of the pixels, drawn at random, and 0 in the other; equal pixels are replaced in random order, drawn independently of the map. Show that its expected relevance gain is 0, for every measure and every fill that do not look at the map.
#
# <details><summary>Hint</summary>In what order are the pixels replaced, and in what order if the lowest come first? What is the distribution of each?</details>

# %% [markdown]
# Solutions: [solutions/11_faithfulness.ipynb](solutions/11_faithfulness.ipynb) · Back: [10](10_your_own_model.ipynb) · Next: [12 · How do I score a whole data set?](12_at_scale.ipynb)
