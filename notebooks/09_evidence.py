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
# | **Time** | 14 minutes to read, 65 for the exercises; 14 seconds to run ([two CPU cores](../docs/times.csv)) |
# | **Paper** | §3.1, Eq. 1; the split is ours |
#
# A PLQ map is a *gradient*: it says what would happen to the quality node if a pixel changed a little. It does not say where the embedding *comes from*. There is a second road from the quality to the face, and it is shorter. The closed form of Eq. 1 ([01](01_ser_fiq.ipynb)) is made of sums over the features, the inputs of the head. In many networks these features lie side by side as the places of the face do: they are the *cells* of the last feature map. So the quality is already split over the face; one only has to refrain from adding up. (Folded cells hold imports and drawing.)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
import matplotlib.pyplot as plt
import torch
from scipy.stats import spearmanr
from torch.nn.functional import adaptive_avg_pool2d, interpolate, normalize

import plqlite
from plqlite.experiments.icao import align_simulated, simulate_all
from plqlite.figures import describe, draw_deviation, draw_map
from plqlite.lessons import check, claim, compact_pictures
from plqlite.reference import relative_level
from plqlite.regions import low_regions

# %%
compact_pictures()
models = {"SFace": plqlite.sface(), "FaceNet": plqlite.facenet()}
face, simulated = simulate_all(plqlite.sample_faces()["astronaut"])
slots = {"reference": "as she is", "face-mask-green": "face mask", "glasses-dark": "dark glasses"}
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
    squares = sum(rows.square().sum(0) for rows in head.weight.split(32))  # ‖A_c‖²: (D,)
    across = squares - along.square()  # ‖A_c‖² − (uᵀA)_c²: (B, D)
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
by_hand = torch.tensor([18.0, 18.0, 4.0, 0.0]) / 40**0.5, torch.tensor([0.9, 0.9, 3.6, 0.0])
claim(
    "Signal: 18, 18, 4 and 0, over √40", torch.allclose(signal.flatten(), by_hand[0], rtol=1.3e-6, atol=1e-5)
)
claim("Noise: 0.9, 0.9, 3.6 and 0", torch.allclose(noise.flatten(), by_hand[1], rtol=1.3e-6, atol=1e-5))
claim("The signals add up to the length", torch.allclose(signal.sum(), mu.norm(), rtol=1.3e-6, atol=1e-5))

# %% [markdown]
# The third cell carries a tenth of the length and two thirds of the noise: it pulls in a direction of its own, and whenever dropout takes it away, the embedding turns. The fourth has a large weight and nothing to say: both are zero.
#
# ## Nothing is lost
#
# An attribution is *complete* if its parts add up to the whole. These do, in real networks too, and the whole is all that the closed form needs. With infinitely many passes, $Q = 2\,\sigma(-d)$ for the expected distance $d = \sqrt{2 \sum \mathrm{noise} \,/\, (\lVert\mu\rVert^2 + \mathrm{tr}\,C)}$:

# %%
complete, same = [], []
with torch.no_grad():
    for name, model in models.items():
        features, cells = model.features_and_cells(images[name])
        signal, noise = signal_and_noise(model.head, cells)
        mu = model.head(features)
        bias = normalize(mu, dim=-1) @ model.head.bias
        complete.append(torch.allclose(signal.sum((1, 2)) + bias, mu.norm(dim=-1), rtol=1e-5, atol=0))

        trace = (model.head.weight.square().sum(0) * features.square()).sum(-1)  # tr C at p = ½
        distance = (2 * noise.sum((1, 2)) / (mu.square().sum(-1) + trace)).sqrt()
        limit = plqlite.ser_fiq_closed_form(model, images[name], passes=float("inf"))
        same.append(torch.allclose(2 * torch.sigmoid(-distance), limit, rtol=1e-5, atol=0))
        print(f"{name}: Q from the two sums " + ", ".join(f"{q:.2f}" for q in limit.tolist()))

