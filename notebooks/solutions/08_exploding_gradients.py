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
# # 08 · Solutions
#
# Solutions to the exercises of [08 · Why do some maps explode, and what cures it?](../08_exploding_gradients.ipynb)

# %%
import torch

import plqlite
from plqlite.lessons import check
from plqlite.regression import QualityRegression, node_weights
from plqlite.saliency import clip_by_norm, clip_by_value, mean_over_channels, pixel_gradient

portraits = plqlite.sample_faces().values()
facenet, sface = plqlite.facenet(), plqlite.sface()
faces = torch.cat([plqlite.load_face(photo, facenet) for photo in portraits])


def perturbed(images, seed, strength=1.0):
    """Shift, brighten and add noise; at a strength of 0.25 or less there is no shift."""
    generator = torch.Generator().manual_seed(seed)
    down, right = (
        round(strength * step) for step in torch.randint(-2, 3, (2,), generator=generator).tolist()
    )
    brightness = 1 + strength * (0.2 * torch.rand(1, generator=generator) - 0.1)
    noise = strength * 3 * torch.randn(images.shape, generator=generator)
    return (images.roll((down, right), (-2, -1)) * brightness + noise).clamp(0, 255)


def gradients(model, images, reading):
    """Gradient of the quality node per unit of Q̂: (B, 3, H, W)."""
    pixels = images.clone().requires_grad_()
    m_q = QualityRegression(model, node_weights(model(images), torch.ones(len(images)), reading))
    return pixel_gradient(m_q(pixels), pixels)


def mean_saliency(gradient):
    """Mean Ŝ of each image: (B,)."""
    return mean_over_channels(gradient).mean((1, 2))


# %% [markdown]
# ## 1. A perturbation that nobody can see
#
# We take the face whose $\sum e$ is nearest to zero and perturb it twelve times: no shift, noise of a third of a grey level, and a change in brightness of at most 1 %. Under `summed` the maps still differ from copy to copy: this near to the pole of $1/\sum e$, the smallest step is a large one. Under `signed` they hardly differ.

# %%
sums = facenet(faces).sum(-1).abs()
face = faces[sums.argmin()][None]
copies = torch.cat([perturbed(face, seed, strength=0.1) for seed in range(12)])
ratio = {}
for reading in ("summed", "signed"):
    values = mean_saliency(gradients(facenet, copies, reading))
    ratio[reading] = (values.max() / values.min()).item()
    print(f"{reading}: largest / smallest mean saliency of twelve copies: {ratio[reading]:.2f}")

assert ratio["signed"] < 1.15
assert ratio["summed"] > 1.5

# %% [markdown]
# ## 2. How strict must a limit be?
#
# By norm, it is enough to clip 15 % of the photos. By value, the limit has to be so low that its quantile is 0.2, and even the peaks of four photos in five are cut off.

# %%
small_faces = torch.cat([plqlite.load_face(photo, sface) for photo in portraits])
small_photos = torch.cat([perturbed(small_faces, seed) for seed in range(16)])  # (144, 3, 112, 112)
raw = torch.cat([gradients(sface, batch, "summed") for batch in small_photos.split(16)])


def spread(gradient):
    """95th percentile of the mean saliency over its 5th percentile."""
    values = mean_saliency(gradient)
    return (values.quantile(0.95) / values.quantile(0.05)).item()


norms = raw.flatten(1).norm(dim=1)
peaks = raw.flatten(1).abs().quantile(0.99, dim=1)
shares = torch.linspace(0.95, 0.2, 16)  # as in the lesson
half = spread(raw) / 2
by_norm = [1 - q.item() for q in shares if spread(clip_by_norm(raw, norms.quantile(q))) <= half]
by_value = [1 - q.item() for q in shares if spread(clip_by_value(raw, peaks.quantile(q))) <= half]
strictness = [by_norm[0], by_value[0]]
print(f"by norm {by_norm[0]:.2f}, by value {by_value[0]:.2f}")
print(f"clipped by norm: {(norms > norms.quantile(1 - by_norm[0])).sum()} of {len(norms)} photos")
check(strictness, "dee114f3e599", digits=2)

# %% [markdown]
# ## 3. Predict the largest saliency
#
# Only the embeddings are needed: the maps with the largest mean saliency should be those with the smallest $|\sum e|$.

# %%
photos = torch.cat([perturbed(faces, seed) for seed in range(16)])  # (144, 3, 160, 160)
sums = torch.cat([facenet(batch).sum(-1).abs() for batch in photos.split(16)])
predicted = sums.argsort()[:3].tolist()
measured = torch.cat([mean_saliency(gradients(facenet, batch, "summed")) for batch in photos.split(16)])
highest = measured.argsort(descending=True)[:3].tolist()
print(f"{len(set(predicted) & set(highest))} of 3 predicted")
assert predicted[:2] == highest[:2]
predicted = predicted[:2]
check(predicted, "9069743d8407", digits=0)

# %% [markdown]
# ## 4. How often?
#
# For a random direction, $\sum e$ is nearly normal with mean 0 and some standard deviation $s$. Its magnitude has the median $0.674\,s$, and is below a tenth of that with probability $\mathrm{erf}(0.0674/\sqrt2)$.

# %%
likelihood = torch.erf(torch.tensor(0.0674 / 2**0.5))
found = (sums <= 0.1 * sums.median()).float().mean()
print(f"expected {likelihood:.1%}; among the 144 photos {found:.1%} (16 copies each of nine faces)")
assert abs(likelihood - found) < 0.06
check(likelihood, "2fca346db656", digits=3)

# %% [markdown]
# ## 5. Prove it
#
# With constant weights, $\nabla\mathcal M_Q = \frac{\hat Q}{\sum_k e_k}\sum_k\nabla e_k = \hat Q\,\frac{\nabla\sum_k e_k}{\sum_k e_k} = \hat Q\,\nabla\log\big|\sum_k e_k\big|$. The sign of the sum is the same for all pixels and is lost in Eq. 5. The numerator $\nabla\sum_k e_k$ is an ordinary gradient: it does not know that the sum is near zero. The whole explosion is in the single number $1/\sum_k e_k$ that multiplies the whole map. So the order of the pixels is that of $|\nabla\sum_k e_k|$, and what is spoilt is the *level*, the very thing that the fixed scale of Eq. 6 relies on.

# %%
pixels = faces[:1].clone().requires_grad_()
e = facenet(pixels)
(of_sum,) = torch.autograd.grad(e.sum(), pixels, retain_graph=True)
(of_node,) = torch.autograd.grad((e * node_weights(e, torch.ones(1), "summed")).sum(), pixels)
torch.testing.assert_close(of_node, of_sum / e.sum().detach(), rtol=1e-3, atol=1e-9)
print("equal")
