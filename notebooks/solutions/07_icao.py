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
# # 07 · Solutions
#
# Solutions to the exercises of [07 · Which rule does a passport photo break?](../07_icao.ipynb)

# %%
import cv2
import matplotlib.pyplot as plt
import numpy as np
import torch

import plqlite
from plqlite.experiments.icao import WORN, align_simulated, touched_regions
from plqlite.experiments.noncompliance import NON_COMPLIANCES, Simulated, simulate
from plqlite.faces import REGIONS, largest_face
from plqlite.regions import region_z_scores

models = {"sface": plqlite.sface(), "facenet": plqlite.facenet()}
portraits = plqlite.sample_faces()
faces = {person: largest_face(photo) for person, photo in portraits.items()}

# %% [markdown]
# ## 1. How strong must it be?

# %%
strengths = np.linspace(0, 1, 9)
photo, face = portraits["astronaut"], faces["astronaut"]
names = {"defocus": "blur-defocus", "clear glasses": "glasses-clear"}
series = {
    label: [simulate(photo, face.landmarks, name, strength) for strength in strengths]
    for label, name in names.items()
}


def curve(model, simulated):
    """Return Q̂ of each photo of a series, in the closed form."""
    images = torch.stack([align_simulated(model, each, face).image for each in simulated])
    return plqlite.explain(model, images).scaled_quality.cpu().numpy()


curves = {
    name: {label: curve(model, simulated) for label, simulated in series.items()}
    for name, model in models.items()
}
_, axes = plt.subplots(1, 2, figsize=(8, 2.8), layout="constrained", sharey=True)
for axis, (name, lines) in zip(axes, curves.items()):
    for label, values in lines.items():
        axis.plot(strengths, values, ".-", label=label)
    axis.set(title=name, xlabel="strength", ylabel="Q̂", ylim=(0, 1))
axes[0].legend()
plt.show()

# %% [markdown]
# SFace's $\hat Q$ is mostly lost at half strength: a third of it is left. FaceNet still has most of its own there. With glasses, an eighth of the opacity does more than half of the harm to SFace, while FaceNet's $\hat Q$ even *rises* at first. Strength is a number of the simulation; how much harm it does depends on the network.

# %%
sface, facenet = curves["sface"], curves["facenet"]
assert 0.2 < sface["defocus"][4] / sface["defocus"][0] < 0.4
assert facenet["defocus"][4] > 0.7 * facenet["defocus"][0]
assert np.ptp(sface["clear glasses"][:2]) > 0.5 * np.ptp(sface["clear glasses"])
assert facenet["clear glasses"][1] > facenet["clear glasses"][0] > facenet["clear glasses"][8]

# %% [markdown]
# ## 2. Compare with yourself
#
# SFace gains: without the fringe, which is there before and after, it is right in 87 % instead of 79 % of the images, and half of the images gained are the astronaut's. FaceNet hardly changes. So for SFace an earlier photo of the same subject is a better reference than the average of other people. (Here the earlier photo is the same photo, which flatters it.)
#
# This takes only the reference and the twelve variants that cover a part of the face, little more than a third of what `icao_experiment` measures.

# %%
regions = list(REGIONS)
worn = [name for name, each in NON_COMPLIANCES.items() if each.kind in WORN]
photos = {
    person: [
        Simulated(photo, None, False),
        *(simulate(photo, faces[person].landmarks, name) for name in worn),
    ]
    for person, photo in portraits.items()
}  # the reference, then the twelve variants


def measure(model, person):
    """Return z of each region, (13, 8), and which regions are touched, (12, 8)."""
    crops = [align_simulated(model, each, faces[person]) for each in photos[person]]
    explanation = plqlite.explain(model, torch.stack([crop.image for crop in crops]))
    z = torch.stack(list(region_z_scores(explanation.saliency, model).values()), dim=1)
    touched = [np.isin(regions, touched_regions(model, crop.mask)) for crop in crops[1:]]
    return z.cpu().numpy(), np.array(touched)


def is_right(z, touched):
    """Return whether the lowest region is a touched one: (…, 8) -> (…)."""
    return np.take_along_axis(touched, z.argmin(axis=-1)[..., None], axis=-1)[..., 0]


