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
# # 04 · Does repairing low-quality pixels raise the quality?
#
# | | |
# |---|---|
# | **Question** | Take away what the map calls low and fill in something ordinary. Is the image then of more use for recognition? |
# | **Outcome** | You can find what is in front of a face with its map, fill it in, say whether that helped beyond the noise, and say why nobody should enrol the result. |
# | **Time** | 15 minutes to read; one to one and a half minutes to run on two CPU cores |
# | **Paper** | §4.1, §5.1, Fig. 2, 3, 4, 10; needs [00](00_quickstart.ipynb); [01](01_ser_fiq.ipynb) and [03](03_saliency.ipynb) help |
#
# If a low pixel is one that harms recognition, then the image must improve when the low pixels go. The authors drew the low regions by hand. Here the map finds them by itself, and we know where the truth lies, for we put it there.

# %%
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

import plqlite
from plqlite.faces import find_faces
from plqlite.inpaint import (
    average_face,
    below_usual,
    biharmonic,
    inpaint,
    low_quality_region,
    mirror,
    navier_stokes,
    telea,
)
from plqlite.measure import mean_over_identities, share_positive
from plqlite.occluders import OCCLUDERS, occlude
from plqlite.repair import disc, inpainting_experiment, overlap, repair, verdict
from plqlite.saliency import relative_level
from plqlite.show import draw_map

models = {"sface": plqlite.sface(), "facenet": plqlite.facenet()}
portraits = plqlite.sample_faces()
found = {person: find_faces(photo)[0] for person, photo in portraits.items()}


def aligned(photo, person, model):
    """Align a photo as the clean photo of that person is aligned: (3, H, W)."""
    crop = model.align(photo, found[person], model.size)
    return torch.from_numpy(crop).permute(2, 0, 1).float().to(model.device)


clean = {
    name: {person: aligned(photo, person, model) for person, photo in portraits.items()}
    for name, model in models.items()
}  # model -> person -> (3, H, W)

# %% [markdown]
# ## Something in front of a face
#
# `occlude` draws on the whole photo, placed by eyes, nose and mouth, and returns a mask of what it has covered. The photo is then aligned as it was before.


# %%
def occluded(person, kind, model):
    """A face with something in front of it (3, H, W), and the true mask (H, W)."""
    photo, mask = occlude(portraits[person], found[person].landmarks, kind, seed=len(person))
    white = np.repeat(np.uint8(mask)[..., None] * 255, 3, axis=2)
    return aligned(photo, person, model), aligned(white, person, model)[0] > 127


def draw_face(axis, image, title=""):
    """One face, without axes."""
    axis.imshow(image.permute(1, 2, 0).cpu() / 255)
    axis.set_title(title, fontsize=9)
    axis.set_axis_off()


covered = {kind: occluded("astronaut", kind, models["sface"]) for kind in OCCLUDERS}
_, axes = plt.subplots(2, len(OCCLUDERS), figsize=(9, 2.9), dpi=65, layout="constrained")
for (above, below), (kind, (image, mask)) in zip(axes.T, covered.items()):
    draw_face(above, image, kind)
    below.imshow(mask.cpu(), cmap="gray")
    below.set_axis_off()
plt.show()

# %% [markdown]
# *Above: seven occluders. Below: what each covers.* They are drawn, not photographed, but the network need not know that.
#
# ## Lower than usual
#
# A map is low at the cheek of *every* face. What matters is whether it is lower than usual in that place. So we need to know what is usual: 100 undisturbed faces of LFW gave, for each network, the mean $\mu$ and the spread $\sigma$ of the level of $\log\hat S$ on a grid of 28×28 (`data_scripts/calibrate.py` computes them; the package carries them). Then
#
# $$b_p = \frac{\mu_p - \log \hat S_p}{\sigma_p}$$
#
# counts by how many standard deviations a pixel lies *below* the usual. The level is measured against the better half of the image, so $\hat Q$, which multiplies the whole map ([02](02_quality_node.ipynb)), cancels.

# %%
model, (image, truth) = models["sface"], covered["hair"]
explanation = plqlite.explain(model, image[None])
below = below_usual(explanation.saliency, model.usual)[0].cpu()
by_hand = (model.usual.mean - relative_level(explanation.saliency)[0].cpu()) / model.usual.spread
by_hand = torch.nn.functional.interpolate(by_hand[None, None], below.shape, mode="bilinear")[0, 0]
assert torch.allclose(below, by_hand, atol=1e-4)

