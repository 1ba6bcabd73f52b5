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
# # 01 · Solutions
#
# Solutions to the exercises of [01 · How good is an image for this network?](../01_ser_fiq.ipynb)

# %%
import torch
from scipy.stats import spearmanr
from torchvision.transforms.functional import gaussian_blur, resize

import plqlite
from plqlite.lessons import check
from plqlite.quality import closed_form_quality

sface = plqlite.sface()
faces = torch.cat(
    [plqlite.load_face(photo, sface) for photo in plqlite.sample_faces().values()]
)  # (9, 3, 112, 112)
features = sface.features(faces)  # (9, 50176)

# %% [markdown]
# ## 1. The dropout rate
#
# The more features are dropped, the wider the cloud: $Q$ falls for every face. The order of the faces hardly changes, because the rate enters the closed form nearly as one common factor, $\frac{p}{1-p}$.

# %%
by_rate = {p: closed_form_quality(sface.head, features, p) for p in (0.1, 0.3, 0.5, 0.7, 0.9)}
for p, quality in by_rate.items():
    order = spearmanr(quality, by_rate[0.5]).statistic
    print(
        f"p = {p}: astronaut Q = {quality[0]:.2f}, rank correlation with p = 0.5 over nine faces {order:.1f}"
    )
    assert order > 0.9

assert (torch.stack(list(by_rate.values())).diff(dim=0) < 0).all()
ends = [by_rate[0.1][0], by_rate[0.9][0]]
check(ends, "855662105786", digits=2)

# %% [markdown]
# ## 2. A worse image
#
# Losing resolution costs by far the most; halving the light costs SFace next to nothing. FaceNet's $Q$ even *rises* with less light and with noise, as it does for most photos of the development set.


# %%
def worse_versions(face):
    """Return an image (1, 3, H, W) as it is, and in three worse versions, (4, 3, H, W)."""
    noise = 20 * torch.randn(face.shape, generator=torch.Generator().manual_seed(0))
    small = resize(face, [28, 28], antialias=True)
    enlarged = resize(small, list(face.shape[2:]), antialias=True)
    return torch.cat([face, face / 2, (face + noise).clamp(0, 255), enlarged.clamp(0, 255)])


names = ("as it is", "half the light", "noise of 20 grey levels", "28 pixels and back")
facenet = plqlite.facenet()
quality = {}
for model in (sface, facenet):
    versions = worse_versions(plqlite.load_face(plqlite.sample_faces()["astronaut"], model))
    quality[model.name] = plqlite.ser_fiq_closed_form(model, versions)
for name, of_sface, of_facenet in zip(names, *quality.values()):
    print(f"{name:<25} Q = {of_sface:.3f} (SFace), {of_facenet:.3f} (FaceNet)")

lowest = [("as it is", "dark", "noise", "small")[scores.argmin()] for scores in quality.values()]
check(lowest, "1803aab59400")
assert quality["sface"].argmin() == quality["facenet"].argmin() == 3
assert quality["sface"][0] - quality["sface"][1] < 0.005
assert (quality["facenet"][1:3] > quality["facenet"][0] + 0.002).all()

# %% [markdown]
# ## 3. Does quality predict recognition?

# %%
blurred = torch.cat(
    [gaussian_blur(faces, 6 * width + 1, float(width)) for width in (1, 2, 3, 4, 6)]
)  # (45, ...)
cosine = (sface(blurred) * sface(faces).repeat(5, 1)).sum(-1)
correlation = spearmanr(plqlite.ser_fiq_closed_form(sface, blurred), cosine).statistic
print(f"rank correlation of Q and the cosine over 45 images: {correlation:.1f}")
assert correlation > 0.8
check(correlation, "434c9b5ae514", digits=2)

# %% [markdown]
# The score never saw the sharp originals.
#
# ## 4. What normalising removes
#
# In 128 dimensions the direction of $\mu$ is one of many. It carries about a hundredth of the variance, so leaving $u^{\top}Cu$ in would lower $Q$ by less than a thousandth. (To see that alone, take the limit of ever more passes on both sides.) In three dimensions it would matter.

# %%
mean = sface.head(features)  # μ: (9, 128)
variance = features.square()  # p/(1−p) is 1 at p = 0.5
direction = torch.nn.functional.normalize(mean, dim=-1)
trace = variance @ sface.head.weight.square().sum(0)
along = (variance * (direction @ sface.head.weight).square()).sum(-1)
with_it = 2 * torch.sigmoid(-(2 * trace / (mean.square().sum(-1) + trace)).sqrt())
share = along / trace
lost = closed_form_quality(sface.head, features, passes=float("inf")) - with_it
print(
    f"share of the variance along u: {share.min():.1%} to {share.max():.1%}; one direction in 128 would be {1 / 128:.1%}"
)
print(f"Q would be lower by {lost.min():.4f} to {lost.max():.4f}")
percent = 100 * share.mean()
check(percent, "3fdba35f04dc", digits=1)
assert share.max() < 0.03
assert 0 < lost.min() < lost.max() < 1e-3

# %% [markdown]
# ## 5. Prove it
#
# Let $c > 0$ multiply the features and the bias. Every pass becomes $z_i' = A\frac{(cf)\odot k_i}{1-p} + cb = c\,z_i$, and $\frac{c z_i}{\lVert c z_i\rVert} = \frac{z_i}{\lVert z_i\rVert}$. All embeddings stay the same, so all distances and $Q$ do too. (Without the bias it is enough to scale the features: that is why halving the light cost so little, in so far as the network's features are proportional to the light.) A check:

# %%
louder = torch.nn.Linear(50176, 128).requires_grad_(False)
louder.weight.copy_(sface.head.weight)
louder.bias.copy_(3 * sface.head.bias)
torch.testing.assert_close(
    closed_form_quality(louder, 3 * features), closed_form_quality(sface.head, features)
)
