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
# # 04 · Does inpainting low-quality pixels raise the quality?
#
# | | |
# |---|---|
# | **Question** | Remove what the PLQ map marks as low and inpaint something ordinary. Is the image then more useful for recognition? |
# | **Outcome** | You can find an occluder with a PLQ map, inpaint it, say whether that raised the quality by more than the noise, and say why nobody should enrol the result. |
# | **Time** | 15 minutes to read; 78 seconds to run ([two CPU cores](../docs/times.csv)) |
# | **Paper** | §4.1, §5.1, Fig. 2, 3, 4, 10; needs [00](00_quickstart.ipynb); [01](01_ser_fiq.ipynb) and [03](03_saliency.ipynb) help |
#
# If low pixels harm recognition, then replacing them must improve the image. The authors marked the low regions by hand. Here the map finds them by itself, and we know where they should be, because we placed the occluders ourselves.

# %%
import os
import zlib
from functools import cache
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

import plqlite
from plqlite.experiments.inpainters import average_face, biharmonic, inpaint, mirror, navier_stokes, telea
from plqlite.experiments.inpainting import (
    disc,
    inpaint_low_region,
    inpainting_rows,
    iou,
    low_quality_region,
    verdict,
)
from plqlite.experiments.occluders import OCCLUDERS, occlude
from plqlite.experiments.statistics import mean_over_identities, share_positive
from plqlite.faces import largest_face
from plqlite.figures import draw_map
from plqlite.regions import deviation, relative_level

models = {"sface": plqlite.sface(), "facenet": plqlite.facenet()}
portraits = plqlite.sample_faces()
found = {person: largest_face(photo) for person, photo in portraits.items()}
clean = {
    name: {person: model.crop(photo, found[person]) for person, photo in portraits.items()}
    for name, model in models.items()
}  # model -> person -> (3, H, W)

# %% [markdown]
# ## Something in front of a face
#
# `occlude` draws an occluder on the whole photo, positioned by eyes, nose and mouth, and returns the *ground-truth mask*: which pixels it covers. Both are then aligned exactly as the clean photo is.


# %%
@cache
def occluded_photo(person, kind):
    """A photo with something in front of the face (H, W, 3), and the ground-truth mask (H, W)."""
    return occlude(portraits[person], found[person].landmarks, kind, seed=len(person))


def occluded(person, kind, model):
    """The same, aligned for a model: (3, H, W) and (H, W)."""
    photo, mask = occluded_photo(person, kind)
    return model.crop(photo, found[person]), model.crop_mask(mask, found[person])


def draw_face(axis, image, title=""):
    """Draw a face, without axes."""
    axis.imshow(image.permute(1, 2, 0).cpu() / 255)
    axis.set_title(title, fontsize=9)
    axis.set_axis_off()


covered = {kind: occluded("astronaut", kind, models["sface"]) for kind in OCCLUDERS}
_, axes = plt.subplots(2, len(OCCLUDERS), figsize=(9, 2.9), dpi=65, layout="constrained")
for (upper, lower), (kind, (image, mask)) in zip(axes.T, covered.items()):
    draw_face(upper, image, kind)
    lower.imshow(mask.cpu(), cmap="gray")
    lower.set_axis_off()
plt.show()

# %% [markdown]
# *Top: seven occluders. Bottom: their ground-truth masks.* They are drawn, not photographed, but the network need not know that.
#
# ## Lower than in clean faces
#
# A map is low at the cheeks of *every* face. What matters is whether it is lower there than the maps of other faces. So we need *reference statistics*: for each network, the mean $\mu$ and the standard deviation $\sigma$ of the level of $\log\hat S$ over 100 clean faces from LFW, on a grid of 28×28 cells (`data_scripts/calibrate.py` computes them; the package includes them). The **deviation** of a pixel from them is its z-score,
#
# $$z_p = \frac{\log \hat S_p - \mu_p}{\sigma_p}$$
#
# negative where the map is lower than in clean faces. The level is measured relative to the mean of the higher half of the grid, so $\hat Q$, which multiplies the whole map ([02](02_quality_node.ipynb)), cancels.