# %% [markdown]
# The map says *where*, but not sharply: a gradient near an edge depends on both sides of it. The image knows the edges. GrabCut, the tool that cuts out objects in image editors, starts from the pixels that are 2.5 standard deviations low and takes in what looks like them; the largest piece is our region.

# %%
region = low_quality_region(explanation.saliency[0], image, model.usual)
_, axes = plt.subplots(1, 5, figsize=(9, 2.1), dpi=80, layout="constrained")
draw_face(axes[0], image, "image")
draw_map(axes[1], explanation.plq[0].cpu().numpy())
shown = axes[2].imshow(below, cmap="RdBu_r", vmin=-5, vmax=5)
plt.colorbar(shown, ax=axes[2])
axes[3].imshow(region.mask.cpu(), cmap="gray")
axes[4].imshow(truth.cpu(), cmap="gray")
for axis, title in zip(axes[1:], ("P", "below usual, σ", "found", "truth")):
    axis.set_title(title, fontsize=9)
    axis.set_axis_off()
plt.show()
print(f"intersection over union of found and true mask: {overlap(region.mask, truth):.1f}")
assert overlap(region.mask, truth) > 0.5

# %% [markdown]
# ## Fill it in
#
# An inpainter takes an image and a mask and returns an image. `mirror` looks at the other half of the face: if that is free, it is copied. Only what is masked on both sides is left to another method: Telea's, which carries colours inwards from the border, or the average of other faces. None of them needs trained weights. (With `lama` you can use a network.)

# %%
others = {
    name: {
        person: average_face(torch.stack([face for other, face in faces.items() if other != person]))
        for person in faces
    }
    for name, faces in clean.items()
}  # an average that holds the person herself would be a way to cheat
inpainters = {"telea": telea, "navier_stokes": navier_stokes, "biharmonic": biharmonic, "mirror": mirror}
inpainters["mirror and average"] = others["sface"]["astronaut"]


def gallery(kind):
    """Fill in the true mask with each inpainter, and write Q (closed form) above each image."""
    image, mask = covered[kind]
    filled = {name: inpaint(image, mask, each) for name, each in inpainters.items()}
    shown = {"clean": clean["sface"]["astronaut"], kind: image} | filled
    quality = plqlite.ser_fiq_closed_form(model, torch.stack(list(shown.values()))).tolist()
    _, axes = plt.subplots(1, 7, figsize=(9, 1.75), dpi=65, layout="constrained")
    for axis, (name, each), q in zip(axes, shown.items(), quality):
        draw_face(axis, each, f"{name}\nQ = {q:.3f}")
    plt.show()
    return dict(zip(shown, quality))


quality = {kind: gallery(kind) for kind in ("hair", "surgical mask")}

# %% [markdown]
# *Here the true mask is filled in, so that the inpainters can be compared. Half of the hair has a free counterpart, and mirroring mends it. The surgical mask covers both sides: Telea smears skin over the mouth, the average face puts in a mouth that is nobody's.*

# %%
hair, cloth = quality["hair"], quality["surgical mask"]
assert min(hair["mirror"], hair["mirror and average"]) > max(hair["hair"], hair["telea"]) + 0.01
assert cloth["mirror and average"] > max(cloth["surgical mask"], cloth["mirror"])

# %% [markdown]
# ## The whole workflow, before and after
#
# Fig. 2, 4 and 10: image, map, found region, filled image, and its map, for both networks.


# %%
def workflow(person, kinds):
    """A row for each network and occluder: from the image to the repaired image and its map."""
    _, axes = plt.subplots(2 * len(kinds), 5, figsize=(7, 2.9 * len(kinds)), dpi=65, layout="constrained")
    rows = iter(axes)
    for kind in kinds:
        for name, model in models.items():
            image, _ = occluded(person, kind, model)
            done = repair(model, image, others[name][person])
            pair = plqlite.explain(model, torch.stack([image, done.filled["low"]]))
            image_axis, map_axis, mask_axis, filled_axis, after_axis = next(rows)
            draw_face(image_axis, image, f"{name}: Q̂ = {pair.scaled_quality[0]:.2f}")
            draw_map(map_axis, pair.plq[0].cpu().numpy())
            mask_axis.imshow(done.mask.cpu(), cmap="gray")
            draw_face(filled_axis, done.filled["low"], f"filled: Q̂ = {pair.scaled_quality[1]:.2f}")
            draw_map(after_axis, pair.plq[1].cpu().numpy())
            for axis in (map_axis, mask_axis, after_axis):
                axis.set_axis_off()
    plt.show()


workflow("astronaut", ("hair", "scarf"))

