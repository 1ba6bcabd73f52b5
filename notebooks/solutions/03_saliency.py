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
# # 03 · Solutions
#
# Solutions to the exercises of [03 · How does a gradient become a map?](../03_saliency.ipynb)

# %%
import torch
from scipy.stats import spearmanr

import plqlite
from plqlite.figures import strip
from plqlite.lessons import check, compact_pictures
from plqlite.regression import QualityRegression, node_weights
from plqlite.saliency import fit_gamma, mean_over_channels, pixel_gradient, pixel_level_quality

compact_pictures()
sface = plqlite.sface()
images = plqlite.load_face(plqlite.sample_faces()["astronaut"], sface)
saliency = plqlite.explain(sface, images).saliency[0]  # (112, 112)

# %% [markdown]
# ## 1. Many γ
#
# $P > 0.5$ where $\hat S > 10^{-\gamma/2}$, so half of the pixels are above 0.5 at $\gamma = -2\log_{10}$ of the median $\hat S$. That would be a bad rule for choosing γ: every photo would get the γ that turns half of it yellow, however poor the photo is. It is per-image scaling by another name.

# %%
half = -2 * saliency.median().log10().item()
print(f"half of the pixels above 0.5 at γ = {half:.1f}")
assert abs((pixel_level_quality(saliency, half) > 0.5).float().mean() - 0.5) < 0.01
check(half, "f6e0a1e2ac41")

# %%
strip(
    {f"γ = {gamma}": pixel_level_quality(saliency, gamma) for gamma in (7, 9, 11, 13, 15)},
    "The astronaut's map P for SFace: blue all over at γ = 7, half yellow at 11, yellow nearly all over at 15.",
)

# %% [markdown]
# ## 2. The largest of the three
#
# It makes little difference. The gradients of a pixel's three colours do not agree, but the largest typically makes up more than half of the sum of the three, so the mean and the maximum rank the pixels almost alike.

# %%
pixels = images.clone().requires_grad_()
m_q = QualityRegression(sface, node_weights(sface(images), torch.ones(1)))
gradient = pixel_gradient(m_q(pixels), pixels)[0]  # (3, 112, 112)
mean, largest = mean_over_channels(gradient).flatten(), gradient.abs().amax(0).flatten()
correlation = spearmanr(mean, largest).statistic
print(f"rank correlation {correlation:.2f}")
assert correlation > 0.95
check(correlation, "29db0c6782db", digits=2)

# %% [markdown]
# ## 3. Is the map smooth?
#
# It is not. Shift the photo by a single pixel, and the pixels of its map agree only loosely with those of the first map; averages over 7×7 pixels agree well. Read a map by regions: a single yellow or blue pixel means little.

# %%
moved = plqlite.explain(sface, images.roll(1, -1)).saliency[0].roll(-1, -1)
a, b = (x[8:-8, 8:-8].log() for x in (saliency, moved))
coarse = [torch.nn.functional.avg_pool2d(x[None, None], 7)[0, 0] for x in (a, b)]
fine = torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1]
regions = torch.corrcoef(torch.stack([x.flatten() for x in coarse]))[0, 1]
print(f"correlation of log Ŝ: single pixels {fine:.1f}, regions of 7×7 {regions:.1f}")
assert fine < 0.7
assert regions > 0.8
agreement = [fine, regions]
check(agreement, "aa4a0c3df27d", digits=2)

# %% [markdown]
# ## 4. Prove it
#
# Write $v(s) = \frac{1}{1 + e^{-(2\ln s + \gamma\ln 10)}} = \sigma(2\ln s + t)$ with $t = \gamma\ln 10$. Then $v(c) - v(b) = \sigma(2\ln c + t) - \sigma(2\ln b + t)$. Its derivative with respect to $t$ is $\sigma'(2\ln c + t) - \sigma'(2\ln b + t)$, and $\sigma'$ is an even function that decreases on both sides of 0. For $c > b$ the two terms can only be equal if their arguments are opposite: $2\ln c + t = -(2\ln b + t)$, so $t = -\ln(cb)$, which is $10^\gamma = 1/(cb)$. To the left of this point the derivative is positive, to the right it is negative, so it is a maximum. There $v(c) = \sigma(2\ln c - \ln(cb)) = \sigma(\ln\frac cb) = \frac{c}{c+b}$, and $v(b) = \sigma(-\ln\frac cb) = 1 - v(c)$. A numerical check:

# %%
c, b = torch.tensor([9e-6]), torch.tensor([2e-6])
gammas = torch.linspace(6, 16, 10_001, dtype=torch.float64)
difference = 1 / (1 + 10**gammas * b.double() ** 2) - 1 / (1 + 10**gammas * c.double() ** 2)
best = gammas[difference.argmax()].item()
print(f"best γ by search {best:.1f}, by rule {fit_gamma(c, b):.1f}")
assert abs(best - fit_gamma(c, b)) < 2e-3
torch.testing.assert_close(pixel_level_quality(c, fit_gamma(c, b)), c / (c + b), rtol=1e-4, atol=0)