# %%
model, (image, true_mask) = models["sface"], covered["hair"]
explanation = plqlite.explain(model, image[None])
reference = model.reference_statistics
z = deviation(explanation.saliency, reference)[0].cpu()
by_hand = (relative_level(explanation.saliency)[0].cpu() - reference.level_mean) / reference.level_std
by_hand = torch.nn.functional.interpolate(by_hand[None, None], z.shape, mode="bilinear")[0, 0]
assert torch.allclose(z, by_hand, atol=1e-4)

# %% [markdown]
# The map shows *where*, but not sharply: the gradient near an edge depends on both sides of it. The image itself shows the edges. GrabCut, which image editors use to cut out objects, starts from the pixels with $z < -2.5$ and adds what looks like them; the largest connected piece is our region.

# %%
region = low_quality_region(explanation.saliency[0], image, model.reference_statistics)
_, axes = plt.subplots(1, 5, figsize=(9, 2.1), dpi=80, layout="constrained")
draw_face(axes[0], image, "image")
draw_map(axes[1], explanation.plq[0].cpu().numpy())
shown = axes[2].imshow(z, cmap="RdBu", vmin=-5, vmax=5)
plt.colorbar(shown, ax=axes[2])
axes[3].imshow(region.mask.cpu(), cmap="gray")
axes[4].imshow(true_mask.cpu(), cmap="gray")
for axis, title in zip(axes[1:], ("P", "deviation z", "found", "ground truth")):
    axis.set_title(title, fontsize=9)
    axis.set_axis_off()
plt.show()
print(f"IoU of the found region and the ground-truth mask: {iou(region.mask, true_mask):.1f}")
assert iou(region.mask, true_mask) > 0.5

# %% [markdown]
# ## Inpaint it
#
# An inpainter takes an image and a mask and returns an image. `mirror` copies from the other half of the face wherever that half is not masked. Only what is masked on both sides is left to another method: Telea's, which carries colours inwards from the border, or the average of other faces. None of them needs trained weights. (`lama` is a trained network, if you want one.)

# %%
others = {
    name: {
        person: average_face(torch.stack([face for other, face in faces.items() if other != person]))
        for person in faces
    }
    for name, faces in clean.items()
}  # to include the subject in the average would be cheating
inpainters = {"telea": telea, "navier_stokes": navier_stokes, "biharmonic": biharmonic, "mirror": mirror}
inpainters["mirror and average"] = others["sface"]["astronaut"]


def gallery(kind):
    """Inpaint the ground-truth mask with each inpainter, and write Q (closed form) above each image."""
    image, mask = covered[kind]
    shown = {"clean": clean["sface"]["astronaut"], kind: image}
    shown |= {name: inpaint(image, mask, each) for name, each in inpainters.items()}
    quality = plqlite.ser_fiq_closed_form(model, torch.stack(list(shown.values()))).tolist()
    _, axes = plt.subplots(1, 7, figsize=(9, 1.75), dpi=65, layout="constrained")
    for axis, (name, each), q in zip(axes, shown.items(), quality):
        draw_face(axis, each, f"{name}\nQ = {q:.3f}")
    plt.show()
    return dict(zip(shown, quality))


quality = {kind: gallery(kind) for kind in ("hair", "surgical mask")}

# %% [markdown]
# *Here the ground-truth mask is inpainted, so that only the inpainters differ. Half of the hair has a visible counterpart on the other side, and mirroring removes that half. The surgical mask covers both sides: Telea smears skin over the mouth; the average face adds a mouth that is nobody's.*

# %%
hair, cloth = quality["hair"], quality["surgical mask"]
assert min(hair["mirror"], hair["mirror and average"]) > max(hair["hair"], hair["telea"]) + 0.01
assert cloth["mirror and average"] > max(cloth["surgical mask"], cloth["mirror"])

# %% [markdown]
# ## The whole workflow, before and after
#
# As in Fig. 2, 4 and 10: image, map, found region, inpainted image and its map, for both networks.


