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
# # 04 · Solutions
#
# Back to [04 · Does inpainting low-quality pixels raise the quality?](../04_inpainting.ipynb)

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.ndimage import binary_dilation

import plqlite
from plqlite.experiments.inpainters import average_face, inpaint, mirror, telea
from plqlite.experiments.inpainting import low_quality_region
from plqlite.experiments.occluders import OCCLUDERS, occlude
from plqlite.experiments.statistics import mean_over_identities
from plqlite.faces import largest_face

models = {"sface": plqlite.sface(), "facenet": plqlite.facenet()}
photos = {(person, "clean"): photo for person, photo in plqlite.sample_faces().items()}
found = {person: largest_face(photo) for (person, _), photo in photos.items()}
for person, face in found.items():
    for kind in OCCLUDERS:
        clean = photos[person, "clean"]
        photos[person, kind], _ = occlude(clean, face.landmarks, kind, seed=len(person))
images = {
    name: {(person, kind): model.crop(photo, found[person]) for (person, kind), photo in photos.items()}
    for name, model in models.items()
}  # model -> (person, kind) -> (3, H, W)
saliency = {
    name: {key: plqlite.explain(model, image[None]).saliency[0] for key, image in images[name].items()}
    for name, model in models.items()
}  # model -> (person, kind) -> (H, W)


def region_of(name, key, threshold=2.5):
    """The low region of an image of a model, or None."""
    reference = models[name].reference_statistics
    return low_quality_region(saliency[name][key], images[name][key], reference, threshold)


def quality(model, images):
    """Q (closed form) of a list of images (3, H, W), sixteen at a time: (N,)."""
    batches = torch.stack(images).split(16)
    return torch.cat([plqlite.ser_fiq_closed_form(model, batch) for batch in batches]).cpu().numpy()


# %% [markdown]
# ## 1. Change a number

# %%
thresholds, counts = (1.5, 2.0, 2.5, 3.0, 4.0), {}
for name in models:
    clean = [key for key in images[name] if key[1] == "clean"]
    occluded = [key for key in images[name] if key[1] != "clean"]
    counts[name] = [sum(region_of(name, key, each) is not None for key in clean) for each in thresholds]
    still_found = np.mean([region_of(name, key, 4.0) is not None for key in occluded])
    assert counts[name] == sorted(counts[name], reverse=True)
    assert counts[name][0] == 9
    assert counts[name][2] > 4.5
    assert still_found < 0.8
plt.figure(figsize=(5, 2.4), layout="constrained")
for name, values in counts.items():
    plt.plot(thresholds, values, "o-", label=name)
plt.xlabel("threshold, standard deviations")
plt.ylabel("clean faces with a region")
plt.ylim(0, 9.5)
plt.legend()
plt.show()

# %% [markdown]
# At 1.5, all nine clean faces have a region, and at 2.5 more than half of them still do. With 784 cells, some are low by chance. And these nine are not like the faces from LFW that the reference statistics were computed from: there are a cap, a grey photo and turned heads among them. Reference statistics describe the photos that you calibrate on. With a threshold of 4, no region would be found in more than a fifth of the *occluded* faces.
#
# ## 2. Grow the mask

# %%
sface, faces = models["sface"], images["sface"]
regions = {key: region_of("sface", key) for key in faces if key[1] != "clean"}
regions = {key: region for key, region in regions.items() if region is not None}
before = dict(zip(regions, quality(sface, [faces[key] for key in regions])))


def rises(keys, inpainter, grow=0):
    """How much Q rises if the low region of each image, grown by some pixels, is inpainted: (N,)."""
    inpainted = []
    for key in keys:
        mask = regions[key].mask.cpu().numpy()
        mask = torch.from_numpy(binary_dilation(mask, iterations=grow) if grow else mask)
        inpainted.append(inpaint(faces[key], mask.to(sface.device), inpainter))
    return quality(sface, inpainted) - [before[key] for key in keys]


keys = [key for key in regions if key[1] in ("hair", "hand")]
gains = {grow: rises(keys, mirror, grow) for grow in (0, 2, 5)}
plt.figure(figsize=(5, 2.6), layout="constrained")
plt.boxplot(list(gains.values()), tick_labels=[f"{grow} pixels" for grow in gains])
plt.axhline(0, color="black", linewidth=1)
plt.ylabel("rise of Q")
plt.show()

# %%
further = {grow: gains[grow] - gains[0] for grow in (2, 5)}
two = mean_over_identities(further[2], [person for person, _ in keys])
assert two.low > 0
assert two.mean < 0.3 * np.mean(gains[0])
assert np.std(further[5]) > 1.5 * np.std(further[2])

# %% [markdown]
# Yes, if you compare in pairs: growing the mask by two pixels raises $Q$ further, though by little compared with what inpainting itself did. Five pixels help some images more and harm others, because good skin is lost, too. The box plot alone, which mixes the differences between images with those between masks, would not have told you.
#
# ## 3. Another inpainter

# %%
with_mirror, with_telea = (rises(regions, inpainter).mean() for inpainter in (mirror, telea))
assert with_mirror > 0.002
assert with_telea < 0.5 * with_mirror

# %% [markdown]
# Most of it: with Telea alone, the mean rise of $Q$ is less than half as large. A smooth patch hides the occluder, but there is nothing in it to recognise.
#
# ## 4. Fool the quality

# %%
clean = {person: image for (person, kind), image in faces.items() if kind == "clean"}
inside = torch.zeros(112, 112, dtype=torch.bool, device=sface.device)
inside[10:-10, 10:-10] = True
before, after, scores = [], [], []
for person, face in clean.items():
    others = average_face(torch.stack([each for name, each in clean.items() if name != person]))
    pair = torch.stack([face, inpaint(face, inside, others)])
    q = plqlite.ser_fiq_closed_form(sface, pair)
    first, second = sface(pair)
    before.append(q[0].item())
    after.append(q[1].item())
    scores.append(float(first @ second))
print(f"comparison score with the clean photo: at most {max(scores):.1f}")
assert np.mean(after) > np.mean(before)
assert max(scores) < 0.5

# %% [markdown]
# $Q$ *rises* on average, and the person is gone. To the network, the average of eight faces is a better face than most: frontal, evenly lit, with nothing in front of it. Quality tells how sure a network is. It does not tell whom the image shows.
