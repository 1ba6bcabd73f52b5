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
# To the exercises of [06 · Does its colour matter?](../06_mask_colours.ipynb)

# %%
import torch

import plqlite
from plqlite.disturb import COLOURS, skin_colour
from plqlite.experiment import cover, mask_experiment
from plqlite.measure import mean_over_identities, pixel_change

models = {"sface": plqlite.sface(), "facenet": plqlite.facenet()}
portraits = plqlite.sample_faces()
faces = {
    name: {person: plqlite.load_face(photo, model)[0] for person, photo in portraits.items()}
    for name, model in models.items()
}  # model -> person -> (3, H, W)
colours = COLOURS | {"skin": skin_colour}

# %% [markdown]
# ## 1. Other sizes
#
# It stays among the hardest: at both sizes skin is one of the two colours that FaceNet's map shows least.

# %%
table = mask_experiment(models["facenet"], faces["facenet"], [15, 45], colours, seeds=[0])
for size, group in table.groupby("size"):
    order = group.groupby("colour")["delta_p"].mean().sort_values()
    assert "skin" in order.index[:2]
    print(f"s = {size}: skin is among the two that hide best")


# %% [markdown]
# ## 2. Colour or edge?
#
# A square in the mean colour of what it covers has no contrast to its surroundings, but it has lost its texture. And yet the pixels lose quality: not the edge or the odd colour alone makes the patch, but what has gone.


# %%
def change(model, face, images, masks):
    """Δ_p of several masked versions of one face."""
    clean, masked = plqlite.explain(model, face[None]), plqlite.explain(model, torch.stack(images))
    return pixel_change(clean, masked, torch.stack(masks))


def repainted(face, person, paint, seed=0):
    """A face with the square of 30 pixels filled by paint(pixels under it (3, n)), and the mask."""
    _, mask = cover(face, person, 30, COLOURS["black"], seed)
    image = face.clone()
    image[:, mask] = paint(face[:, mask])
    return image, mask


def compare(paints):
    """Mean Δ_p over the nine faces and four places for each way to fill the square, for both models."""
    result = {}
    for name, model in models.items():
        for label, paint in paints.items():
            rows = [
                change(model, face, *zip(*(repainted(face, person, paint, seed) for seed in range(4))))
                for person, face in faces[name].items()
            ]  # (4,) of each person
            people = [person for person in faces[name] for _ in range(4)]
            result[name, label] = mean_over_identities(torch.cat(rows).tolist(), people)
    return result


means = compare({"mean colour": lambda pixels: pixels.mean(1, keepdim=True).expand_as(pixels)})
for (name, label), estimate in means.items():
    print(f"{name}, {label}: Δ_p = {estimate.mean:.1f}")
    assert estimate.low > 0

# %% [markdown]
# ## 3. Noise
#
# Noise is the easier to see. It hides what was there as well as grey does, and brings a texture that no face has.

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
# Those with a high $\hat Q$. $\Delta_p$ is a difference of levels, and a map that is red from the start has no level to lose: three of the nine faces make most of the mean. An interval from so few that count is itself unsure, whatever the bootstrap says.

# %%
table = mask_experiment(models["sface"], faces["sface"], [30], colours, range(4))
pairs = table.pivot(index=["identity", "seed"], columns="colour", values="delta_p")
others = pairs.drop(columns="skin").mean(axis=1) - pairs["skin"]
by_face = others.groupby("identity").mean()
best = table.groupby("identity")["quality"].first().nlargest(3).index
share = by_face[best].sum() / by_face.sum()
print(f"the three faces of the highest quality make more than half of the mean: {share > 0.5}")
assert share > 0.5