# %%
def workflow(person, kinds):
    """Draw a row for each network and occluder: from the image to the inpainted image and its map."""
    _, axes = plt.subplots(2 * len(kinds), 5, figsize=(7, 2.9 * len(kinds)), dpi=65, layout="constrained")
    rows = iter(axes)
    for kind in kinds:
        for name, model in models.items():
            image, _ = occluded(person, kind, model)
            done = inpaint_low_region(model, image, others[name][person])
            pair = plqlite.explain(model, torch.stack([image, done.inpainted["low"]]))
            image_axis, map_axis, mask_axis, inpainted_axis, after_axis = next(rows)
            draw_face(image_axis, image, f"{name}: Q̂ = {pair.scaled_quality[0]:.2f}")
            draw_map(map_axis, pair.plq[0].cpu().numpy())
            mask_axis.imshow(done.mask.cpu(), cmap="gray")
            draw_face(inpainted_axis, done.inpainted["low"], f"inpainted: Q̂ = {pair.scaled_quality[1]:.2f}")
            draw_map(after_axis, pair.plq[1].cpu().numpy())
            for axis in (map_axis, mask_axis, after_axis):
                axis.set_axis_off()
    plt.show()


workflow("astronaut", ("hair", "scarf"))

# %% [markdown]
# *From left to right: image, $P$, found region, inpainted image, $P$. For SFace the hair is found and removed, and the map recovers. The other three rows are less successful: a region in the wrong place, or a quality that falls or hardly rises. One subject proves nothing, so we count.*

# %% [markdown]
# ## Many faces
#
# Nine subjects, seven occluders, two networks. Each face is inpainted from its own mirror image and the average of the *other* eight. As controls, a disc with the same number of pixels is inpainted in two other places: a random one, and the one where the map is *highest*. If the map meant nothing, all three would do the same.


# %%
def run(name, model):
    """Find, inpaint and measure all faces with all occluders: the table, and the ground-truth masks."""
    tables, true_masks = [], {}
    for person in portraits:
        inpainted = {}
        for kind in OCCLUDERS:
            key = f"{person}/{kind}"
            image, true_masks[key] = occluded(person, kind, model)
            seed = zlib.crc32(key.encode())  # another random place for each image
            inpainted[key] = inpaint_low_region(model, image, others[name][person], seed)
        tables.append(inpainting_rows(model, inpainted, true_masks, seeds=5))
    table = pd.concat(tables, ignore_index=True)
    return table.assign(kind=table["image"].str.split("/").str[1]), true_masks


tables, true_masks = {}, {}
for name, model in models.items():
    tables[name], true_masks[name] = run(name, model)

# %% [markdown]
# ### Is it the right region?
#
# Intersection over union (IoU): the number of pixels that the found and the ground-truth mask share, divided by the number that at least one of them covers. For chance level we take a disc of the size of the *ground-truth* mask at a random place in the middle of the face.


# %%
def chance(true_masks):
    """IoU of ground-truth masks with discs of the same size at random places."""
    masks = [mask.cpu() for mask in true_masks.values()]
    size = masks[0].shape[-1]
    places = np.random.default_rng(0).uniform(size / 4, 3 * size / 4, size=(len(masks), 2))
    discs = [disc(torch.zeros(3, size, size), place, int(mask.sum())) for place, mask in zip(places, masks)]
    return np.array([iou(each, mask) for each, mask in zip(discs, masks)])


_, axes = plt.subplots(1, 2, figsize=(9, 2.8), layout="constrained", sharey=True)
for axis, (name, table) in zip(axes, tables.items()):
    by_chance = pd.Series(chance(true_masks[name])).groupby(table["kind"]).mean()
    means = table.groupby("kind")["iou"].mean()
    axis.barh(means.index, means, label="found")
    axis.plot(by_chance, by_chance.index, "k|", markersize=18, label="chance")
    axis.set(title=f"{name}, n = 9 for each kind", xlabel="mean IoU", xlim=(0, 1))
axes[1].legend(loc="lower right")
plt.show()

# %%
for name, table in tables.items():
    gain = mean_over_identities(table["iou"] - chance(true_masks[name]), table["identity"])
    missed = table["score"].isna().mean()
    ratio = table["iou"].mean() / chance(true_masks[name]).mean()
    assert ratio > {"sface": 2, "facenet": 3}[name]
    means = table.groupby("kind")["iou"].mean()
    assert means[["square", "hair"]].min() > 0.6
    assert means.idxmin() == "clear glasses"
    assert gain.low > 0.1
    assert missed < 0.2

