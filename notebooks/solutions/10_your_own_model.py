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
# # 10 · Solutions
#
# To the exercises of [10 · How do I use another network?](../10_your_own_model.ipynb)

# %%
import copy

import torch
from torch import nn

import plqlite
from plqlite.faces import align_arcface, crop_box
from plqlite.weights import SFACE, find_weights

portraits = plqlite.sample_faces()
sface, facenet = plqlite.sface(), plqlite.facenet()
faces = torch.cat([plqlite.load_face(photo, sface) for photo in portraits.values()])  # (9, 3, 112, 112)

# %% [markdown]
# ## 1. Split elsewhere
#
# With `bn1` the head is BatchNorm, Flatten, Gemm, BatchNorm: every part is affine, so the whole is. But dropout now sets values to 0 *before* the first BatchNorm, and 0 means something else there. One layer further up, PReLU bends the head, and the closed form is gone. $Q$ changes with the split, so the constants of one split are useless for another; that is why `calibrate` stores the split, too.

# %%
for split in (None, "bn1", "conv_14_relu"):
    model = plqlite.from_onnx(find_weights(SFACE), split=split, check=False)
    quality = plqlite.ser_fiq(model, faces).mean()
    print(f"split at {model.card['split']:<13} mean Q {quality:.2f}   {model.card['head']}")
    torch.testing.assert_close(model(faces), sface(faces), atol=1e-5, rtol=0)  # the embeddings do not care

# %% [markdown]
# ## 2. Another network, the same mistakes
#
# FaceNet was trained on loose crops without alignment. It forgives the range of 0..1 and blue first, and hardly minds an aligned crop; $Q$ falls only where the crop is far too wide. That is no good news: the embeddings do change, and neither $Q$ nor a map will tell you.


# %%
def mistaken(model, **changes):
    """A copy of a model with some of its input conventions changed."""
    other = copy.copy(model)
    for name, value in changes.items():
        setattr(other, name, value)
    return other


def wide(photo, face, size):
    """A crop of three times the width of the detector's box."""
    left, top, right, bottom = face.box
    larger = (2 * left - right, 2 * top - bottom, 2 * right - left, 2 * bottom - top)
    return crop_box(photo, face._replace(box=larger), size)


models = {
    "right": facenet,
    "aligned": mistaken(facenet, align=align_arcface),
    "blue first": mistaken(facenet, channels="BGR"),
    "0..1": mistaken(facenet, mean=0.0, std=255.0),
    "wide crop": mistaken(facenet, align=wide),
}
mean_quality = {}
for name, model in models.items():
    crops = torch.cat([plqlite.load_face(photo, model) for photo in portraits.values()])
    mean_quality[name] = plqlite.ser_fiq(model, crops).mean()
    print(f"{name:<11} mean Q {mean_quality[name]:.2f}")

assert all(
    abs(mean_quality[name] - mean_quality["right"]) < 0.01 for name in ("aligned", "blue first", "0..1")
)
assert mean_quality["wide crop"] < mean_quality["right"] - 0.02

# %% [markdown]
# ## 3. Take a module apart

# %%
network = facenet.backbone.module
print([name for name, _ in network.named_children()][-3:])
model = plqlite.from_module(network, "last_linear", 160, mean=127.5, std=128.0, align=crop_box)
crops = torch.cat([plqlite.load_face(photo, model) for photo in portraits.values()])
assert torch.equal(model(crops), facenet(crops))
assert torch.equal(model.features(crops), facenet.features(crops))
print("the same features and embeddings")

# %% [markdown]
# ## 4. A head that is not affine
#
# `from_module` keeps the two layers as they are and says so in the card; `ser_fiq` draws its masks as before; the closed form is refused.


# %%
class Bent(nn.Module):
    """A linear layer with a Tanh behind it."""

    def __init__(self):
        super().__init__()
        self.pool, self.fc, self.bend = nn.AvgPool2d(8), nn.Linear(3 * 14 * 14, 16), nn.Tanh()

    def forward(self, images):
        return self.bend(self.fc(self.pool(images).flatten(1)))


torch.manual_seed(0)
bent = plqlite.from_module(Bent(), "fc", size=112)
print("card:", bent.card["head"])
print(f"ser_fiq: {plqlite.ser_fiq(bent, faces).mean():.1f}")
try:
    plqlite.ser_fiq_closed_form(bent, faces)
except TypeError as error:
    print("closed form:", error)

# %% [markdown]
# ## 5. How sure are nine faces?
#
# $r$ is a mean and moves little. $\gamma$ is a logarithm and moves little, too. $\alpha$ is set by the face that lies farthest from the mean, and when that one is left out, everything changes. The slope needs the most photos.

# %%
fits = [plqlite.calibrate(sface, torch.cat([faces[:i], faces[i + 1 :]])) for i in range(9)]
for name in ("r", "gamma", "alpha"):
    values = torch.tensor([getattr(fit, name) for fit in fits])
    print(f"{name:<6} moves by {(values.max() - values.min()) / values.mean():.0%} of its mean")
    moved = (values.max() - values.min()) / values.mean()
    assert (moved > 0.15) == (name == "alpha")