# %% [markdown]
# *From left to right: image, $P$, found region, filled image, $P$. For SFace the hair is found and mended, and the map comes back. The other three rows show less of a success: a region in the wrong place, or a quality that falls or hardly rises. One person proves nothing, so we count.*

# %% [markdown]
# ## Many faces
#
# Nine people, seven occluders, two networks. Each face is filled in with its own mirror image and the average of the *other* eight. As controls the same number of pixels is filled in twice more, in a disc: at a random place, and where the map is *highest*. If the map means nothing, all three do the same.


# %%
def run(name, model):
    """Find, fill in and measure all faces with all occluders: the table, and the true masks."""
    tables, truths = [], {}
    for person in portraits:
        images = {f"{person}/{kind}": occluded(person, kind, model) for kind in OCCLUDERS}
        faces = {key: image for key, (image, _) in images.items()}
        truths |= {key: mask for key, (_, mask) in images.items()}
        tables.append(inpainting_experiment(model, faces, others[name][person], truths))
    table = pd.concat(tables, ignore_index=True)
    return table.assign(kind=table["image"].str.split("/").str[1]), truths


tables, truths = {}, {}
for name, model in models.items():
    tables[name], truths[name] = run(name, model)

# %% [markdown]
# ### Is the region the right one?
#
# Intersection over union (IoU): what found and true mask share, of what either of them covers. As chance we take a disc of the size of the *true* mask at a random place in the middle of the face.


# %%
def chance(truths):
    """IoU of true masks with discs of their size at random places."""
    rng, size = np.random.default_rng(0), next(iter(truths.values())).shape[-1]
    image = torch.zeros(3, size, size)
    places = rng.uniform(size / 4, 3 * size / 4, size=(len(truths), 2))
    discs = [disc(image, place, int(mask.sum())) for place, mask in zip(places, truths.values())]
    return np.array([overlap(found, mask.cpu()) for found, mask in zip(discs, truths.values())])


_, axes = plt.subplots(1, 2, figsize=(9, 2.8), layout="constrained", sharey=True)
for axis, (name, table) in zip(axes, tables.items()):
    by_chance = pd.Series(chance(truths[name])).groupby(table["kind"]).mean()
    means = table.groupby("kind")["iou"].mean()
    axis.barh(means.index, means, label="found")
    axis.plot(by_chance, by_chance.index, "k|", markersize=18, label="chance")
    axis.set(title=f"{name}, n = 9 for each kind", xlabel="mean IoU", xlim=(0, 1))
axes[1].legend(loc="lower right")
plt.show()

# %%
for name, table in tables.items():
    gain = mean_over_identities(table["iou"] - chance(truths[name]), table["identity"])
    missed = table["score"].isna().mean()
    ratio = table["iou"].mean() / chance(truths[name]).mean()
    assert ratio > {"sface": 2, "facenet": 3}[name]
    means = table.groupby("kind")["iou"].mean()
    assert means[["square", "hair"]].min() > 0.6
    assert means.idxmin() == "clear glasses"
    assert gain.low > 0.1
    assert missed < 0.2

# %% [markdown]
# *Far better than chance: more than twice as good for SFace, more than three times for FaceNet.* Squares and hair are found well by both. The thin frame of clear glasses is found worst, and SFace finds dark glasses no better than chance does. (Where nothing is unusually low, no region is returned, and its IoU counts as 0.)
#
# ### Does the quality rise?
#
# $Q$ by 100 dropout passes is noisy, so each image is measured with ten seeds. A change counts only if it is larger than the standard deviation over the seeds.


# %%
def sorted_quality(axis, rows, title):
    """Q before, sorted, with its noise; Q after; and how often it went up or down (Fig. 3)."""
    rows = rows.sort_values("sampled").reset_index(drop=True)
    said = verdict(rows)
    axis.errorbar(rows.index, rows["sampled"], rows["noise"], fmt="k.", label="before, ± noise")
    for word, colour in (("up", "tab:green"), ("within noise", "tab:grey"), ("down", "tab:red")):
        part = rows[said == word]
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
    """Both models, where a region was found."""
    _, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for axis, (name, table) in zip(axes, tables.items()):
        sorted_quality(axis, table[table["score"].notna()], name)
    plt.show()


figure_3(tables)

# %% [markdown]
# The closed form of [01](01_ser_fiq.ipynb) has no noise at all. With it, the three places:


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
# *Filling in the low region helps. As many pixels at a random place: nothing that could be told from zero for SFace, harm for FaceNet. Where the map is highest: harm for FaceNet, and for SFace most likely so.* In pairs, the same image each time, what is easy or hard about an image cancels, and the low region beats both controls for both networks:

# %%
for name, table in tables.items():
    rows = table[table["score"].notna()]
    said = verdict(rows)
    assert (said == "up").sum() > 2 * (said == "down").sum()
    assert estimates[name, "low"].low > 0 > estimates[name, "high"].mean
    for control in ("random", "high"):
        assert mean_over_identities(rows["low"] - rows[control], rows["identity"]).low > 0
assert estimates["facenet", "random"].high < 0 and estimates["facenet", "high"].high < 0
assert estimates["sface", "random"].low < 0 < estimates["sface", "random"].high

# %% [markdown]
# FaceNet gains less. One reason: what is in front of a face need not harm it. Compare the occluded images with the *clean* photo:

# %%
for name, table in tables.items():
    faces = torch.stack(list(clean[name].values()))
    before = dict(zip(clean[name], plqlite.ser_fiq_closed_form(models[name], faces).tolist()))
    rows = table[table["score"].notna()]
    harmed = rows["identity"].map(before) > rows["quality"]
    rise = (rows["low"] - rows["quality"]).groupby(harmed).mean()
    print(f"{name}: Q of the clean photo was higher in about {harmed.mean():.1f} of the images")
    assert rise[True] > rise[False]
assert rise[False] < 0  # FaceNet

# %% [markdown]
# *Where the occluder had lowered $Q$, filling in raises it more. Where it had not, there is nothing to repair, and for FaceNet filling in does harm.* (Part of this is bound to be so: the same $Q$ of the occluded image stands in both differences.)
#
# ## Nothing drawn: a cap and spectacles
#
# Grace Hopper wears a cap and glasses of her own. Does the map object to them? The threshold of 2.5 is a matter of taste, so look at $b$ itself.

# %%
_, axes = plt.subplots(1, 6, figsize=(9, 1.9), dpi=75, layout="constrained")
for (face_axis, below_axis, region_axis), (name, model) in zip(axes.reshape(2, 3), models.items()):
    image = clean[name]["grace_hopper"]
    saliency = plqlite.explain(model, image[None]).saliency
    region = low_quality_region(saliency[0], image, model.usual)
    draw_face(face_axis, image, name)
    below_axis.imshow(below_usual(saliency, model.usual)[0].cpu(), cmap="RdBu_r", vmin=-5, vmax=5)
    below_axis.set_title("below usual, ±5 σ", fontsize=9)
    region_axis.imshow(torch.zeros(image.shape[1:]) if region is None else region.mask.cpu(), cmap="gray")
    region_axis.set_title("none found" if region is None else "found", fontsize=9)
    below_axis.set_axis_off()
    region_axis.set_axis_off()
plt.show()

# %% [markdown]
# *Red: lower than usual. For SFace the region is the cap, and the glasses are nothing unusual. FaceNet finds a few pixels at the eyes, too few for a region.*

# %%
for name, model in models.items():
    image = clean[name]["grace_hopper"]
    saliency = plqlite.explain(model, image[None]).saliency
    region = low_quality_region(saliency[0], image, model.usual)
    below = below_usual(saliency, model.usual)[0]
    eyes = slice(round(0.35 * model.size), round(0.6 * model.size))  # rows
    assert (below[eyes] > 2.5).float().mean() < 0.03
    if name == "sface":
        assert below[eyes].max() < 1.5
        assert region.mask.nonzero()[:, 0].float().mean() < 0.2 * model.size  # at the upper border
    else:
        assert region is None

# %% [markdown]
# ## When it fails
#
# Two cases on our two portraits, each with the *true* mask, so that finding cannot be blamed.


# %%
def similarity(model, image, person):
    """Cosine similarity of an image (3, H, W) with the clean photo of a person."""
    first, second = model(torch.stack([image, clean[model.name][person]]))
    return float(first @ second)


def case(name, person, kind, inpainter):
    """Clean, occluded and filled in, with Q (closed form) and the similarity to the clean photo."""
    image, truth = occluded(person, kind, models[name])
    shown = {"clean": clean[name][person], kind: image, "filled": inpaint(image, truth, inpainter)}
    quality = plqlite.ser_fiq_closed_form(models[name], torch.stack(list(shown.values()))).tolist()
    likeness = [similarity(models[name], each, person) for each in shown.values()]
    figure, axes = plt.subplots(1, 3, figsize=(5, 2.1), dpi=65, layout="constrained")
    for axis, (label, each), q, cosine in zip(axes, shown.items(), quality, likeness):
        draw_face(axis, each, f"{label}\nQ = {q:.3f}, likeness {cosine:.2f}")
    figure.suptitle(name, fontsize=10)
    plt.show()
    return quality, likeness


