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
# # 02 · How does a number become a network?
#
# | | |
# |---|---|
# | **Question** | Quality says how good an image is. On which pixels does the network's output depend, weighted by that quality? |
# | **Outcome** | You can turn any face recognition network into one that outputs the quality of its image, under three readings of Eq. 3, and say which of the paper's promises each of them keeps. |
# | **Time** | 13 minutes to read, 55 for the exercises; 14 seconds to run ([two CPU cores](../docs/times.csv)) |
# | **Paper** | §3.2, Eq. 3; the cause of §8.3 |
#
# [Notebook 01](01_ser_fiq.ipynb) gave every image a quality $\hat Q$. Which *pixels* does it come from? To find out, we need a network $\mathcal M_Q$ with $\mathcal M_Q(I) = \hat Q$ that can be differentiated. Training one would take labels, and would explain the new network, not the old one. One could also back-propagate through $Q$ itself: its *closed form*, in 01, is a smooth formula. The paper does something else: it adds a single linear node whose **value** at this image is $\hat Q$. Its **slope** is not that of $\hat Q$, as we will measure at the end.
#
# We need the nine sample faces, their embeddings and their qualities, for both networks:

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.stats import spearmanr

import plqlite
from plqlite.figures import describe
from plqlite.lessons import check, claim

sface, facenet = plqlite.sface(), plqlite.facenet()
portraits = plqlite.sample_faces()
faces = {
    model.name: torch.cat([plqlite.load_face(p, model) for p in portraits.values()])
    for model in (sface, facenet)
}
embeddings = {model.name: model(faces[model.name]) for model in (sface, facenet)}  # e: (9, d), length 1
scaled = {
    m.name: plqlite.scale_quality(plqlite.ser_fiq_closed_form(m, faces[m.name]), m.scaling.alpha, m.scaling.r)
    for m in (sface, facenet)
}
for name, e in embeddings.items():
    print(f"{name:<8} {e.shape[0]} embeddings of {e.shape[1]} components")

# %% [markdown]
# ## One node, one set of weights per image
#
# Put one node on top of the embedding $e$, with one weight for each of its $d$ components and no bias. (The paper calls these components features. They are not the features of notebook 01, the inputs of the head, on which dropout acts.) The weights are chosen *for this image* and are then constants:
#
# $$\mathcal M_Q(I) = \sum_{k=1}^{d} w_k\, e_k(I),\qquad w = \frac{\hat Q}{\lVert e\rVert_1} \qquad\text{(Eq. 3)}$$
#
# The paper's text makes two promises about them: the node's output **is the quality**, and **all features are equally important**. Take Eq. 3 literally and the first promise is broken: the features of an embedding have both signs, and $\sum_k e_k$ is not $\lVert e\rVert_1 = \sum_k |e_k|$. So Eq. 3 can be read in three ways, its three *readings*:
#
# | reading | $w_k$ | $\mathcal M_Q(I)$ |
# |---|---|---|
# | `literal` | $\hat Q\,/\,\lVert e\rVert_1$ | $\hat Q\cdot\sum e_k/\lVert e\rVert_1$ |
# | `summed` | $\hat Q\,/\sum e_k$ | $\hat Q$ |
# | `signed` | $\hat Q\cdot\mathrm{sign}(e_k)\,/\,\lVert e\rVert_1$ | $\hat Q$ |
#
# `summed` is what the authors' released program computes. `signed` is our default.


# %%
def node_weights(embedding: torch.Tensor, quality: torch.Tensor, reading: str = "signed") -> torch.Tensor:
    """Weights of the quality node, w = Q̂/‖e‖₁ (Eq. 3), in one of three readings."""
    e, q = embedding.detach(), quality.detach().unsqueeze(-1)  # (B, d), (B, 1)
    norm = e.abs().sum(-1, keepdim=True)  # ‖e‖₁: (B, 1)
    if reading == "signed":
        return q * e.sign() / norm
    if reading == "literal":
        return (q / norm).expand_as(e)
    if reading == "summed":
        return (q / e.sum(-1, keepdim=True)).expand_as(e)
    raise ValueError(f"reading={reading!r}: Eq. 3 has the readings 'signed', 'literal' and 'summed'.")