claim("Signal and uᵀb add up to ‖μ‖, to one part in 100,000, for both networks", all(complete))
claim("Q from the two sums is that of the closed form, just as exactly", all(same))

# %% [markdown]
# No gradient, no second pass: the cells are on the way to the embedding anyway. `plqlite.explain` returns both maps.
#
# ## What they show
#
# Shares of the whole: signal over the sum of signals, noise over the sum of noises. Each column has one scale, from 0 to the largest share in the astronaut's photo as it is.

# %%
explanations = {name: plqlite.explain(model, images[name]) for name, model in models.items()}


def shares(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return signal and noise of the three photos as shares of their sums, (3, h, w) each."""
    maps = explanations[name].signal, explanations[name].noise
    signal, noise = (each / each.sum((1, 2), keepdim=True) for each in maps)
    return signal, noise


# %% jupyter={"source_hidden": true} tags=["hide-input"]
figure, axes = plt.subplots(3, 5, figsize=(9.6, 5.8), layout="constrained")
columns = [(name, word, each) for name in models for word, each in zip(("signal", "noise"), shares(name))]
for row, (line, title) in enumerate(zip(axes, slots.values())):
    line[0].imshow(images["SFace"][row].permute(1, 2, 0).cpu() / 255)
    line[0].set_title(title, fontsize=9)
    for axis, (name, word, each) in zip(line[1:], columns):
        drawn = draw_map(axis, (each[row] / each[0].max()).cpu().numpy())
        axis.set_title(f"{name}: {word}", fontsize=9)
for axis in axes.flat:
    axis.set_axis_off()
bar = figure.colorbar(drawn, ax=axes, shrink=0.9, pad=0.02, extend="max")
bar.set_label("share, relative to the largest as she is")
describe(
    figure,
    "Signal and noise of the astronaut, 7×7 cells for SFace, 3×3 for FaceNet. As she is, they are high around "
    "eyes and nose; behind a face mask, low in the lowest rows; behind dark glasses, SFace's are low in the row "
    "of the eyes, and FaceNet's are high in the lowest row.",
)
plt.show()

# %% [markdown]
# *The astronaut as she is, behind a green face mask, and behind dark glasses (drawn, see [07](07_icao.ipynb)). Yellow: a large share, dark blue: none.*
#
# Behind the mask, little of SFace's signal is left in the rows that the mask covers. Behind dark glasses most of it is gone from the row of the eyes.

# %%
signal, _ = (each.cpu() for each in shares("SFace"))
clean, mask, glasses = signal  # (7, 7) each
lower = {"as she is": clean[5:].sum(), "face mask": mask[5:].sum()}
eyes = {"as she is": clean[3].sum(), "dark glasses": glasses[3].sum()}
print("signal of the two lowest rows:", {key: f"{value:.0%}" for key, value in lower.items()})
print("signal of the row of the eyes:", {key: f"{value:.0%}" for key, value in eyes.items()})
claim(
    "Behind the mask, the share of the two lowest rows is less than a quarter of what it is without",
    lower["face mask"] < 0.25 * lower["as she is"],
)
claim(
    "Behind dark glasses, the share of the row of the eyes is less than half of what it is without",
    eyes["dark glasses"] < 0.5 * eyes["as she is"],
)

# %%
signal, _ = (each.cpu() for each in shares("FaceNet"))
bottom = signal[:, 2].sum(-1)  # (3,), of the lowest of three rows
print("FaceNet, its lowest row:", {title: f"{share:.0%}" for title, share in zip(slots.values(), bottom)})
claim(
    "Behind the mask its share is less than 0.4 times that of the clean photo, behind dark glasses more than 1.3",
    bottom[1] < 0.4 * bottom[0] and bottom[2] > 1.3 * bottom[0],
)

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
plq = adaptive_avg_pool2d(explanations["SFace"].plq, 7)[0].cpu()  # (7, 7)
ranks = {"signal": spearmanr(signal.flatten(), falls.flatten()).statistic}
ranks["PLQ map"] = spearmanr(plq.flatten(), falls.flatten()).statistic
print("rank correlation with the fall:", {key: f"{rank:.1f}" for key, rank in ranks.items()})
claim("Signal is the fall, cell by cell", torch.allclose(falls, signal, rtol=1e-3, atol=1e-4))
claim("The PLQ map's rank correlation with it is between 0.5 and 0.9", 0.5 < ranks["PLQ map"] < 0.9)

# %% [markdown]
# ## What is new, and what is not
#
# The signal alone is known: for one direction of the output it is what CAM ([Zhou et al. 2016](https://arxiv.org/abs/1512.04150)) and HiResCAM ([Draelos and Carin 2020](https://arxiv.org/abs/2011.08891)) show for a class. Here the direction is that of the embedding itself. And noise is related to something simpler, the *energy* $\sum_c f_c^2$ of a cell, which needs no head at all: where a cell is loud, it is also noisy.

# %%
lowest = {}
with torch.no_grad():
    for name, model in models.items():
        energy = model.cells(images[name]).square().sum(1).cpu()  # (3, h, w)
        noise = explanations[name].noise.cpu()
        lowest[name] = min(spearmanr(e.flatten(), n.flatten()).statistic for e, n in zip(energy, noise))
        print(f"{name}: rank correlation of noise and energy, lowest of three photos {lowest[name]:.1f}")
claim("It is above 0.35 in each photo, for both networks", min(lowest.values()) > 0.35)

# %% [markdown]
# As a detector of things in front of a face, noise is no better than energy ([the table](../docs/deviation.md)). What is new is that signal and noise together are *all of* $Q$: the same number that [01](01_ser_fiq.ipynb) defined, split over the face without a remainder.
#
# ## Three witnesses
#
# Every face has more signal at the eyes than at the hair. So, as in [07](07_icao.ipynb), what counts is whether a place has less than *other faces have there*. `explanation.deviation` averages three z-scores, of the level of the map, of signal and of noise, and compares the average with that of clean faces.

# %%
reference, evidence = sface.reference_statistics.maps, explanations["SFace"]
level = relative_level(evidence.saliency)  # of the map, on a grid of 28×28
z = {}  # of the three photos: (3, 112, 112) each
for word, each in {"level": level, "signal": evidence.signal, "noise": evidence.noise}.items():
    scores = (each.cpu() - reference[word].mean) / reference[word].std
    z[word] = interpolate(scores[:, None], size=112)[:, 0]  # each cell as large as its place
z["deviation"] = evidence.deviation.cpu()

# %% jupyter={"source_hidden": true} tags=["hide-input"]
figure, axes = plt.subplots(3, 5, figsize=(9.6, 5.8), layout="constrained")
for row, (line, title) in enumerate(zip(axes, slots.values())):
    line[0].imshow(images["SFace"][row].permute(1, 2, 0).cpu() / 255)
    line[0].set_title(title, fontsize=9)
    for axis, (word, each) in zip(line[1:], z.items()):
        drawn = draw_deviation(axis, each[row].numpy())
        axis.set_title(word, fontsize=9)
for axis in axes.flat:
    axis.set_axis_off()
figure.colorbar(drawn, ax=axes, shrink=0.9, pad=0.02, label="z-score against clean faces (SFace)")
describe(
    figure,
    "z-scores of the astronaut's level, signal and noise, and the deviation made of them. Behind the face mask "
    "each has a low patch where the mask is, and so has the deviation; behind dark glasses, the row of the eyes "
    "is a little low.",
)
plt.show()

# %% [markdown]
# *Red: lower than in clean faces, blue: higher. The dashed line surrounds what is below −2. Each of the three is low where the mask is; the level is low at the hair, too, even as she is. Behind the mask, their average falls furthest:*

# %%
for word in ("signal", "noise"):
    gap = z[word][1, :48].mean() - z[word][1, 64:].mean()  # three rows of cells each
    print(f"{word}, face mask: the three lowest rows are {gap:.1f} σ below the three highest")
    claim(f"{word}: the lowest rows are more than half a σ below the highest", gap > 0.5)

below = {word: each[:, 75:].mean((1, 2)) for word, each in z.items()}  # the nose
print("below the nose, as she is and behind the mask:")
print({word: f"{clean:.1f} → {mask:.1f}" for word, (clean, mask, _) in below.items()})
claim("Each of the three is lower behind the mask", all(each[1] < each[0] for each in below.values()))
falls = {word: (clean - mask).item() for word, (clean, mask, _) in below.items()}
claim("The deviation falls by more than 1, and furthest", falls["deviation"] == max(falls.values()) > 1)

# %%
plqlite.show(images["SFace"], evidence, list(slots.values()))

# %% [markdown]
# *Left to right: the face; how good it is; where, by the PLQ map at a fixed level; both, with an outline around what is lower than in other faces.* For SFace, these dark glasses lower $\hat Q$, but the eyes are not low enough to raise an alarm: [the table](../docs/deviation.md) says how often they do.

# %%
low = [list(low_regions(evidence[index])) for index in range(3)]
claim("Behind the mask, nose and mouth are unusually low", set(low[1]) == {"nose", "mouth"})
claim(
    "Dark glasses lower Q̂, but nothing is unusually low",
    evidence.scaled_quality[2] < evidence.scaled_quality[0] and not low[2],
)

# %% [markdown]
# ## Exercises
#
# Where an answer is a number, a word or a list, it checks itself: put it in place of `...` and run the cell.

# %% [markdown]
# ### Exercise 1 · Change a number (easy, 10 minutes)
#
# Compute both maps of SFace's photo with dropout rates of 0.2 and 0.8. Which of them changes, and by which factor, compared with a rate of 0.5? Does its distribution over the cells change?
#
# <details><summary>Hint</summary>The last argument of <code>signal_and_noise</code>. Divide cell by cell: is the quotient the same everywhere?</details>

# %%
factors = ...  # of the map that changes: [at 0.2, at 0.8]
check(factors, "d61660aebc2d", digits=2)

# %% [markdown]
# ### Exercise 2 · Blur (medium, 15 minutes)
#
# Blur the astronaut more and more: Gaussian, with standard deviations of 1 to 4 pixels (SFace). Do $\lVert\mu\rVert^2$ and the sum of the noise fall together? Which of them explains that $Q$ falls?
#
# <details><summary>Hint</summary><code>torchvision.transforms.functional.gaussian_blur(image, 25, [4.0, 4.0])</code>, then <code>sface.features_and_cells</code>. In the closed form, noise stands over squared length.</details>

# %%
kept = ...  # at 4 pixels, of what it was: [squared length, sum of the noise]
check(kept, "464ccf0dee7c", digits=2)

# %% [markdown]
# ### Exercise 3 · A lever (medium, 20 minutes)
#
# Remove each of SFace's 49 cells in turn (set it to zero) and compute $Q$ in closed form from what is left. Without how many of them does $Q$ *rise*? Which cell does it need most? Compare the change of $Q$ with the cell's share of the signal less its share of the noise.
#
# <details><summary>Hint</summary>The loop over cells is above, where the output of the head falls. <code>plqlite.quality.closed_form_quality(sface.head, features)</code> computes Q from features.</details>

# %%
lever = ...  # [number of cells without which Q rises, 1000 × (Q after − Q before) of the cell needed most]
check(lever, "ddcd6c24b78b", digits=1)

# %% [markdown]
# ### Exercise 4 · Prove it (hard, 20 minutes)
#
# Show that the noise of a cell can be negative if the head sees the mean of the cells, and that it cannot be if it sees them flattened.
#
# <details><summary>Hint</summary>Cauchy and Schwarz: how long is the projection of A_c on a unit vector? Then look at the signs of the two factors f_c and a_c/n.</details>

# %% [markdown]
# Solutions: [solutions/09_evidence.ipynb](solutions/09_evidence.ipynb) · Back: [08](08_exploding_gradients.ipynb) · Next: [10 · How do I use another network?](10_your_own_model.ipynb)