z, touched = {}, {}
for name, model in models.items():
    z[name], touched[name] = map(np.stack, zip(*(measure(model, person) for person in portraits)))
    changed, references = z[name][:, 1:], z[name][:, :1]  # (9, 12, 8), (9, 1, 8)
    against_others, against_oneself = (
        is_right(changed, touched[name]),
        is_right(changed - references, touched[name]),
    )
    print(
        f"{name}: right against others {against_others.mean():.1f}, against oneself {against_oneself.mean():.1f}"
    )
    assert against_oneself.mean() - against_others.mean() > (0.05 if name == "sface" else -0.05)
    assert abs(against_oneself.mean() - 0.865) < 0.03
    if name == "sface":
        gained = against_oneself.sum(axis=1) - against_others.sum(axis=1)  # of each subject
        assert gained[list(portraits).index("astronaut")] >= gained.sum() / 2

# %% [markdown]
# ## 3. Draw the line elsewhere

# %%
lines = np.arange(-1.5, -5.1, -0.25)
shares = {}
for name in models:
    lowest, lowest_of_references = z[name][:, 1:].min(axis=-1), z[name][:, 0].min(axis=-1)  # (9, 12), (9,)
    right = is_right(z[name][:, 1:], touched[name])
    shares[name] = {
        "named": [(lowest < line).mean() for line in lines],
        "of these, right": [right[lowest < line].mean() for line in lines],
        "references named": [(lowest_of_references < line).mean() for line in lines],
    }
_, axes = plt.subplots(1, 2, figsize=(8, 2.8), layout="constrained", sharey=True)
for axis, (name, curves) in zip(axes, shares.items()):
    for label, values in curves.items():
        axis.plot(lines, values, ".-", label=label)
    axis.set(title=name, xlabel="name regions below", ylabel="share", ylim=(0, 1))
    axis.invert_xaxis()
axes[0].legend(loc="lower left", fontsize=8)
plt.show()

for curves in shares.values():
    at_2, at_4 = (list(lines).index(line) for line in (-2, -4))
    assert curves["named"][at_2] > 0.75 and curves["references named"][at_2] > 0.5
    assert 0.35 < curves["named"][at_4] < 0.5
    assert abs(curves["of these, right"][at_2] - curves["of these, right"][at_4]) < 0.08

# %% [markdown]
# At −2 a region is named in most of the images, but also in more than half of the references, which have nothing over the face: advice would cry wolf. At −4 more than half of the occluders go unnoticed. How often the first name is right hardly depends on the line. Where to draw it is a choice between two kinds of error, and it should be made by those who pay for them.
#
# ## 4. A black bar


# %%
def black_bar(photo, face):
    """Cover both eyes, as newspapers do."""
    left, right = face.landmarks[:2]
    across = right - left
    ends = [point.round().astype(int).tolist() for point in (left - 0.35 * across, right + 0.35 * across)]
    barred = cv2.line(photo.copy(), *ends, (0, 0, 0), int(0.45 * np.linalg.norm(across)))
    return Simulated(barred, (barred != photo).any(axis=2), moved=False)


barred = {person: black_bar(photo, faces[person]) for person, photo in portraits.items()}
noticed = {}
for name, model in models.items():
    images = {person: model.crop(each.photo, faces[person]) for person, each in barred.items()}
    advice = {
        person: plqlite.advise(model, plqlite.explain(model, image[None])) for person, image in images.items()
    }
    noticed[name] = sum("eye" in " ".join(each.low) for each in advice.values())
    print(f"{name}, astronaut: {advice['astronaut'].text.splitlines()[0].split('(')[0]}")
    _, axis = plt.subplots(figsize=(1.6, 1.6), dpi=75, layout="constrained")
    axis.imshow(images["astronaut"].permute(1, 2, 0).cpu() / 255)
    axis.set_axis_off()
    plt.show()

assert noticed["facenet"] >= 8
assert noticed["sface"] <= 4

# %% [markdown]
# For FaceNet, an eye is named in nearly all of the nine faces, for SFace only in a few. [05](../05_random_masks.ipynb) found the same for black squares: without the clean photo, SFace's map knows little of them. That advice finds nothing unusual is a statement about the map, not about the photo.