# %% [markdown]
# *Far better than chance: the mean IoU is more than twice as high for SFace, and more than three times for FaceNet.* Both find squares and hair well. The thin frames of clear glasses are found worst, and SFace finds dark glasses no better than chance. (Where less than a hundredth of the image is low, no region is returned, and its IoU counts as 0.)
#
# ### Does the quality rise?
#
# $Q$ from 100 dropout passes is noisy, so each image is measured with five seeds. A change counts only if it is larger than the standard deviation over the seeds.


# %%
def sorted_quality(axis, rows, title):
    """Draw Q before, sorted, with its noise; Q after; and how often it went up or down (Fig. 3)."""
    rows = rows.sort_values("sampled").reset_index(drop=True)
    verdicts = verdict(rows)
    axis.errorbar(rows.index, rows["sampled"], rows["noise"], fmt="k.", label="before, ± noise")
    for word, colour in (("up", "tab:green"), ("within noise", "tab:grey"), ("down", "tab:red")):
        part = rows[verdicts == word]
        axis.plot(
            part.index,
            part["sampled_low"],
            "o",
            color=colour,
            ms=4,
            label=f"after: {word} {len(part) / len(rows):.0%}",
        )
    axis.set(title=f"{title}, n = {len(rows)}", xlabel="images, sorted by Q", ylabel="Q")
    axis.legend(fontsize=8)


def figure_3(tables):
    """Draw both models, for the images where a region was found."""
    _, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for axis, (name, table) in zip(axes, tables.items()):
        sorted_quality(axis, table[table["score"].notna()], name)
    plt.show()


figure_3(tables)

# %% [markdown]
# The closed form of [01](01_ser_fiq.ipynb) has no noise at all. With it, the three places compare as follows:


# %%
def effects(tables):
    """Draw the mean change of Q (closed form) by place; return the estimates."""
    estimates = {}
    _, axes = plt.subplots(1, 2, figsize=(9, 2.4), layout="constrained", sharex=True)
    for axis, (name, table) in zip(axes, tables.items()):
        rows = table[table["score"].notna()]
        for place in ("low", "random", "high"):
            change = rows[place] - rows["quality"]
            estimates[name, place] = mean_over_identities(change, rows["identity"])
            mean, low, high, count = estimates[name, place]
            axis.errorbar(mean, place, xerr=[[mean - low], [high - mean]], fmt="o", capsize=3)
        axis.axvline(0, color="black", linewidth=1)
        axis.set(title=f"{name}, n = {count}", xlabel="mean change of Q, 95 % interval", ylim=(2.5, -0.5))
    plt.show()
    return estimates


estimates = effects(tables)

# %% [markdown]
# *Inpainting the low region helps. Inpainting as many pixels at a random place has no effect that can be told from zero for SFace, and does harm for FaceNet. Inpainting where the map is highest does harm for FaceNet, and most likely for SFace, too.* Compared in pairs, within the same image, what makes an image easy or hard cancels, and the low region beats both controls for both networks:

# %%
for name, table in tables.items():
    rows = table[table["score"].notna()]
    verdicts = verdict(rows)
    assert (verdicts == "up").sum() > 2 * (verdicts == "down").sum()
    assert estimates[name, "low"].low > 0 > estimates[name, "high"].mean
    for control in ("random", "high"):
        assert mean_over_identities(rows["low"] - rows[control], rows["identity"]).low > 0
assert estimates["facenet", "random"].high < 0 and estimates["facenet", "high"].high < 0
assert estimates["sface", "random"].low < 0 < estimates["sface", "random"].high

# %% [markdown]
# FaceNet gains less. One reason: an occluder need not lower the quality. Compare the occluded images with the *clean* photos:

# %%
for name, table in tables.items():
    faces = torch.stack(list(clean[name].values()))
    before = dict(zip(clean[name], plqlite.ser_fiq_closed_form(models[name], faces).tolist()))
    rows = table[table["score"].notna()]
    harmed = rows["identity"].map(before) > rows["quality"]
    rise = (rows["low"] - rows["quality"]).groupby(harmed).mean()
    print(f"{name}: share of images whose Q the occluder had lowered: about {harmed.mean():.1f}")
    assert rise[True] > rise[False]
assert rise[False] < 0  # FaceNet

