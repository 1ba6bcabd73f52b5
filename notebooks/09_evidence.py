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
# # 09 · Where does the embedding come from?
#
# | | |
# |---|---|
# | **Question** | Which places of a face carry its embedding, and which make it uncertain? |
# | **Outcome** | You can split the quality over the face exactly, without a gradient, and say what this shows that a gradient cannot. |
# | **Time** | 15 minutes to read; 14 seconds to run ([two CPU cores](../docs/times.csv)) |
# | **Paper** | §3.1, Eq. 1; the split is ours |
#
# A PLQ map is a *gradient*: it says what would happen to the quality node if a pixel changed a little. It does not say where the embedding *comes from*. There is a second road from the quality to the face, and it is shorter. The closed form of Eq. 1 ([01](01_ser_fiq.ipynb)) is made of sums over the features, the inputs of the head. In many networks these features lie side by side as the places of the face do: they are the *cells* of the last feature map. So the quality is already split over the face; one only has to refrain from adding up.

# %%
import matplotlib.pyplot as plt
import torch
from scipy.stats import spearmanr
from torch.nn.functional import adaptive_avg_pool2d, normalize

import plqlite
from plqlite.experiments.icao import align_simulated, simulate_all

models = {"SFace": plqlite.sface(), "FaceNet": plqlite.facenet()}
face, simulated = simulate_all(plqlite.sample_faces()["astronaut"])
slots = ["reference", "face-mask-green", "glasses-dark"]
images = {
    name: torch.stack([align_simulated(model, simulated[slot], face).image for slot in slots])
    for name, model in models.items()
}
for name, model in models.items():
    features, cells = model.features_and_cells(images[name][:1])
    print(f"{name}: {tuple(cells.shape[1:])} cells -> {features.shape[1]} features -> head")

# %% [markdown]
# SFace's head sees its 7×7 cells *flattened*, one after the other: each feature belongs to one place. FaceNet's head sees the *mean* of its 3×3 cells.
#
# ## Two sums
#
# The head is affine: it maps features $f$ to $A f + b$. Under dropout with rate $p$ (features that are kept are scaled by $1/(1-p)$), the mean of its output is $\mu = A f + b$, and its covariance is $C = \frac{p}{1-p} A\,\mathrm{diag}(f^2)\,A^\top$. The embedding points along $u = \mu / \lVert\mu\rVert$, and two numbers decide how firmly: how long $\mu$ is, and how far the output is scattered *across* $u$ (scatter along $u$ does not turn the embedding). Write both out, with $A_c$ for the column of $A$ that feature $c$ is multiplied by:
#
# $$\lVert\mu\rVert = u^\top\mu = u^\top b + \sum_c \underbrace{(u^\top A)_c\, f_c}_{\text{signal}}
# \qquad\qquad
# \mathrm{tr}\,C - u^\top C u = \sum_c \underbrace{\tfrac{p}{1-p}\; f_c^2\,\bigl(\lVert A_c\rVert^2 - (u^\top A)_c^2\bigr)}_{\text{noise}}$$
#
# Each term belongs to one feature, and each feature to one cell. If the head sees the mean of $n$ cells, $f_c = \sum a_c / n$, and a cell's share of $f_c$ is $a_c/n$; put that in for one factor $f_c$, and the sums are split over cells again.


# %%
def signal_and_noise(
    head: torch.nn.Linear, cells: torch.Tensor, dropout: float = 0.5
) -> tuple[torch.Tensor, torch.Tensor]:
    """What each cell, (B, C, h, w), adds to the embedding's length and to its scatter: (B, h, w) each."""
    if not isinstance(head, torch.nn.Linear):
        raise TypeError(f"Only a head that is one torch.nn.Linear splits up, found {type(head).__name__}.")
    if not 0 < dropout < 1:
        raise ValueError(f"dropout={dropout}: choose a share between 0 and 1, both excluded.")
    channels, places = cells.shape[1], cells[0, 0].numel()
    if head.in_features == channels * places:
        features, part = cells, cells  # (B, C, h, w)
    elif head.in_features == channels:
        features, part = cells.mean((2, 3), keepdim=True), cells / places  # (B, C, 1, 1), (B, C, h, w)
    else:
        raise ValueError(
            f"The head takes {head.in_features} features, which {tuple(cells.shape[1:])} cells do not give, "
            "neither flattened nor averaged: take the map that the head sees."
        )
    direction = normalize(head(features.flatten(1)), dim=-1)  # u: (B, d)
    along = direction @ head.weight  # uᵀA: (B, D)
    across = head.weight.square().sum(0) - along.square()  # ‖A_c‖² − (uᵀA)_c²: (B, D)
    signal = (along.view_as(features) * part).sum(1)  # (B, h, w)
    noise = dropout / (1 - dropout) * (across.view_as(features) * features * part).sum(1)
    return signal, noise


# %% [markdown]
# ## Four cells by hand
#
# Four cells with one channel, and a head with two outputs. The first two cells push the embedding to the right, the third pushes it up, and the fourth is empty.

