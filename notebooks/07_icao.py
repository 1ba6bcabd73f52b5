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
# # 07 · Which rule does a passport photo break?
#
# | | |
# |---|---|
# | **Question** | Can a map tell the person in front of the camera *what* is wrong with the photo? |
# | **Outcome** | You can break 33 rules on any portrait, say which of them a map shows and which it does not, get advice in words with the numbers behind it, and check your own photos. |
# | **Time** | 20 minutes to read; under 60 seconds to run on two CPU cores |
# | **Paper** | §5.3, §8.4.2, Fig. 7, 8, 14, 15; needs [00](00_quickstart.ipynb); [04](04_inpainting.ipynb) and [05](05_random_masks.ipynb) help |
#
# The rules for passport photos (ICAO 9303) are there so that machines recognise the bearer. Whoever takes a photo that breaks one should learn which, and at once. The paper shows maps of 33 photos of one man, who breaks the rules on purpose. Those photos are private, so nobody can repeat it. Here everybody can: on a set simulated from a portrait in the public domain, and on photos of your own.

# %%
import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import display
from scipy.ndimage import binary_fill_holes

import plqlite
from plqlite.faces import REGIONS, face_regions, find_faces
from plqlite.icao import REFERENCE, WORN, align_violation, break_all, icao_experiment
from plqlite.measure import mean_over_identities, region_quality
from plqlite.saliency import region_levels, relative_level
from plqlite.show import draw_map
from plqlite.violations import VIOLATIONS, slots, violate

models = {"sface": plqlite.sface(), "facenet": plqlite.facenet()}
portraits = plqlite.sample_faces()

# %% [markdown]
# ## One portrait, 33 violations
#
# `violate` breaks one rule on a whole photo, placed by eyes, nose and mouth; `break_all` breaks them all. What can be put on is drawn; light, colour, lens and focus are computed; a turned head or a grimace is the photo itself, bent. That has limits. The light is a slope and casts no shadow, and a turned head shows no ear that the photo did not show.
#
# A face that has moved (pose, distortion) is looked for again, as it would be in a real photo; the others are aligned as the reference is, so that their maps can be compared pixel by pixel.

# %%
face, violations = break_all(portraits["astronaut"])
crops = {
    name: {slot: align_violation(model, each, face) for slot, each in violations.items()}
    for name, model in models.items()
}
explained, levels = {}, {}
for name, model in models.items():
    images = torch.stack([crop.image for crop in crops[name].values()])
    done = [plqlite.explain(model, batch, passes=None) for batch in images.split(12)]
    explained[name] = dict(zip(crops[name], torch.cat([each.plq for each in done]).cpu()))
    levels[name] = dict(zip(crops[name], torch.cat([relative_level(each.saliency) for each in done]).cpu()))

print(len(VIOLATIONS), "kinds,", len(slots()), "variants")
print("face lost:", [slot for slot, crop in crops["sface"].items() if not crop.found] or "never")

assert len(slots()) == 33


def coarse(plq):
    """P in blocks of 4×4 or so: single pixels are noisy, and a map is read by region."""
    return torch.nn.functional.adaptive_avg_pool2d(plq[None], 28)[0].numpy()


