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
# # 02 · Solutions
#
# Solutions to the exercises of [02 · How does a number become a network?](../02_quality_node.ipynb)

# %%
import torch

import plqlite
from plqlite.lessons import check
from plqlite.regression import node_weights, quality_node

sface = plqlite.sface()
images = plqlite.load_face(plqlite.sample_faces()["astronaut"], sface)
quality = plqlite.explain(sface, images).scaled_quality  # (1,)

# %% [markdown]
# ## 1. A larger quality
#
# $\hat Q$ is a factor of every weight and so of every gradient. The whole map rises; no two pixels change places.


# %%
def gradient(weights):
    """Gradient of the quality node for given weights: (3, 112, 112)."""
    pixels = images.clone().requires_grad_()
    output = quality_node(sface(pixels), weights)
    return torch.autograd.grad(output.sum(), pixels)[0][0]


e = sface(images)
before, after = (gradient(node_weights(e, q)) for q in (quality, quality + 0.2))
factor = (quality + 0.2) / quality
torch.testing.assert_close(after, factor * before, rtol=1e-3, atol=1e-9)
print(f"all gradients grow by the same factor, {factor.item():.2f}")
check(factor, "2747b7c71856", digits=2)

# %% [markdown]
# ## 2. A fourth reading
#
# With $w = \hat Q\,e/\lVert e\rVert_2^2$ the output is $\hat Q\, e^{\top}e / \lVert e\rVert_2^2 = \hat Q$: correct, bounded, and even independent of the choice of axes. But $e$ has length 1 whatever the pixels are. It can only move sideways, at right angles to itself and so to $w$; to first order, therefore, the output does not move at all. The gradient is zero up to rounding:

# %%
fourth = gradient(quality * e / e.square().sum())
signed = gradient(node_weights(e, quality))
quotient = fourth.abs().mean() / signed.abs().mean()
print(f"fourth reading divided by signed: {quotient:.2f}")
torch.testing.assert_close(quality_node(e, quality * e), quality)
assert quotient < 1e-3
check(quotient, "5feceb66ffc8", digits=2)

# %% [markdown]
# ## 3. Count the bad luck
#
# In both cases about one embedding in twenty: $\sum e_k$ of a random direction is close to normally distributed with mean 0 in 128 dimensions as in 512, and the chance that its magnitude is below a tenth of its median does not depend on its scale. More dimensions do not help.

# %%
shares = []
for dimensions in (128, 512):
    generator = torch.Generator().manual_seed(0)
    e = torch.nn.functional.normalize(torch.randn(10_000, dimensions, generator=generator), dim=-1)
    weight = 1 / e.sum(-1).abs()
    share = (weight > 10 * weight.median()).float().mean()
    print(f"{dimensions} dimensions: {share:.1%}")
    assert 0.04 < share < 0.07
    shares.append(share.item())
check(shares, "b48532d4b7cb", digits=2)

# %% [markdown]
# ## 4. Prove it
#
# By the Cauchy-Schwarz inequality, $\lVert e\rVert_1 = \sum_k 1\cdot|e_k| \le \sqrt{\sum_k 1^2}\,\sqrt{\sum_k e_k^2} = \sqrt d$, with equality when all $|e_k|$ are the same. And $\lVert e\rVert_1 \ge \lVert e\rVert_2 = 1$, because $\lVert e\rVert_1^2 = \sum_k e_k^2 + \sum_{k\ne l}|e_k||e_l| \ge 1$, with equality when only one feature differs from 0. The weights $\hat Q/\lVert e\rVert_1$ are therefore largest, $\hat Q$, for an embedding on an axis, and smallest, $\hat Q/\sqrt d$, for one that uses all features alike.

# %%
one = torch.ones(1)
axis = torch.nn.functional.one_hot(torch.tensor([5]), 128).float()
even = torch.full((1, 128), 128**-0.5)
largest, smallest = (node_weights(e, one).abs().max().item() for e in (axis, even))
print(f"|w| / Q̂: on an axis {largest:.2f}; all features alike {smallest:.2f}, one over √128")
assert largest == 1
assert abs(smallest - 128**-0.5) < 1e-6
features = axis.count_nonzero()
check(features, "4a44dc153642")