# %% [markdown]
# *Where the occluder had lowered $Q$, inpainting raises it more. Where it had not, there is nothing to restore, and for FaceNet inpainting does harm.* (Part of this is inevitable: the $Q$ of the occluded image enters both differences.)
#
# ## Nothing drawn: a cap and glasses
#
# Grace Hopper wears a cap and glasses of her own. Does the map mark them as low? A threshold of 2.5 standard deviations is a matter of taste, so look at $z$ itself.

# %%
deviations, regions = {}, {}
_, axes = plt.subplots(1, 6, figsize=(9, 1.9), dpi=75, layout="constrained")
for (face_axis, z_axis, region_axis), (name, model) in zip(axes.reshape(2, 3), models.items()):
    image = clean[name]["grace_hopper"]
    saliency = plqlite.explain(model, image[None]).saliency
    deviations[name] = deviation(saliency, model.reference_statistics)[0].cpu()
    regions[name] = region = low_quality_region(saliency[0], image, model.reference_statistics)
    draw_face(face_axis, image, name)
    z_axis.imshow(deviations[name], cmap="RdBu", vmin=-5, vmax=5)
    z_axis.set_title("deviation z, −5 to 5", fontsize=9)
    region_axis.imshow(torch.zeros(image.shape[1:]) if region is None else region.mask.cpu(), cmap="gray")
    region_axis.set_title("none found" if region is None else "found", fontsize=9)
    z_axis.set_axis_off()
    region_axis.set_axis_off()
plt.show()

# %% [markdown]
# *Red: lower than in clean faces. For SFace the region is the cap; the glasses do not stand out. For FaceNet a few pixels near the eyes are low, too few for a region.*

# %%
for name, z in deviations.items():
    size = z.shape[-1]
    eyes = z[round(0.35 * size) : round(0.6 * size)]  # rows
    assert (eyes < -2.5).float().mean() < 0.03
    if name == "sface":
        assert eyes.min() > -1.5
        assert regions[name].mask.nonzero()[:, 0].float().mean() < 0.2 * size  # at the upper border
    else:
        assert regions[name] is None

# %% [markdown]
# ## When it fails
#
# Two cases on our two portraits, each with the *ground-truth* mask, so that the search for the region is not to blame. Besides $Q$ we need the *comparison score* of an image with the clean photo of the same person: the cosine of the two embeddings.


# %%
def case(name, person, kind, inpainter):
    """Draw clean, occluded and inpainted; return Q (closed form) and comparison score of each."""
    image, true_mask = occluded(person, kind, models[name])
    shown = {"clean": clean[name][person], kind: image, "inpainted": inpaint(image, true_mask, inpainter)}
    images = torch.stack(list(shown.values()))
    quality = plqlite.ser_fiq_closed_form(models[name], images).tolist()
    embeddings = models[name](images)
    scores = (embeddings @ embeddings[0]).tolist()
    figure, axes = plt.subplots(1, 3, figsize=(5, 2.3), dpi=65, layout="constrained")
    for axis, (label, each), q, score in zip(axes, shown.items(), quality, scores):
        draw_face(axis, each, f"{label}\nQ = {q:.3f}\ncomparison score {score:.2f}")
    figure.suptitle(name, fontsize=10)
    plt.show()
    return quality, scores


no_eyes, _ = case("sface", "astronaut", "dark glasses", mirror)
no_gap, scores = case("facenet", "grace_hopper", "hair", mirror)

# %% [markdown]
# *First: dark glasses cover both eyes, so there is no other half to copy from, and Telea's smear of skin is worse than the glasses. Second: here inpainting does what it should and brings the image closer to the clean photo, and still $Q$ falls. For FaceNet the strand of hair had raised $Q$ above that of the clean photo in the first place, as black masks at the border do ([05](05_random_masks.ipynb)), so there was no harm to undo.*

# %%
assert no_eyes[2] < no_eyes[1] < no_eyes[0]
assert no_gap[0] < no_gap[1]
assert no_gap[2] < no_gap[1]
assert scores[2] > scores[1] + 0.02

# %% [markdown]
# ## Warning: inpainting invents a face
#
# <div style="border: 2px solid #b00; padding: 0.6em"><b>Do not enrol an inpainted face.</b> A higher quality means that the network is surer of what it sees. It does not mean that it sees the person.</div>
#
# Look at the comparison scores with the clean photo of the same person:

# %%
invented = {
    name: case(name, person, kind, others[name][person])
    for name, person, kind in (
        ("sface", "astronaut", "dark glasses"),
        ("facenet", "grace_hopper", "surgical mask"),
    )
}

# %% [markdown]
# *The average face has given each of them a new part of the face. The quality is nearly back to that of the clean photo, and the comparison score is* lower *than with the glasses or the mask. What was inpainted is a good face, but not theirs (§6 of the paper).*

# %%
for quality, scores in invented.values():
    assert quality[1] < quality[2]
    assert abs(quality[2] - quality[0]) < 0.5 * abs(quality[1] - quality[0])
    assert scores[2] < scores[1] - 0.1

# %% [markdown]
# ## On 100 faces of LFW
#
# Nine faces are few. `python data_scripts/make_inpainted.py FOLDER --out OUT --occlude` does the same for any folder of photos, with ten seeds. For 100 photos from LFW (ten subjects with ten photos each, seven occluders, drawn separately for each of the 700 images) it printed, with 95 % intervals over subjects:
#
# | | SFace | FaceNet |
# |---|---|---|
# | images with a low region | 534 of 700 | 625 of 700 |
# | of these, $Q$ up by more than the noise | 79 % [76, 83] | 51 % [46, 55] |
# | of these, $Q$ down by more than the noise | 7 % [4, 11] | 24 % [20, 27] |
# | of all 700, $Q$ up, down | 60 % [56, 65], 6 % [3, 8] | 45 % [40, 50], 21 % [18, 24] |
# | mean change of $Q$ (closed form): low region | +0.0072 | +0.0026 |
# | as many pixels at a random place | −0.0006 | −0.0071 |
# | as many where the map is highest | −0.0085 | −0.0160 |
#
# The paper, with masks drawn by hand on 100 photos, found 65 % up and 15 % down for ArcFace, 69 % up and 5 % down for FaceNet. Our SFace reaches that where it finds a region; our FaceNet does not. With `mirror` alone, which leaves what is low on both sides to Telea, SFace's $Q$ goes up in 54 % [51, 58] of the 534 images and down in 23 % [20, 27]: most of the difference is due to the average face, and you have just seen what that is worth. (The reference statistics were computed from the same 100 photos, clean.)
#
# For other faces, or for photos that need no occluder because they are poor in themselves (the paper used VGGFace2), run the script and set `PLQLITE_INPAINTED` to the folder that it has written:

# %%
if "PLQLITE_INPAINTED" in os.environ:
    full = pd.read_csv(Path(os.environ["PLQLITE_INPAINTED"], "index.csv"))
    full = {name: rows.reset_index(drop=True) for name, rows in full.groupby("model")}
    _, axes = plt.subplots(1, len(full), figsize=(9, 3.6), layout="constrained", squeeze=False)
    for axis, (name, rows) in zip(axes[0], full.items()):
        sorted_quality(axis, rows[rows["score"].notna()], name)
        for word in ("up", "down"):
            print(name, word, share_positive(verdict(rows) == word, rows["identity"]))
    plt.show()
else:
    print("No inpainted set: run  python data_scripts/make_inpainted.py FOLDER --out data/inpainted  and set")
    print("PLQLITE_INPAINTED to its full path")

# %% [markdown]
# ## Exercises
#
# 1. **Change a number.** How many of the nine clean faces have a low region at thresholds of 1.5, 2, 2.5 and 3 standard deviations? What would you lose with a threshold of 4?
# 2. **Grow the mask.** GrabCut may leave a rim of the occluder. Dilate the found mask by two and by five pixels before inpainting (SFace, hair and hand). Does $Q$ rise more?
# 3. **Another inpainter.** Repeat the comparison with Telea alone for SFace. How much of the gain was due to mirroring?
# 4. **Fool the quality.** Replace the *whole* face except for a frame of ten pixels with the average of the other eight. What happens to $Q$, and what to the comparison score?
#
# Solutions: [solutions/04_inpainting.ipynb](solutions/04_inpainting.ipynb) · Back: [03](03_saliency.ipynb) · Next: [05 · Does a perturbation show up where it is?](05_random_masks.ipynb)
