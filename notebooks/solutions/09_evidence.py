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
# # 09 · Solutions
#
# Solutions to the exercises of [09 · Where does the embedding come from?](../09_evidence.ipynb)

# %%
import matplotlib.pyplot as plt
import torch
from scipy.stats import spearmanr
from torchvision.transforms.functional import gaussian_blur

import plqlite
from plqlite.evidence import signal_and_noise
from plqlite.figures import LOWER_HIGHER, describe
from plqlite.lessons import check
from plqlite.quality import closed_form_quality

sface = plqlite.sface()
image = plqlite.load_face(plqlite.sample_faces()["astronaut"], sface)
features, cells = sface.features_and_cells(image)

# %% [markdown]
# ## 1. The dropout rate
#
# The signal has no $p$ in it: it belongs to the mean, which dropout leaves alone. The noise has the factor $p/(1-p)$, a quarter at 0.2 and 4 at 0.8, the same for every cell. So neither distribution over the cells changes.

# %%
factors = []
with torch.no_grad():
    signal, noise = signal_and_noise(sface.head, cells)
    for rate, factor in ((0.2, 0.25), (0.8, 4.0)):
        other_signal, other_noise = signal_and_noise(sface.head, cells, rate)
        torch.testing.assert_close(other_signal, signal)
        torch.testing.assert_close(other_noise, factor * noise)
        factors.append((other_noise / noise).mean().item())
        print(f"p = {rate}: noise × {factors[-1]:.2f}")

check(factors, "d61660aebc2d", digits=2)

# %% [markdown]
# ## 2. Blur
#
# Both fall: a blurred face excites fewer features. But the length of $\mu$ falls faster than the noise, relative to what it was, and the embedding is as uncertain as noise over squared length.

# %%
widths, length, scatter, quality = (0, 1, 2, 3, 4), [], [], []
with torch.no_grad():
    for width in widths:
        blurred = gaussian_blur(image, 25, [float(width)] * 2) if width else image
        features, blurred_cells = sface.features_and_cells(blurred)
        _, noise_there = signal_and_noise(sface.head, blurred_cells)
        length.append(sface.head(features).norm().item())
        scatter.append(noise_there.sum().item())
        quality.append(closed_form_quality(sface.head, features).item())
relative = {
    "squared length": [each**2 / length[0] ** 2 for each in length],
    "noise": [each / scatter[0] for each in scatter],
}
for index in range(1, len(widths)):
    assert relative["squared length"][index] < relative["noise"][index]
assert quality[-1] < quality[0]
kept = [values[-1] for values in relative.values()]
print(f"at the strongest blur: squared length × {kept[0]:.2f}, noise × {kept[1]:.2f}")
check(kept, "464ccf0dee7c", digits=2)

# %%
figure, axis = plt.subplots(figsize=(6, 3.4), layout="constrained")
for (label, values), style in zip(relative.items(), ("o-", "s--")):
    axis.plot(widths, values, style, label=label)
axis.set(xlabel="standard deviation of the blur in pixels", ylabel="relative to the sharp photo")
axis.set(xticks=widths, ylim=(0, 1.05))
axis.legend()
describe(
    figure,
    "Squared length and noise of the astronaut against the width of the blur: both fall, the squared length much "
    "faster than the noise.",
)
plt.show()

# %% [markdown]
# ## 3. Cell by cell
#
# Without one cell of 49, $Q$ changes little, and where it falls most, the cell carried much signal for its noise. All cells whose removal *raises* $Q$ have more noise than signal, each as a share of the whole.

# %%
with torch.no_grad():
    features, cells = sface.features_and_cells(image)
    signal, noise = (each[0] for each in signal_and_noise(sface.head, cells))
    before = closed_form_quality(sface.head, features).item()
    change = torch.zeros(7, 7)
    for row in range(7):
        for column in range(7):
            without = cells.clone()
            without[..., row, column] = 0
            change[row, column] = closed_form_quality(sface.head, without.flatten(1)).item() - before
balance = signal / signal.sum() - noise / noise.sum()  # more signal than noise, as shares
rank = spearmanr(balance.flatten(), change.flatten()).statistic
print(f"Q rises without {(change > 0).sum()} of 49 cells; rank correlation with signal less noise {rank:.1f}")
assert rank < -0.5
assert (balance[change > 0] < 0).all()
lever = [(change > 0).sum().item(), 1000 * change.min().item()]
check(lever, "ddcd6c24b78b", digits=1)

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
drawn = {"signal less noise, each as a share of the whole, in 1/1000": 1000 * balance}
drawn["change of Q without the cell, in 1/1000"] = 1000 * change
for axis, (title, values) in zip(axes, drawn.items()):
    limit = values.abs().max().item()
    image_of = axis.imshow(values, cmap=LOWER_HIGHER, vmin=-limit, vmax=limit)
    figure.colorbar(image_of, ax=axis, shrink=0.8)
    for (row, column), value in zip(torch.cartesian_prod(*[torch.arange(7)] * 2).tolist(), values.flatten()):
        colour = "white" if abs(value) > 0.6 * limit else "black"
        axis.text(column, row, f"{value:+.2f}", ha="center", va="center", fontsize=7, color=colour)
    axis.set_title(title, fontsize=9)
    axis.set_axis_off()
describe(
    figure,
    "Two maps of 7×7 cells. Signal less noise is highest around the eyes; without these cells Q falls most. "
    "Without a few cells of hair and forehead, which have more noise than signal, Q rises.",
)
plt.show()

# %% [markdown]
# *Red is lower, blue is higher. The map on the right is roughly the negative of that on the left: what carries more signal than noise is missed most.*

# %% [markdown]
# ## 4. The proof
#
# Flattened, a term of the noise is $f_c^2\,(\lVert A_c\rVert^2 - (u^\top A)_c^2)$. The square is not negative, and neither is the bracket: $(u^\top A)_c$ is the projection of $A_c$ on a unit vector, so by Cauchy and Schwarz it is no longer than $A_c$.
#
# If the head sees the mean, the term of one cell is $f_c\,\frac{a_c}{n}\,(\dots)$: negative where the cell has another sign than the mean of all cells. A feature that is positive in most cells is made *smaller* by such a cell, and with it the square that dropout scatters. FaceNet's last block ends without a ReLU, so its cells have both signs and single terms are negative, though no sum over a cell's 1792 channels is. Here is the smallest example.

# %%
two = torch.tensor([[[[3.0, -1.0], [0.0, 0.0]]]])  # one channel; its mean is 0.5
head = torch.nn.Linear(1, 2, bias=False)
head.weight.data = torch.tensor([[1.0], [1.0]])
with torch.no_grad():
    _, none = signal_and_noise(head, two)
    print("one feature turns nothing:", [round(value, 6) + 0.0 for value in none.flatten().tolist()])
    pair = torch.cat([two, torch.tensor([[[[1.0, 1.0], [1.0, 1.0]]]])], dim=1)  # and a second channel
    wide = torch.nn.Linear(2, 2, bias=False)
    wide.weight.data = torch.eye(2)
    _, noise = signal_and_noise(wide, pair)
    print("two features:", [round(value, 2) for value in noise.flatten().tolist()])
assert noise.min() < 0 < noise.sum()

facenet = plqlite.facenet()
faces = torch.cat([plqlite.load_face(photo, facenet) for photo in plqlite.sample_faces().values()])
with torch.no_grad():
    _, noise = signal_and_noise(facenet.head, facenet.cells(faces))
    assert (facenet.cells(faces) < 0).any() and noise.min() > 0
