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
from plqlite.regression import QualityRegression, node_weights
from plqlite.saliency import mean_over_channels, pixel_gradient

facenet = plqlite.facenet()
faces = torch.cat([plqlite.load_face(photo, facenet) for photo in plqlite.sample_faces().values()])


def perturbed(images, seed, strength=1.0):
    """Shift, brighten and add noise; at a strength of 0.25 or less there is no shift."""
    generator = torch.Generator().manual_seed(seed)
    down, right = (
        round(strength * step) for step in torch.randint(-2, 3, (2,), generator=generator).tolist()
    )
    brightness = 1 + strength * (0.2 * torch.rand(1, generator=generator) - 0.1)
    noise = strength * 3 * torch.randn(images.shape, generator=generator)
    return (images.roll((down, right), (-2, -1)) * brightness + noise).clamp(0, 255)


def mean_saliency(images, reading):
    """Mean Ŝ of each image per unit of Q̂: (B,)."""
    pixels = images.clone().requires_grad_()
    m_q = QualityRegression(facenet, node_weights(facenet(images), torch.ones(len(images)), reading))
    return mean_over_channels(pixel_gradient(m_q(pixels), pixels)).mean((1, 2))


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
    values = mean_saliency(copies, reading)
    ratio[reading] = (values.max() / values.min()).item()
    print(f"{reading}: largest / smallest mean saliency of twelve copies: {ratio[reading]:.2f}")

assert ratio["signed"] < 1.15
assert ratio["summed"] > 1.5

# %% [markdown]
# ## 2. Predict the largest saliency
#
# Only the embeddings are needed: the maps with the largest mean saliency should be those with the smallest $|\sum e|$.

# %%
photos = torch.cat([perturbed(faces, seed) for seed in range(16)])  # (144, 3, 160, 160)
sums = torch.cat([facenet(batch).sum(-1).abs() for batch in photos.split(16)])
predicted = set(sums.argsort()[:3].tolist())
measured = torch.cat([mean_saliency(batch, "summed") for batch in photos.split(16)])
highest = set(measured.argsort(descending=True)[:3].tolist())
print(f"{len(predicted & highest)} of 3 predicted")
assert len(predicted & highest) >= 2

# %% [markdown]
# ## 3. How often?
#
# For a random direction, $\sum e$ is nearly normal with mean 0 and some standard deviation $s$. Its magnitude has the median $0.674\,s$, and is below a tenth of that with probability $\mathrm{erf}(0.0674/\sqrt2)$.

# %%
expected = torch.erf(torch.tensor(0.0674 / 2**0.5))
found = (sums <= 0.1 * sums.median()).float().mean()
print(f"expected {expected:.1%}; among the 144 photos {found:.1%} (16 copies each of nine faces)")
assert abs(expected - found) < 0.06

# %% [markdown]
# ## 4. Prove it
#
# With constant weights, $\nabla\mathcal M_Q = \frac{\hat Q}{\sum_k e_k}\sum_k\nabla e_k = \hat Q\,\frac{\nabla\sum_k e_k}{\sum_k e_k} = \hat Q\,\nabla\log\big|\sum_k e_k\big|$. The sign of the sum is the same for all pixels and is lost in Eq. 5. The numerator $\nabla\sum_k e_k$ is an ordinary gradient: it does not know that the sum is near zero. The whole explosion is in the single number $1/\sum_k e_k$ that multiplies the whole map. So the order of the pixels is that of $|\nabla\sum_k e_k|$, and what is spoilt is the *level*, the very thing that the fixed scale of Eq. 6 relies on.

# %%
pixels = faces[:1].clone().requires_grad_()
e = facenet(pixels)
(of_sum,) = torch.autograd.grad(e.sum(), pixels, retain_graph=True)
(of_node,) = torch.autograd.grad((e * node_weights(e, torch.ones(1), "summed")).sum(), pixels)
torch.testing.assert_close(of_node, of_sum / e.sum().detach(), rtol=1e-3, atol=1e-9)
print("equal")