def quality_node(embedding: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Output of the quality node, M_Q(I) = Σ_k w_k e_k."""
    return (embedding * weights).sum(-1)


# %% [markdown]
# As a module, it can go wherever a network can:


# %%
class QualityRegression(torch.nn.Module):
    """The quality regression network M_Q: a face recognition network with a quality node on top."""

    def __init__(self, model: torch.nn.Module, weights: torch.Tensor) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("weights", weights)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return M_Q(I), (B,)."""
        return quality_node(self.model(images), self.weights)


# %% [markdown]
# ## What does the node output?
#
# For every face, network and reading, $\mathcal M_Q(I)$ as a multiple of $\hat Q$. Where the promise is kept, it is 1.00.

# %%
READINGS = ("literal", "summed", "signed")
output, size = {}, {}  # M_Q(I)/Q̂ and |w|/Q̂, of each face
for model in (sface, facenet):
    e, q = embeddings[model.name], scaled[model.name]
    for reading in READINGS:
        w = node_weights(e, q, reading)  # (9, d)
        output[model.name, reading] = QualityRegression(model, w)(faces[model.name]) / q
        size[model.name, reading] = w.abs().amax(1) / q

    print(f"{model.name:<14}" + "".join(f"{reading:>9}" for reading in READINGS))
    for number, name in enumerate(portraits):
        multiples = [round(output[model.name, reading][number].item(), 2) + 0.0 for reading in READINGS]
        print(f"  {name:<12}" + "".join(f"{each:9.2f}" for each in multiples))

# %%
names, one = (sface.name, facenet.name), torch.ones(len(portraits))
literal = torch.stack([output[name, "literal"] for name in names])  # (2, 9)
claim(
    "signed: every output is the quality",
    all(torch.allclose(output[name, "signed"], one, atol=1e-4, rtol=0) for name in names),
)
claim(
    "summed: every output is the quality, to within 1 %",
    all(torch.allclose(output[name, "summed"], one, atol=1e-2, rtol=0) for name in names),
)
claim("literal: no output is even half of the quality", literal.abs().max() < 0.5)
claim(
    "literal: for each network, some outputs are below 0 and some above",
    (literal.amin(1) < 0).all() and (literal.amax(1) > 0).all(),
)

# %% [markdown]
# Now the size of the weights behind these outputs, again per unit of $\hat Q$:

# %% jupyter={"source_hidden": true} tags=["hide-input"]
figure, axes = plt.subplots(1, 2, figsize=(9, 3.3), layout="constrained", sharey=True)
for axis, model in zip(axes, (sface, facenet)):
    for reading, marker in zip(READINGS, "sox"):
        axis.semilogy(size[model.name, reading], marker, label=reading, fillstyle="none", markersize=8)
    axis.set_xticks(range(len(portraits)), list(portraits), rotation=60, ha="right")
    axis.set(title=model.name)
axes[0].set_ylabel("|w| / Q̂")
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
describe(
    figure,
    "Size of the weights for nine faces and two networks, on a logarithmic axis. Those of literal and signed"
    " coincide and are nearly the same for all faces; those of summed are larger and jump up and down.",
)
plt.show()

# %% [markdown]
# *The axis is logarithmic. The squares of `literal` lie on the crosses of `signed`, since their weights have the same magnitude.*

# %%
spread = {key: (each.max() / each.min()).item() for key, each in size.items()}  # from face to face
claim(
    "Both networks: the largest weights of summed are more than ten times the smallest",
    all(spread[name, "summed"] > 10 for name in names),
)
claim(
    "Both networks: the largest weights of literal and of signed are less than 1.2 times their smallest",
    all(spread[name, reading] < 1.2 for name in names for reading in ("literal", "signed")),
)

# %% [markdown]
# `summed` and `signed` return the quality; of these two, only `signed` has bounded weights. What are the bounds? An embedding has length 1, so $1 \le \lVert e\rVert_1 \le \sqrt d$ and $\hat Q/\sqrt d \le |w_k| \le \hat Q$, for `signed` and `literal` alike. $\sum e_k$ has no such lower bound: it may be 0.
#
# ## "All features are equally important"
#
# What each feature *contributes* to the output is $w_k e_k$. Here are the contributions of all 128 features of one face, sorted:

# %%
e, q = embeddings["sface"][1:2], scaled["sface"][1:2]  # Grace Hopper
contribution = {reading: (node_weights(e, q, reading) * e / q)[0].sort().values for reading in READINGS}
magnitude = {reading: each.abs().sum().item() for reading, each in contribution.items()}
print("sum of |contribution| / Q̂:", {reading: round(each) for reading, each in magnitude.items()})

# %% jupyter={"source_hidden": true} tags=["hide-input"]
figure, axes = plt.subplots(1, 3, figsize=(9, 2.8), layout="constrained")
for axis, (reading, each) in zip(axes, contribution.items()):
    axis.bar(range(len(each)), each, width=1, color=np.where(each < 0, "tab:red", "tab:blue"))
    axis.axhline(0, color="black", linewidth=0.8)
    axis.set(title=f"{reading}: sum {each.sum():.2f}", xlabel="features, sorted")
axes[0].set_ylabel("contribution / Q̂")
describe(
    figure,
    "What each of 128 features contributes, sorted, under three readings. Under literal and summed, about half of the"
    " bars are below 0 and nearly cancel the others, summed on a scale 40 times as large; under signed all are"
    " above 0.",
)
plt.show()

# %% [markdown]
# *Grace Hopper and SFace; note the three vertical scales. Her $\sum e$ is near 0, so under `literal` and `summed` the features that count for the quality (blue) and those that count against it (red) nearly cancel, and `summed` magnifies what is left until it is 1. Under `signed` every feature adds its share, $|e_k|/\lVert e\rVert_1$.*

# %%
claim(
    "summed: in magnitude, the features contribute more than 20 times the quality", magnitude["summed"] > 20
)
against = [(contribution[reading] < 0).float().mean().item() for reading in ("literal", "summed")]
claim("literal and summed: 40 to 60 % of them count against it", all(0.4 < share < 0.6 for share in against))
claim(
    "signed: every feature counts for it, and together they are the quality",
    (contribution["signed"] > 0).all() and abs(magnitude["signed"] - 1) < 1e-3,
)

# %% [markdown]
# Under each reading all $|w_k|$ of an image are equal, so all features are "equally important" in the sense of having the same weight. Only under `signed` does every feature also count *for* the quality.
#
# ## What recognition cannot see
#
# Recognition compares embeddings by their cosine. Apply a rotation $R$ to the whole embedding space, and no cosine changes: $(R e)^{\!\top}(R e') = e^{\!\top}e'$. The rotated network recognises exactly as well as the old one; only the axes, which are arbitrary, have moved. What happens to the weights?

# %%
generator = torch.Generator().manual_seed(0)
e = embeddings["sface"]
rotations = [torch.linalg.qr(torch.randn(128, 128, generator=generator)).Q for _ in range(300)]
turned = torch.stack([e @ rotation for rotation in rotations])  # (300, 9, 128)
claim(
    "In all 300 rotated networks, the cosine of any two faces is what it was",
    torch.allclose(turned @ turned.mT, e @ e.T, atol=1e-5, rtol=0),
)

weight = {
    "summed": 1 / turned.sum(-1).abs()[:, 0],
    "signed": 1 / turned.abs().sum(-1)[:, 0],
}  # |w|/Q̂ of the astronaut: (300,)
ratio = {reading: (w.quantile(0.95) / w.quantile(0.05)).item() for reading, w in weight.items()}
print(f"95th / 5th percentile: summed {ratio['summed']:.0f}, signed {ratio['signed']:.1f}")
claim(
    "summed: the 95th percentile of the size of the weights is more than ten times the 5th",
    ratio["summed"] > 10,
)
claim("signed: it is less than 1.2 times the 5th", ratio["signed"] < 1.2)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
figure, axis = plt.subplots(figsize=(8, 3), layout="constrained")
for reading, colour, hatch in (("summed", "tab:orange", "///"), ("signed", "tab:green", "")):
    values = weight[reading].log10().numpy()
    axis.hist(values, 40, range=(-1.5, 2), facecolor=colour, edgecolor="white", hatch=hatch, label=reading)
axis.set(xlabel="log10 of |w| / Q̂ of the astronaut, SFace rotated at random", ylabel="rotations")
axis.legend()
describe(
    figure,
    "Histogram of the size of the weights over 300 rotations of the embedding space, on a logarithmic axis."
    " signed fills two columns, nearly all of it one; summed spreads over about two powers of ten.",
)
plt.show()

# %% [markdown]
# *The same photo, and networks that all recognise equally well. Under `summed` the size of the weights depends on where the axes happen to be; under `signed` it hardly does.*
#
# That is the *size*. What about the *pattern* of the map? The signs of the features depend on the axes too, so compare the `signed` maps of several rotated networks: pixel by pixel, and averaged over 8×8 pixels.

# %%
pixels = faces["sface"][:1].clone().requires_grad_()
maps = []
for rotation in rotations[:5]:
    turned_e = sface(pixels) @ rotation
    (gradient,) = torch.autograd.grad(
        quality_node(turned_e, node_weights(turned_e, torch.ones(1))).sum(), pixels
    )
    maps.append(gradient.abs().mean(1))  # (1, 112, 112)

by_pixel = spearmanr(torch.stack([m.flatten() for m in maps]).T).statistic
by_region = spearmanr(torch.stack([torch.nn.functional.avg_pool2d(m, 8).flatten() for m in maps]).T).statistic
others = ~np.eye(5, dtype=bool)
print(
    f"rank correlation of two maps: pixels {by_pixel[others].mean():.1f}, regions of 8×8 {by_region[others].mean():.1f}"
)
claim("Pixel by pixel, any two of the five maps correlate by less than 0.85", by_pixel[others].max() < 0.85)
claim("By region, any two correlate by more than 0.8", by_region[others].min() > 0.8)

# %% [markdown]
# The patterns agree by region, but only loosely by single pixel. `signed` fixes the scale, but no reading of Eq. 3 is independent of the choice of axes. **Read maps by region, not by pixel.** [Notebook 08](08_exploding_gradients.ipynb) shows the maps that `summed` spoils.
#
# ## What signed really differentiates
#
# With the weights held constant, the gradient of the node under `signed` is
#
# $$\nabla \mathcal M_Q = \frac{\hat Q}{\lVert e\rVert_1}\sum_k \mathrm{sign}(e_k)\,\nabla e_k = \hat Q\;\nabla\log\lVert e(I)\rVert_1 .$$
#
# So **the quality enters the map as one factor per image**; *where* the map is high is decided by the embedding alone: a pixel is important if it changes how the embedding distributes its fixed length over its features. ([Notebook 03](03_saliency.ipynb) draws the two apart.) Check it:

# %%
images = faces["sface"][:1].clone().requires_grad_()
e, q = sface(images), scaled["sface"][:1]
(node,) = torch.autograd.grad(quality_node(e, node_weights(e, q)).sum(), images, retain_graph=True)
(logarithm,) = torch.autograd.grad(e.abs().sum().log(), images)
difference = (node - q * logarithm).norm() / node.norm()
claim("The gradient of the node is Q̂ times that of log ‖e‖₁, to a thousandth", difference < 1e-3)

# %% [markdown]
# That is not the gradient of $\hat Q$ itself, which the closed form gives us for comparison. By the chain rule, Eq. 2 makes it
#
# $$\nabla\hat Q = \alpha\,\hat Q\,(1 - \hat Q)\;\nabla Q .$$
#
# So its size depends on $\alpha$, which only spreads $Q$ over 0..1, and cannot be compared with that of the node. Its *pattern* is that of $\nabla Q$, whatever $\alpha$ is. Compare the patterns on all nine faces, pixel by pixel, and averaged over 8×8 pixels:

# %%
from plqlite.quality import closed_form_quality

highest, lowest = [], []
for model in (sface, facenet):
    images, q = faces[model.name].clone().requires_grad_(), scaled[model.name]
    features = model.features(images)
    (of_q,) = torch.autograd.grad(closed_form_quality(model.head, features).sum(), images, retain_graph=True)
    e = torch.nn.functional.normalize(model.head(features), dim=-1)
    (node,) = torch.autograd.grad(quality_node(e, node_weights(e, q)).sum(), images)
    pairs = torch.stack([node, of_q]).abs().mean(2)  # (2, 9, H, W)
    by_pixel = [spearmanr(*pair.flatten(1)).statistic for pair in pairs.unbind(1)]
    coarse = torch.nn.functional.avg_pool2d(pairs, 8)
    by_region = [spearmanr(*pair.flatten(1)).statistic for pair in coarse.unbind(1)]
    print(
        f"{model.name:<8} rank correlation, mean of nine faces: pixels {np.mean(by_pixel):.1f}, regions of 8×8 {np.mean(by_region):.1f}"
    )
    highest.append(max(by_pixel))
    lowest.append(min(by_region))
claim("Pixel by pixel, they correlate by less than 0.85 on every face", max(highest) < 0.85)
claim("By region, they correlate by more than 0.75 on every face", min(lowest) > 0.75)

# %% [markdown]
# The two agree by region, so the paper's shortcut points to the same parts of the face. But they answer different questions. The gradient of $\hat Q$ says what would change the *score*; the node says how strongly the *embedding* depends on each pixel, times the score. When this project says "a pixel's quality", it means the second.

# %% [markdown]
# ## Exercises
#
# Where an answer is a number, a word or a list, it checks itself: put it in place of `...` and run the cell.

# %% [markdown]
# ### Exercise 1 · Change a number (easy, 10 minutes)
#
# Add 0.2 to $\hat Q$ of the astronaut (SFace, `signed`). What happens to her weights, and what to the *order* of her pixels? By which factor does the gradient grow?
#
# <details><summary>Hint</summary>Her quality is <code>scaled["sface"][:1]</code>. Where does it stand in the formula of the weights? Compute both gradients as the section on rotations does, and divide one by the other.</details>

# %%
factor = ...  # by which the gradient grows
check(factor, "2747b7c71856", digits=2)

# %% [markdown]
# ### Exercise 2 · A fourth reading (medium, 15 minutes)
#
# Weights proportional to the features, $w = \hat Q\, e/\lVert e\rVert_2^2$, also return $\hat Q$. Compute their input gradient (with respect to the pixels) for the astronaut and SFace, and divide the mean of its magnitudes by that of `signed`. What goes wrong, and why?
#
# <details><summary>Hint</summary>Hold the weights constant with <code>detach()</code>. In which directions can a point on a sphere move?</details>

# %%
quotient = ...  # mean magnitude of the gradient, fourth reading divided by signed
check(quotient, "5feceb66ffc8", digits=2)

# %% [markdown]
# ### Exercise 3 · Count the bad luck (medium, 10 minutes)
#
# Treat embeddings as random points on the sphere: draw 10 000 of them in 128 and in 512 dimensions. What share of them gets a weight of `summed` that is more than 10 times the median weight? Do more dimensions help?
#
# <details><summary>Hint</summary>Normalise the rows of <code>torch.randn(10_000, 128)</code>. With the same quality for all, the weight is one over the magnitude of their sum.</details>

# %%
shares = ...  # [in 128 dimensions, in 512], from 0 to 1
check(shares, "b48532d4b7cb", digits=2)

# %% [markdown]
# ### Exercise 4 · Prove it (hard, 20 minutes)
#
# Show that $1 \le \lVert e\rVert_1 \le \sqrt d$ for $\lVert e\rVert_2 = 1$, and find the embeddings for which the weights of `signed` are largest. How many of their features differ from 0?
#
# <details><summary>Hint</summary>For the upper bound, write the sum of all magnitudes as the scalar product of two vectors, one of them all ones, and use the Cauchy-Schwarz inequality. For the lower one, square it.</details>

# %%
features = ...  # how many features of such an embedding differ from 0
check(features, "4a44dc153642")

# %% [markdown]
# Solutions: [solutions/02_quality_node.ipynb](solutions/02_quality_node.ipynb) · Back: [01](01_ser_fiq.ipynb) · Next: [03 · How does a gradient become a map?](03_saliency.ipynb)
