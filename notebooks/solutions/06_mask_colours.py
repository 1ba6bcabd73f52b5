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
# # 06 · Solutions
#
# Solutions to the exercises of [06 · Does its colour matter?](../06_mask_colours.ipynb)

# %%
import torch

import plqlite
from plqlite.experiments.masks import COLOURS, cover, mask_experiment, skin_colour
from plqlite.experiments.statistics import mean_over_identities, pixel_change
from plqlite.lessons import check

models = {"sface": plqlite.sface(), "facenet": plqlite.facenet()}
portraits = plqlite.sample_faces()
faces = {
    name: {person: plqlite.load_face(photo, model)[0] for person, photo in portraits.items()}
    for name, model in models.items()
}  # model -> person -> (3, H, W)
colours = COLOURS | {"skin": skin_colour}

# %% [markdown]
# ## 1. Change a number
#
# It remains among the hardest: at both sizes, skin is one of the two colours that FaceNet's map shows least. The other is orange, which has the hue of skin.

# %%
hardest = []
table = mask_experiment(models["facenet"], faces["facenet"], [15, 45], colours, seeds=[0])
for size, group in table.groupby("size"):
    order = group.groupby("colour")["delta_p"].mean().sort_values()
    hardest.append(set(order.index[:2]))
    print(f"s = {size}: the hardest to find are {' and '.join(sorted(hardest[-1]))}")
assert hardest == [{"skin", "orange"}] * 2
(other,) = hardest[0] - {"skin"}
check(other, "1b4c9133da73")

# %% [markdown]
# ## 2. Colour or edge?
#
# A square in the mean colour of what it covers has hardly any contrast with its surroundings; all it has lost is its texture. And yet the pixels lose quality, by 0.22 for SFace and 0.15 for FaceNet, about as much as under skin. So the patch in the map is not due to the edge or the odd colour alone: what has gone matters too.


# %%
clean = {
    (name, person): plqlite.explain(model, face[None])
    for name, model in models.items()
    for person, face in faces[name].items()
}


def repainted(face, person, paint, seed):
    """Fill the square of 30 pixels on a face with paint(pixels under it (3, n)): image and mask."""
    _, mask = cover(face, person, 30, COLOURS["black"], seed)
    image = face.clone()
    image[:, mask] = paint(face[:, mask])
    return image, mask


def change(name, person, paint):
    """Return Δ_p for four places on one face, (4,)."""
    images, masks = zip(*(repainted(faces[name][person], person, paint, seed) for seed in range(4)))
    masked = plqlite.explain(models[name], torch.stack(images))
    return pixel_change(clean[name, person], masked, torch.stack(masks))


def compare(paints):
    """Return the mean Δ_p over nine faces and four places for each way to fill the square, for both models."""
    subjects = [person for person in portraits for _ in range(4)]
    result = {}
    for name in models:
        for label, paint in paints.items():
            changes = torch.cat([change(name, person, paint) for person in portraits])  # (36,)
            result[name, label] = mean_over_identities(changes.tolist(), subjects)
    return result


# %%
means = compare({"mean colour": lambda pixels: pixels.mean(1, keepdim=True).expand_as(pixels)})
for (name, label), estimate in means.items():
    excluded = "excludes" if estimate.low > 0 else "includes"
    print(f"{name}, {label}: Δ_p {estimate.mean:.2f}; its interval {excluded} zero")
    assert estimate.low > 0 and 0.1 < estimate.mean < 0.3
falls = [estimate.mean for estimate in means.values()]
check(falls, "ec4ea764e22c", digits=2)

# %% [markdown]
# ## 3. Noise
#
# Noise is easier to see. It hides what was there just as well as grey does, and adds a texture that no face has.

# %%
generator = torch.Generator().manual_seed(0)
kinds = compare(
    {
        "noise": lambda pixels: 255 * torch.rand(pixels.shape, generator=generator).to(pixels),
        "grey": lambda pixels: torch.full_like(pixels, 127.5),
    }
)
for name in models:
    print(f"{name}: noise over grey {kinds[name, 'noise'].mean / kinds[name, 'grey'].mean:.1f}")
    assert kinds[name, "noise"].mean > kinds[name, "grey"].mean

# %% [markdown]
# ## 4. Who decides?
#
# No single face does. In all nine, the other colours change the map more than skin does. The two largest differences, of the astronaut and of `group_4`, make up 37 % of the sum; two of nine equal ones would make up 22 %. $\Delta_p$ is a difference of levels, and a map that is low from the start has little to lose: if $\hat Q$ were near zero for most of the faces, the few others would decide the mean, and its interval would be uncertain, whatever the bootstrap says. Look at this before you trust a mean of $\Delta_p$.

# %%
table = mask_experiment(models["sface"], faces["sface"], [30], colours, range(3))
pairs = table.pivot(index=["identity", "seed"], columns="colour", values="delta_p")
others = pairs.drop(columns="skin").mean(axis=1) - pairs["skin"]
by_face = others.groupby("identity").mean()
share = by_face.nlargest(2).sum() / by_face.sum()
print(f"the two largest of nine make up {share:.2f} of the sum; all are above zero: {by_face.min() > 0}")
check(share, "7a61b53701be", digits=2)
assert by_face.min() > 0.02
assert set(by_face.nlargest(2).index) == {"astronaut", "group_4"}
assert 0.3 < share < 0.45