def sheet(*kinds):
    """Each variant of some kinds, and its maps by both networks."""
    names = [REFERENCE, *(slot for slot, (kind, _) in slots().items() if kind in kinds)]
    lines = -(-len(names) // 7)
    _, axes = plt.subplots(3 * lines, 7, figsize=(9, 4.1 * lines), dpi=60, layout="constrained")
    for axis in axes.flat:
        axis.set_axis_off()
    for number, slot in enumerate(names):
        line, column = divmod(number, 7)
        photo, *plq = axes[3 * line : 3 * line + 3, column]
        photo.imshow(crops["sface"][slot].image.permute(1, 2, 0).cpu() / 255)
        photo.set_title("\n".join(slots().get(slot, (slot, ""))), fontsize=10)
        for axis, name in zip(plq, models):
            draw_map(axis, coarse(explained[name][slot]))
    plt.show()


sheet(*WORN)

# %% [markdown]
# *In each block: what SFace sees, its map, and FaceNet's. Red: of no use for recognition.* Covered parts are red. With dark glasses or a mask the whole map sinks, for it is scaled by the quality.

# %%
for maps in explained.values():
    sunken = [slot for slot in maps if slot.startswith("face-mask") or slot == "glasses-dark"]
    assert all(maps[slot].mean() < maps[REFERENCE].mean() / 2 for slot in sunken)

sheet("colour", "illumination", "contrast")

# %% [markdown]
# *Colour, light and contrast. Colours hardly matter; where light is too strong, maps sink.*

# %%
sheet("blur", "distortion", "background", "pose", "expression")

# %% [markdown]
# *Camera, surroundings and person: maps sink as a whole, or do not.*
#
# ## The fall of the map
#
# A map that is red all over says that something is wrong, not where. For the *where*, take the level out, as in [04](04_inpainting.ipynb), and compare with the reference:
#
# $$F = \ell(I) - \ell(I'),\qquad \ell = \log\hat S - \text{mean of the better half of } \log\hat S$$
#
# on a grid of 28×28.


# %%
def falls(*names):
    """Photos that break a rule, and how far the map of each network has fallen where."""
    _, axes = plt.subplots(3, len(names), figsize=(9, 4), dpi=60, layout="constrained")
    for (photo, *maps), slot in zip(axes.T, names):
        photo.imshow(crops["sface"][slot].image.permute(1, 2, 0).cpu() / 255)
        photo.set_title("\n".join(slots()[slot]), fontsize=10)
        for axis, name in zip(maps, models):
            mask, size = crops[name][slot].mask, models[name].size
            fall = levels[name][REFERENCE] - levels[name][slot]
            axis.imshow(fall, cmap="RdBu_r", vmin=-1.5, vmax=1.5, extent=(0, size, size, 0))
            if mask is not None:
                axis.contour(mask.cpu(), levels=[0.5], colors="k", linewidths=0.7)
    for axis in axes.flat:
        axis.set_axis_off()
    plt.show()


chosen = ("headgear-beanie", "headgear-headscarf", "glasses-clear", "glasses-dark", "reflection-glasses")
falls(*chosen, "face-mask-blue", "blur-defocus")

# %% [markdown]
# *Red: fallen, blue: risen; black: what was touched. Middle: SFace, below: FaceNet.* FaceNet's map falls at glasses and mask, SFace's at the mask and only faintly at the glasses, and neither is sharp. Blur has no place.
#
# ## Nine faces, not one
#
# One portrait proves nothing. `icao_experiment` breaks all rules on all nine sample faces and measures, for each photo:
#
# - how far the quality falls, $\Delta_{\hat Q} = \hat Q(I) - \hat Q(I')$ (Eq. 8);
# - where a part of the image was touched: how well the fall of the map finds that part. The AUC of $F$ is the chance that a touched place has fallen more than another: 1 is perfect, ½ is chance.

# %%
rows = icao_experiment(list(models.values()), portraits)
people = {name: part for name, part in rows.groupby("model", sort=False)}
worn = {name: part[part["kind"].isin(WORN)] for name, part in people.items()}

_, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained", sharey=True)
for axis, (name, part) in zip(axes, people.items()):
    local = part[part["kind"].isin([*WORN, "expression"])]
    for line, (_, values) in enumerate(local.groupby("slot", sort=False)["auc"]):
        axis.plot(values, [line] * len(values), ".", color="0.6")
        axis.plot(values.mean(), line, "|", color="C3", markersize=14, markeredgewidth=2)
    axis.axvline(0.5, color="k", lw=0.7)
    axis.set(title=name, xlabel="AUC of the fall", xlim=(0, 1))
    axis.set_yticks(range(local["slot"].nunique()), local["slot"].unique(), fontsize=8)
axes[0].invert_yaxis()
plt.show()

# %% [markdown]
# *A dot for each face, red the mean.* Now the paper's findings, one by one.
#
# ### Occluded parts are low: reproduced
#
# Headgear, glasses, reflections and masks together:

# %%
for name, part in worn.items():
    mean = mean_over_identities(part["auc"], part["identity"])
    print(f"{name}: mean AUC {mean.mean:.1f} over {mean.count} images")
    assert mean.low > 0.7

# %% [markdown]
# ### Only the frame of glasses is low: reproduced in part
#
# Clear glasses: does the map fall on the frame more than behind the lenses? `region_levels` measures any region; here we hand it the frame and what the frame encloses.


# %%
def frame_and_lenses(model, photo, face):
    """How far the map falls on the frame and behind the lenses."""
    looks = [violate(photo, face.landmarks, "glasses", "clear", strength) for strength in (0, 1)]
    (clean, _, _), (broken, frame, _) = (align_violation(model, each, face) for each in looks)
    saliency = plqlite.explain(model, torch.stack([clean, broken]), passes=None).saliency
    lenses = torch.from_numpy(binary_fill_holes(frame.cpu())).to(frame.device) & ~frame
    before, after = region_levels(saliency, torch.stack([frame, lenses]))  # (2,) each
    return (before - after).tolist()


found = {person: find_faces(photo)[0] for person, photo in portraits.items()}
for name, model in models.items():
    drops = np.array([frame_and_lenses(model, portraits[each], found[each]) for each in portraits])  # (9, 2)
    higher = (drops[:, 0] > drops[:, 1]).sum()
    print(f"{name}: the frame falls more in {higher} of {len(drops)} faces")
    frame, lenses = drops.mean(axis=0)
    assert higher >= 8
    assert (0.2 if name == "sface" else 0.4) < lenses / frame < (0.45 if name == "sface" else 0.65)

# %% [markdown]
# The frame falls most. But the eyes behind the lenses, which are all but clear, fall too: about a third as far as the frame for SFace, and half as far for FaceNet.
#
# ### Robust to colour: reproduced
#
# Two numbers: the mean change of $\hat Q$, and how well the order of the places in the map is kept (Spearman's ρ with the map of the reference, mean over the nine faces).

# %%
kept = {name: part.groupby("slot")["kept"].mean() for name, part in people.items()}
fall = {name: part.groupby("kind")["delta_q"].mean() for name, part in people.items()}
colours = ["colour-cast", "colour-grey", "colour-saturated"]
for name in models:
    colour, mask = kept[name][colours].min(), kept[name]["face-mask-blue"]
    print(f"{name}: ρ at least {colour:.1f} for colour, {mask:.1f} for a face mask")
    assert colour > 0.9 > 0.87 > mask
    assert abs(fall[name]["colour"]) < 0.1

# %% [markdown]
# ### The lit side is lower than the shaded one: reproduced
#
# In z, the standard deviations from what is usual (explained below): do eye and cheek of the lit side fall behind those of the shaded side, against the reference of the same person?

# %%
for name, part in people.items():
    z = part.set_index(["slot", "image"])
    left, right = (z[[f"{side} eye", f"{side} cheek"]].mean(axis=1) for side in ("left", "right"))
    tilt = (left - right).unstack("slot")  # above 0: the left is the higher
    change = tilt[["illumination-left", "illumination-right"]].sub(tilt[REFERENCE], axis=0)
    lower = (change["illumination-left"] < 0).sum() + (change["illumination-right"] > 0).sum()
    print(f"{name}: the lit side falls behind in {lower / (2 * len(change)):.1f} of {2 * len(change)} photos")
    assert lower >= 14
    assert change["illumination-left"].mean() < -0.5 < 0.5 < change["illumination-right"].mean()

# %% [markdown]
# Why? One guess: overexposed skin is flat, and the shaded side, dark as it is, keeps its texture. Nothing here proves it.
#
# ### Small effects of background, low contrast and distortion: reproduced for the first, in part for the others

# %%
for name in models:
    assert abs(fall[name]["background"]) < 0.03
    assert kept[name]["background-busy"] > 0.97
    assert kept[name][["contrast-low", "distortion-barrel", "distortion-pincushion"]].min() > 0.85
    assert max(abs(fall[name]["contrast"]), abs(fall[name]["distortion"])) < 0.2
assert fall["facenet"]["distortion"] > 0.05 > -0.03 > fall["sface"]["distortion"]
costs = fall["facenet"]
print(f"FaceNet: a distortion costs {costs['distortion']:.1f} of Q̂, a face mask {costs['face mask']:.1f}")

# %% [markdown]
# A busy background changes nothing. Contrast and distortion leave the order of the map as it is, but a distortion does cost FaceNet some quality, and raises SFace's a little.
#
# ### Parts distorted by an expression are lower: hardly reproduced
#
# The AUC of the three expressions lies between ½ and 0.6, but for FaceNet's open mouth. Our grimaces are bent photos, with the texture of the face that was there before: to a network they may look less strange than the real ones in the paper.

# %%
for name, part in people.items():
    auc = part[part["kind"] == "expression"].groupby("slot")["auc"].mean()
    print(name, {slot.removeprefix("expression-"): round(value, 1) for slot, value in auc.items()})
    near = auc.drop("expression-open-mouth") if name == "facenet" else auc
    assert near.between(0.45, 0.65).all() and auc.max() < 0.8
assert auc["expression-open-mouth"] > 0.65  # FaceNet's

# %% [markdown]
# ### What costs most?
#
# The mean fall of $\hat Q$ for each kind, with its rank, and the interval over the nine people:

# %%
_, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained", sharex=True)
for axis, (name, part) in zip(axes, people.items()):
    table = {
        kind: mean_over_identities(values["delta_q"], values["identity"])
        for kind, values in part[part["kind"] != REFERENCE].groupby("kind")
    }
    ranked = sorted(table, key=lambda kind: -table[kind].mean)
    for rank, kind in enumerate(ranked, start=1):
        mean, low, high, _ = table[kind]
        axis.barh(rank, mean, color="C0" if mean > 0 else "C2", alpha=0.7)
        axis.plot([low, high], [rank, rank], color="k", lw=1)
        axis.text(0.62, rank, f"{mean:+.2f}", va="center", ha="right", fontsize=8)
    axis.set_yticks(range(1, 13), [f"{rank}. {kind}" for rank, kind in enumerate(ranked, 1)], fontsize=8)
    axis.set(title=name, xlabel="Δ of Q̂", xlim=(-0.25, 0.64))
    axis.invert_yaxis()
    axis.axvline(0, color="k", lw=0.7)
plt.show()

# %%
assert fall["sface"].idxmax() == "blur"
assert set(fall["facenet"].nlargest(2).index) == {"face mask", "blur"}
assert all(fall[name]["blur"] > 0.15 for name in models)
assert fall["facenet"]["face mask"] > 0.25 > 0.12 > fall["sface"]["face mask"]
for part in worn.values():
    assert part[part["kind"] == "face mask"]["auc"].mean() > 0.8

# %% [markdown]
# Blur costs both networks most or nearly so, and no part of the map shows it, for it is everywhere. A face mask costs FaceNet much and SFace little, though both see it in the map. So quality and map answer two questions, and advice needs both.
#
# ## Advice in words
#
# Eight regions, placed where an aligned face has its parts. For each, the mean level of the map, compared with 100 undisturbed faces:
#
# $$z_r = \frac{\ell_r - \mu_r}{\sigma_r}$$
#
# `data_scripts/calibrate.py` has measured $\mu_r$ and $\sigma_r$ on 100 LFW photos; the package carries them. Here is the rule, with one image:

# %%
model = models["sface"]
explanation = plqlite.explain(model, crops["sface"]["face-mask-blue"].image[None])
levels = region_levels(explanation.saliency, face_regions(model))[0].cpu()  # (8,)
by_hand = (levels - model.usual.region_mean) / model.usual.region_spread
z = region_quality(explanation, model)

torch.testing.assert_close(by_hand, torch.cat(list(z.values())).cpu())

# %% [markdown]
# `advise` names the regions below −3, the lowest first, says what that *may* mean, and where $Q$ lies among the 100 photos. It guesses no further: a low forehead is a low forehead, be it under a cap or a fringe.


# %%
def consult(name, image, title):
    """An image with its regions, their z, and the advice."""
    model = models[name]
    advice = plqlite.advise(model, image[None])
    _, (left, right) = plt.subplots(1, 2, figsize=(9, 2.2), width_ratios=(1, 3), dpi=68, layout="constrained")
    left.imshow(image.permute(1, 2, 0).cpu() / 255)
    for region, mask in zip(REGIONS, face_regions(model)):
        left.contour(mask, levels=[0.5], colors="r" if region in advice.unusual else "w", linewidths=0.8)
    left.set_axis_off()
    left.set_title(title, fontsize=9)
    low = ["C3" if region in advice.unusual else "0.6" for region in advice.regions]
    right.bar(list(advice.regions), list(advice.regions.values()), color=low)
    right.axhline(-3, color="C3", lw=0.8, ls="--")
    right.axhline(0, color="k", lw=0.7)
    right.tick_params(axis="x", labelsize=8)
    right.set(ylabel="z", ylim=(-10, 6))
    right.set_title(advice.text.replace("). May", ").\nMay"), fontsize=8, loc="left")
    plt.show()
    return advice


mask = consult("facenet", crops["facenet"]["face-mask-green"].image, "FaceNet: a face mask")
glare = consult("facenet", crops["facenet"]["reflection-glasses"].image, "FaceNet: a reflection")
blurred = consult("facenet", crops["facenet"]["blur-motion"].image, "FaceNet: motion blur")
plain = consult("facenet", crops["facenet"][REFERENCE].image, "FaceNet: the reference")

# %%
assert {"mouth", "chin"} <= set(mask.unusual)
assert "something in front of the lower face" in mask.text
assert glare.unusual[0] in ("left eye", "right eye")
assert blurred.unusual == [] and blurred.percentile < 5
assert plain.text.startswith("Nothing unusual")

# %% [markdown]
# ### How often is it right?
#
# **On the nine sample faces**, with the twelve things that can be put on: is the region with the lowest z one that is touched? (Touched: a tenth of it or more.) Two ways to guess without looking at the broken photo say what that is worth: always name the region that is touched most often, and name the lowest region of the *reference*.

# %%
for name, part in worn.items():
    right = np.array([row.lowest in row.touched for row in part.itertuples()])
    named = (part[list(REGIONS)].min(axis=1) < -3).to_numpy()
    always = max(np.mean([region in each for each in part["touched"]]) for region in REGIONS)
    before = people[name].query("slot == @REFERENCE").set_index("image")["lowest"]
    stale = np.mean([before[row.image] in row.touched for row in part.itertuples()])
    print(f"{name}: right in {right.mean():.1f} of {len(part)}; one region always: {always:.1f}")
    assert abs(right.mean() - {"sface": 0.79, "facenet": 0.87}[name]) < 0.04
    assert abs(stale - {"sface": 0.38, "facenet": 0.49}[name]) < 0.04
    assert 0.63 < always < 0.7
    assert 0.6 < named.mean() < 0.75
    assert right[named].mean() > 0.8 + 0.1 * (name == "facenet")

both = [row.lowest in row.touched for part in worn.values() for row in part.itertuples()]
assert np.mean(both) > 0.8
for part in worn.values():
    shine = part[part["slot"] == "reflection-skin"]
    assert np.mean([row.lowest in row.touched for row in shine.itertuples()]) < 0.5

# %% [markdown]
# We had aimed at 80 %. FaceNet reaches 87 %, SFace 79 %: the fringe of the astronaut is lower than most of what we put on her, and both networks mostly miss shine on the skin. Who always says "nose" is right in two thirds, for most of these things touch it; the lowest region of the reference is touched in 38 % (SFace) and 49 % (FaceNet). In a third of the images advice names no region at all; where it names one, the first is right in more than 80 % (SFace) and 90 % (FaceNet).
#
# **On 100 photos of LFW** (ten people with ten each) with one region covered by a block in one of the twelve colours of [06](06_mask_colours.ipynb), 800 images for each network, `python data_scripts/check_advice.py FOLDER` printed, with 95 % intervals over people. What is usual was learned from the *other* nine people:
#
# | | SFace | FaceNet |
# |---|---|---|
# | the lowest region is the covered one | 95 % [95, 96] | 98 % [97, 99] |
# | a region is named, and the first is the covered one | 83 % [80, 86] | 89 % [88, 91] |
# | of those where one is named, the first is right | 99 % [98, 100] | 100 % [99, 100] |
# | of a clean face, nothing is said | 92 % [85, 98] | 94 % [88, 99] |
#
# ### Real photos
#
# Of the nine undisturbed sample faces some are far from a passport photo. What does advice say?

# %%
clean = rows[rows["slot"] == REFERENCE].set_index(["model", "image"])
for name in models:
    for person, z in clean.loc[name, list(REGIONS)].iterrows():
        if z.min() < -3:
            print(f"{name}, {person}: {', '.join(z[z < -3].sort_values().index)}")

# %% [markdown]
# `group_2` and `group_5` are turned to the side, and SFace names the far eye and cheek. The astronaut is the fringe again. `group_1`, whom FaceNet names, has long hair beside the cheek; whether that is the reason, a map cannot say. The laughing face, `group_4`, is not named.
#
# Grace Hopper wears what we only draw:

# %%
hopper = {
    name: consult(name, plqlite.load_face(portraits["grace_hopper"], model)[0], f"{name}: glasses and a cap")
    for name, model in models.items()
}

# %%
lowest = {name: min(advice.regions, key=advice.regions.get) for name, advice in hopper.items()}
print(lowest)
assert lowest["sface"] == "forehead" and "eye" in lowest["facenet"]
assert all(advice.unusual == [] for advice in hopper.values())
assert hopper["facenet"].percentile < 5

# %% [markdown]
# SFace's lowest region is the forehead, under the cap, FaceNet's an eye, behind the glasses. Neither is below −3: that nothing is unusual does not mean that nothing is there. For FaceNet the photo as a whole is a poor one, and advice says so.
#
# ## Photo booth
#
# Your own photo: run the notebook, press the button (a phone offers its camera), and read. The photo stays on the machine that runs Python.


# %%
def booth():
    """A button for a photo, and under it map and advice of both networks."""
    upload = widgets.FileUpload(description="a photo", accept="image/*", multiple=False)
    report = widgets.Output()

    def develop(change):
        report.clear_output()
        with report:
            try:
                for name, model in models.items():
                    images = plqlite.load_face(bytes(change["new"][0]["content"]), model)
                    display(plqlite.show(images, plqlite.explain(model, images), [name]))
                    print(plqlite.advise(model, images).text)
            except (ValueError, OSError) as error:
                print(error)

    upload.observe(develop, "value")
    return widgets.VBox([upload, report])


booth()

# %% [markdown]
# For all 33 rules: `python data_scripts/check_own_photos.py FOLDER` prints what to shoot and how to name it, and judges what it finds. `python data_scripts/make_icao.py PHOTO` makes the simulated set from any portrait, with a contact sheet. `python -m plqlite PHOTO --advise` prints the advice.
#
# ## Exercises
#
# 1. **Change a number.** How strong must a defocus be? Plot $\hat Q$ of the astronaut against `strength` from 0 to 1, for both networks and for the clear glasses too.
# 2. **Judge against yourself.** The fringe misleads because `advise` compares with other people. Compare with the reference of the *same* person instead (z minus z of the reference). How often is the lowest region touched now?
# 3. **Draw the line elsewhere.** Name regions below −2 or −4 in place of −3. How many of the 108 images with something put on get a name, how many of those are right, and how many of the nine references are named?
# 4. **Break a rule of your own.** Write an effect that `violate` does not have: a black bar over the eyes, as newspapers print it. What does `advise` say?
#
# Solutions: [solutions/07_icao.ipynb](solutions/07_icao.ipynb) · Back: [06](06_mask_colours.ipynb) · Next: [08 · Why do some maps explode, and what cures it?](08_exploding_gradients.ipynb)