no_eyes, _ = case("sface", "astronaut", "dark glasses", mirror)
no_gap, likeness = case("facenet", "grace_hopper", "hair", mirror)

# %% [markdown]
# *First: with dark glasses both eyes are covered, so there is no other half to copy from, and Telea's smear of skin is worse than the glasses. Second: here inpainting does what it should, the image comes nearer to the clean photo, and still $Q$ falls. For FaceNet the lock had raised $Q$ above that of the clean photo in the first place, as black masks at the border do ([05](05_random_masks.ipynb)): there was no harm to repair.*

# %%
assert no_eyes[2] < no_eyes[1] < no_eyes[0]
assert no_gap[0] < no_gap[1]
assert no_gap[2] < no_gap[1]
assert likeness[2] > likeness[1] + 0.02

# %% [markdown]
# ## Warning: inpainting invents a face
#
# <div style="border: 2px solid #b00; padding: 0.6em"><b>Do not enrol a face that has been filled in.</b> A higher quality says that the network is surer of what it sees. It does not say that it sees the person.</div>
#
# Look at the *likeness*, the similarity to the clean photo of the same person:

# %%
invented = {
    name: case(name, person, kind, others[name][person])
    for name, person, kind in (
        ("sface", "astronaut", "dark glasses"),
        ("facenet", "grace_hopper", "surgical mask"),
    )
}

# %% [markdown]
# *The average face has given both of them a new part of the face. The quality is back at nearly that of the clean photo, and the likeness is* lower *than with glasses or mask. What was filled in is a good face, and not theirs (§6 of the paper).*

# %%
for quality, likeness in invented.values():
    assert quality[1] < quality[2]
    assert abs(quality[2] - quality[0]) < 0.5 * abs(quality[1] - quality[0])
    assert likeness[2] < likeness[1] - 0.1

# %% [markdown]
# ## On 100 faces of LFW
#
# Nine faces are few. `python data_scripts/make_inpainted.py FOLDER --out OUT --occlude` does the same with any folder of photos. On 100 photos of LFW (ten people with ten each, seven occluders, drawn anew for each of the 700 images) it printed, with 95 % intervals over people:
#
# | | SFace | FaceNet |
# |---|---|---|
# | images with an unusually low region | 534 of 700 | 625 of 700 |
# | of these, $Q$ up beyond the noise | 79 % [76, 83] | 51 % [46, 55] |
# | of these, $Q$ down beyond the noise | 7 % [4, 11] | 24 % [20, 27] |
# | of all 700, $Q$ up, down | 60 % [56, 65], 6 % [3, 8] | 45 % [40, 50], 21 % [18, 24] |
# | mean change of $Q$ (closed form): low region | +0.0072 | +0.0026 |
# | as many pixels at random | −0.0006 | −0.0071 |
# | as many where the map is highest | −0.0085 | −0.0160 |
#
# The paper, with masks drawn by hand on 100 photos, found 65 % up and 15 % down for ArcFace, 69 % up and 5 % down for FaceNet. Our SFace reaches that where it finds a region, our FaceNet does not. With `mirror` alone, Telea where both halves are low, SFace's $Q$ goes up in 54 % [51, 58] of the 534 images and down in 23 % [20, 27]: most of the difference is the average face, and you have just seen what that is worth. (The usual map was learned on the same 100 photos, clean.)
#
# For other faces, or for photos that need no occluder because they are poor by themselves (the paper took VGGFace2), run the script, and set `PLQLITE_INPAINTED` to what it has written:

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
# 1. **Change a number.** How many of the nine clean faces have an unusually low region at thresholds of 1.5, 2, 2.5 and 3? What would you lose with a threshold of 4?
# 2. **Grow the mask.** GrabCut may leave a rim of the occluder. Dilate the found mask by two and by five pixels before filling in (SFace, hair and hand). Does $Q$ rise more?
# 3. **Another inpainter.** Repeat the comparison with Telea alone for SFace. How much of the gain was due to mirroring?
# 4. **Fool the quality.** Replace the *whole* face but a frame of ten pixels by the average of the other eight. What happens to $Q$, what to the likeness?
#
# Solutions: [solutions/04_inpainting.ipynb](solutions/04_inpainting.ipynb) · Back: [03](03_saliency.ipynb) · Next: [05 · Does a disturbance show up where it is?](05_random_masks.ipynb)
