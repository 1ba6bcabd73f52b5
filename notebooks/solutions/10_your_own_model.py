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
# Solutions to the exercises of [10 · How do I use another network?](../10_your_own_model.ipynb)

# %%
import copy
from dataclasses import replace

import torch
from torch import nn

import plqlite
from plqlite.faces import align_arcface, crop_box
from plqlite.lessons import check
from plqlite.networks.weights import SFACE, find_weights

portraits = plqlite.sample_faces()
sface, facenet = plqlite.sface(device="cpu"), plqlite.facenet(device="cpu")
faces = torch.cat([plqlite.load_face(photo, sface) for photo in portraits.values()])  # (9, 3, 112, 112)

# %% [markdown]
# ## 1. Split elsewhere
#
# The embeddings stay the same. With `bn1` the head is BatchNorm, Flatten, Gemm, BatchNorm: every part is affine, so the whole is. But dropout now sets values to 0 *before* the first BatchNorm, where 0 means something else. With `conv_14_relu`, one layer further up, the head begins with a PReLU and is no longer affine, so there is no closed form. $Q$ changes with the split, so the constants of one split are useless for another; that is why `calibrate` stores the split as well.

# %%
for split in (None, "bn1", "conv_14_relu"):
    model = plqlite.from_onnx(find_weights(SFACE), split=split, device="cpu")
    quality = plqlite.ser_fiq(model, faces).mean()
    print(f"split at {model.card['split']:<13} mean Q {quality:.2f}   {model.card['head']}")
    torch.testing.assert_close(model(faces), sface(faces), atol=1e-5, rtol=0)  # the embeddings stay the same

# %%
other = plqlite.from_onnx(find_weights(SFACE), split="bn1", device="cpu")
means = [plqlite.ser_fiq_closed_form(model, faces).mean().item() for model in (sface, other)]
fall = means[0] - means[1]
print(f"closed form: mean Q falls by {fall:.3f}")
check(fall, "86e501496586", digits=3)

# %% [markdown]
# ## 2. Another network, the same mistakes
#
# FaceNet was trained on loose crops without alignment. $Q$ reveals the crop that is far too wide, and nothing else: not the aligned crop of SFace, not blue first, not the range 0..1. Yet the embeddings have changed in every case. Only the comparison with a reference (here, the correct model) shows that.


# %%
def mistaken(model, **changes):
    """A copy of a model with some of its input conventions changed."""
    other = copy.copy(model)
    other.input = replace(model.input, **changes)
    return other


def wide(photo, face, size):
    """A crop of three times the width of the detector's box."""
    left, top, right, bottom = face.box
    larger = (2 * left - right, 2 * top - bottom, 2 * right - left, 2 * bottom - top)
    return crop_box(photo, face._replace(box=larger), size)


models = {
    "correct": facenet,
    "SFace's crop": mistaken(facenet, align=align_arcface),
    "wide crop": mistaken(facenet, align=wide),
    "blue first": mistaken(facenet, channels="BGR"),
    "range 0..1": mistaken(facenet, mean=0.0, std=255.0),
}
mean_quality, angle = {}, {}
reference = facenet(torch.cat([plqlite.load_face(photo, facenet) for photo in portraits.values()]))
for name, model in models.items():
    crops = torch.cat([plqlite.load_face(photo, model) for photo in portraits.values()])
    mean_quality[name] = plqlite.ser_fiq(model, crops).mean()
    agreement = (model(crops) * reference).sum(1).mean().clamp(max=1)
    angle[name] = agreement.arccos().rad2deg()
    print(f"{name:<12} mean Q {mean_quality[name]:.2f}   {angle[name]:2.0f}° from the reference")

assert angle["correct"] < 1 and min(value for name, value in angle.items() if name != "correct") > 15
assert all(
    abs(mean_quality[name] - mean_quality["correct"]) < 0.01
    for name in ("SFace's crop", "blue first", "range 0..1")
)
assert mean_quality["wide crop"] < mean_quality["correct"] - 0.02

angles = [angle[name].item() for name in models if name != "correct"]
check(angles, "9ded64e39ffa", digits=0)

# %% [markdown]
# ## 3. Take a module apart

# %%
network = facenet.backbone.module
print([name for name, _ in network.named_children()][-3:])
model = plqlite.from_module(network, "last_linear", 160, 127.5, 128.0, align=crop_box, device="cpu")
crops = torch.cat([plqlite.load_face(photo, model) for photo in portraits.values()])
assert torch.equal(model(crops), facenet(crops))
assert torch.equal(model.features(crops), facenet.features(crops))
print("the same features and embeddings")
widths = [model.features(crops).shape[1], model(crops).shape[1]]
check(widths, "a41b3b9d6301", digits=0)

# %% [markdown]
# ## 4. A head that is not affine
#
# `from_module` keeps the two layers as they are and says so on the card; `ser_fiq` draws its masks as before; the closed form is refused.


# %%
class Bent(nn.Module):
    """A linear layer followed by a Tanh."""

    def __init__(self):
        super().__init__()
        self.pool, self.fc, self.bend = nn.AvgPool2d(8), nn.Linear(3 * 14 * 14, 16), nn.Tanh()

    def forward(self, images):
        return self.bend(self.fc(self.pool(images).flatten(1)))


torch.manual_seed(0)
bent = plqlite.from_module(Bent(), "fc", size=112, device="cpu")
print("card:", bent.card["head"])
print(f"ser_fiq: {plqlite.ser_fiq(bent, faces).mean():.1f}")
try:
    plqlite.ser_fiq_closed_form(bent, faces)
except TypeError as error:
    print("closed form:", error)

# %% [markdown]
# ## 5. How much can you trust nine faces?
#
# $r$ seems hardly to move, by a few thousandths. But $Q$ has a narrow range, and what counts is $\alpha\,\Delta r$: near $\hat Q = 0.5$ the sigmoid turns a shift of $\Delta r$ into $\alpha\,\Delta r/4$. $\alpha$ is set by the faces farthest from the mean, and jumps when one of them is left out; but it only moves faces whose $\hat Q$ is neither near 0.5 nor near 0 or 1.

# %%
fits = [plqlite.calibrate(sface, torch.cat([faces[:i], faces[i + 1 :]])) for i in range(9)]
whole, quality = plqlite.calibrate(sface, faces), plqlite.ser_fiq(sface, faces)


def farthest(alphas, rs):
    """The farthest that Q̂ of any of the nine faces moves when the constants do."""
    scaled = torch.stack([plqlite.scale_quality(quality, alpha, r) for alpha, r in zip(alphas, rs)])
    return (scaled - plqlite.scale_quality(quality, whole.alpha, whole.r)).abs().max()


by_r = farthest([whole.alpha] * 9, [fit.r for fit in fits])
by_alpha = farthest([fit.alpha for fit in fits], [whole.r] * 9)
spread = max(fit.alpha for fit in fits) / min(fit.alpha for fit in fits)
print(f"α grows by a factor of up to {spread:.1f}, and moves Q̂ by up to {by_alpha:.2f}")
print(f"r moves Q̂ by up to {by_r:.2f}")
assert by_r > by_alpha
moves = [by_r.item(), by_alpha.item()]
check(moves, "e71bbe084274", digits=2)