# %%
cells = torch.tensor([[[[3.0, 3.0], [1.0, 0.0]]]])  # (1, 1, 2, 2)
head = torch.nn.Linear(4, 2, bias=False)
head.weight.data = torch.tensor([[1.0, 1.0, 0.0, 5.0], [0.0, 0.0, 2.0, 5.0]])  # A: (2, 4)

with torch.no_grad():
    mu = head(cells.flatten(1))[0]
    signal, noise = signal_and_noise(head, cells)
print("mu =", mu.tolist(), " length:", round(mu.norm().item(), 2))
print("signal:", [round(s, 2) for s in signal.flatten().tolist()])
print("noise: ", [round(n, 2) for n in noise.flatten().tolist()])

# u = (6, 2)/√40. Cell 1: signal 3·6/√40; noise 3²·(1 − 36/40). Cell 3: signal 1·2·2/√40; noise 1·(4 − 16/40).
torch.testing.assert_close(signal.flatten(), torch.tensor([18.0, 18.0, 4.0, 0.0]) / 40**0.5)
torch.testing.assert_close(noise.flatten(), torch.tensor([0.9, 0.9, 3.6, 0.0]))
torch.testing.assert_close(signal.sum(), mu.norm())

# %% [markdown]
# The third cell carries a tenth of the length and two thirds of the noise: it pulls in a direction of its own, and whenever dropout takes it away, the embedding turns. The fourth has a large weight and nothing to say: both are zero.
#
# ## Nothing is lost
#
# An attribution is *complete* if its parts add up to the whole. These do, in real networks too, and the whole is all that the closed form needs. With infinitely many passes, $Q = 2\,\sigma(-d)$ for the expected distance $d = \sqrt{2 \sum \mathrm{noise} \,/\, (\lVert\mu\rVert^2 + \mathrm{tr}\,C)}$:

# %%
with torch.no_grad():
    for name, model in models.items():
        features, cells = model.features_and_cells(images[name])
        signal, noise = signal_and_noise(model.head, cells)
        mu = model.head(features)
        bias = normalize(mu, dim=-1) @ model.head.bias
        torch.testing.assert_close(signal.sum((1, 2)) + bias, mu.norm(dim=-1), rtol=1e-5, atol=0)

        trace = (model.head.weight.square().sum(0) * features.square()).sum(-1)  # tr C at p = ½
        distance = (2 * noise.sum((1, 2)) / (mu.square().sum(-1) + trace)).sqrt()
        limit = plqlite.ser_fiq_closed_form(model, images[name], passes=float("inf"))
        torch.testing.assert_close(2 * torch.sigmoid(-distance), limit, rtol=1e-5, atol=0)
        print(f"{name}: Q from the two sums = {[round(q, 2) for q in limit.tolist()]}")

# %% [markdown]
# No gradient, no second pass: the cells are on the way to the embedding anyway. `plqlite.explain` returns both maps.
#
# ## What they show
#
# Shares of the whole: signal over the sum of signals, noise over the sum of noises. Each column has one scale, from 0 to the largest share in the photo as she is.

# %%
explanations = {name: plqlite.explain(model, images[name]) for name, model in models.items()}


def shares(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return signal and noise of the three photos as shares of their sums, (3, h, w) each."""
    maps = explanations[name].signal, explanations[name].noise
    signal, noise = (each / each.sum((1, 2), keepdim=True) for each in maps)
    return signal, noise


figure, axes = plt.subplots(3, 5, figsize=(9, 5.2), layout="constrained")
for row, (line, slot) in enumerate(zip(axes, slots)):
    line[0].imshow(images["SFace"][row].permute(1, 2, 0).cpu() / 255)
    line[0].set_title(slot, fontsize=9)
    panels = [(name, word, each) for name in models for word, each in zip(("signal", "noise"), shares(name))]
    for axis, (name, word, each) in zip(line[1:], panels):
        axis.imshow(each[row].cpu(), cmap="cividis", vmin=0, vmax=each[0].max().item())
        axis.set_title(f"{name}: {word}", fontsize=9)
for axis in axes.flat:
    axis.set_axis_off()

# %% [markdown]
# *The astronaut as she is, behind a green face mask, and behind dark glasses (drawn, see [07](07_icao.ipynb)). Yellow: a large share, dark blue: none.*
#
# Behind the mask, SFace's signal is gone from the rows that the mask covers. Behind dark glasses most of it is gone from the row of the eyes, which carries more than a quarter of it in the photo as it is.

# %%
signal, _ = (each.cpu() for each in shares("SFace"))
clean, mask, glasses = signal  # (7, 7) each
lower = {"as she is": clean[5:].sum(), "face mask": mask[5:].sum()}
eyes = {"as she is": clean[3].sum(), "dark glasses": glasses[3].sum()}
print("signal of the two lowest rows:", {key: f"{value:.0%}" for key, value in lower.items()})
print("signal of the row of the eyes:", {key: f"{value:.0%}" for key, value in eyes.items()})
assert lower["face mask"] < 0.25 * lower["as she is"]
assert eyes["dark glasses"] < 0.5 * eyes["as she is"]

signal, _ = (each.cpu() for each in shares("FaceNet"))
bottom = signal[:, 2].sum(-1)  # (3,), of the lowest of three rows
print("FaceNet, its lowest row:", {slot: f"{value:.0%}" for slot, value in zip(slots, bottom)})
assert bottom[1] < 0.4 * bottom[0] and bottom[2] > 1.3 * bottom[0]

# %% [markdown]
# FaceNet's three rows are coarse, but they say the same: without a mouth it lives off the rest, and without eyes it lives off mouth and chin.
#
# ## What a gradient cannot show
#
# Take a cell away (set it to zero) and see how far the output of the head falls along $u$. SFace's signal *is* that fall, exactly; the PLQ map, averaged over the pixels of each cell, is only related to it. It answers another question: how *sensitive* the quality node is there.

# %%
sface, image = models["SFace"], images["SFace"][:1]
with torch.no_grad():
    features, cells = sface.features_and_cells(image)
    direction = normalize(sface.head(features), dim=-1)[0]
    falls = torch.zeros(7, 7)
    for row in range(7):
        for column in range(7):
            without = cells.clone()
            without[..., row, column] = 0
            falls[row, column] = (sface.head(features) - sface.head(without.flatten(1)))[0] @ direction
signal = explanations["SFace"].signal[0].cpu()
torch.testing.assert_close(falls, signal, rtol=1e-3, atol=1e-4)

plq = adaptive_avg_pool2d(explanations["SFace"].plq, 7)[0].cpu()  # (7, 7)
rank = spearmanr(plq.flatten(), falls.flatten()).statistic
print(f"rank correlation with the fall: signal 1, PLQ map {rank:.1f}")
assert 0.5 < rank < 0.9

# %% [markdown]
# ## What is new, and what is not
#
# The signal alone is known: for one direction of the output it is what CAM ([Zhou et al. 2016](https://arxiv.org/abs/1512.04150)) and HiResCAM ([Draelos and Carin 2020](https://arxiv.org/abs/2011.08891)) show for a class. Here the direction is that of the embedding itself. And noise is related to something simpler, the *energy* $\sum_c f_c^2$ of a cell, which needs no head at all: where a cell is loud, it is also noisy.

# %%
with torch.no_grad():
    for name, model in models.items():
        energy = model.cells(images[name]).square().sum(1).cpu()  # (3, h, w)
        noise = explanations[name].noise.cpu()
        ranks = [spearmanr(e.flatten(), n.flatten()).statistic for e, n in zip(energy, noise)]
        print(f"{name}: rank correlation of noise and energy, lowest of three photos {min(ranks):.1f}")
        assert min(ranks) > 0.35

# %% [markdown]
# As a detector of things in front of a face, noise is no better than energy ([the table](../docs/deviation.md)). What is new is that signal and noise together are *all of* $Q$: the same number that [01](01_ser_fiq.ipynb) defined, split over the face without a remainder.
#
# ## Three witnesses
#
# Every face has more signal at the eyes than at the hair. So, as in [07](07_icao.ipynb), what counts is whether a place has less than *other faces have there*. `explanation.deviation` averages three z-scores, of the level of the map, of signal and of noise, and holds the average against that of clean faces. The mask is found by each:

# %%
reference = sface.reference_statistics.maps
masked = explanations["SFace"].signal[1].cpu(), explanations["SFace"].noise[1].cpu()
for word, each in zip(("signal", "noise"), masked):
    z = (each - reference[word].mean) / reference[word].std  # (7, 7)
    print(f"{word}: the three lowest rows are {z[:3].mean() - z[4:].mean():.1f} σ below the three highest")
    assert z[4:].mean() < z[:3].mean() - 0.5

z = explanations["SFace"].deviation.cpu()  # (3, 112, 112)
print(f"deviation below the nose: as she is {z[0, 75:].mean():.1f}, behind the mask {z[1, 75:].mean():.1f}")
assert z[1, 75:].mean() < z[0, 75:].mean() - 1

# %%
plqlite.show(images["SFace"], explanations["SFace"], slots)

# %% [markdown]
# *Left to right: the face; how good it is; where, by the PLQ map at a fixed level; both, with an outline around what is lower than in other faces. For SFace, these dark glasses lower $\hat Q$, but the eyes are not low enough to raise an alarm: [the table](../docs/deviation.md) says how often they do.*

# %% [markdown]
# ## Exercises
#
# 1. **Change a number.** Compute both maps with dropout rates of 0.2 and 0.8. Which of them changes, and by which factor? Does its pattern change?
# 2. **Blur.** Blur the astronaut more and more. Do signal and noise fall together? Which of them explains that $Q$ falls?
# 3. **A lever.** Remove each of SFace's 49 cells in turn (set it to zero) and compute $Q$ in closed form from what is left. Which cell can go with the least harm, and is there one without which $Q$ *rises*? Compare with noise over signal.
# 4. **Prove it.** Show that the noise of a cell can be negative if the head sees the mean of the cells, and that it cannot be if it sees them flattened.
#
# Solutions: [solutions/09_evidence.ipynb](solutions/09_evidence.ipynb) · Back: [08](08_exploding_gradients.ipynb) · Next: [10 · How do I use another network?](10_your_own_model.ipynb)
