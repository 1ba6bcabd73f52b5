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
# # 10 · How do I use another network?
#
# | | |
# |---|---|
# | **Question** | The method works with *any* face recognition network. How do I use mine, and how would I notice that I had set it up wrongly? |
# | **Outcome** | You can take an ONNX file apart, split it where dropout acts, calibrate it and explain faces with it; wrap a PyTorch module of your own; and check that you feed it the kind of input it was trained on, which no map will do for you. |
# | **Time** | 22 minutes to read, 85 for the exercises; 22 seconds to run ([two CPU cores](../docs/times.csv)) |
# | **Paper** | [arXiv 2110.11001](https://arxiv.org/abs/2110.11001), §4.2: the networks of its experiments |
#
# This notebook builds on [01](01_ser_fiq.ipynb) to [03](03_saliency.ipynb). The paper used two networks, plqlite comes with two, and yours is next.

# %%
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn
from torch.nn.functional import normalize

import plqlite
from plqlite.lessons import check, claim, compact_pictures
from plqlite.networks.onnx_graph import fold_constants, read_onnx
from plqlite.networks.weights import SFACE, find_weights

compact_pictures()  # maps are large as PNG
portraits = plqlite.sample_faces()  # nine subjects

# %% [markdown]
# ## What the method needs from a network
#
# Step 1 applies dropout to *features* $f$ and repeats what comes after them, the *head*. Steps 2 and 3 need a gradient from the embedding back to the pixels. A network that ends in a fully connected layer, as face recognition networks do, offers all of this:
#
# $$\text{image } I \;\xrightarrow{\ \text{backbone}\ }\; f \in \mathbb R^D \;\xrightarrow{\ \text{head}\ }\; z \in \mathbb R^d,\qquad e = \frac{z}{\lVert z\rVert_2}$$
#
# The features are the input of the last fully connected layer; the head is that layer and what follows it, without the final L2 normalisation. So we need to know only one thing about the network: where to split it. We need to know two more things about its input. Files rarely state them, and they go wrong more often: how the face was cropped, and in which colour order and range its pixels enter.
#
# ## Taking a file apart
#
# Networks are often shared as ONNX files. Such a file holds the weights and a list of *nodes* (operations), each with the names of its inputs and outputs. Here is the file from which `plqlite.sface()` is built. We copy it to a folder of our own, as if you had just downloaded it:

# %%
folder = tempfile.TemporaryDirectory()
path = Path(folder.name, "my_network.onnx")
shutil.copy(find_weights(SFACE), path)


def dimensions(value):
    """The shape that a file states for an input or output."""
    return [each.dim_value for each in value.type.tensor_type.shape.dim]


proto, sha256 = read_onnx(path)  # reads it as data: runs no code, opens no file outside its folder
(image,) = (value for value in proto.graph.input if value.name == "data")
(embedding,) = proto.graph.output
print("takes  ", image.name, dimensions(image))
print("returns", embedding.name, dimensions(embedding))
print("nodes  ", dict(Counter(node.op_type for node in proto.graph.node).most_common(5)), "…")

# %% [markdown]
# `DequantizeLinear` is what keeps this file small: the weights are stored as 8-bit integers and converted to real numbers when the network runs. Such nodes depend only on constants, so they can be computed once and then removed. `Dropout` does nothing when a network is in use; we put our own in its place. What remains are layers. Here are the first three and the last six:

# %%
opset = proto.opset_import[0].version  # the version of ONNX's operations that this file uses
nodes, constants = fold_constants(proto.graph, opset)  # what depends on the image, and all weights
for node in nodes[:3] + nodes[-6:]:
    weights = [constants[name].shape for name in node.input if name in constants]
    print(f"{node.op_type:<20} {node.input[0]:>15} → {node.output[0]:<16} weights {weights}")

# %% [markdown]
# `Sub` and `Mul` at the start bring pixels from 0..255 into the small range that networks work in. Many files leave that to you; this one does not, and scaling a second time would be a mistake.
#
# A `Gemm` is a fully connected layer, $y = W f + b$. Find the last one, and you know where to split:


# %%
def last_fully_connected(nodes, constants):
    """The last layer in which every output depends on every input: names of its output and input."""
    for node in reversed(nodes):
        if node.op_type in ("Gemm", "MatMul") and node.input[1] in constants:
            return node.output[0], node.input[0]
    raise ValueError("This network has no fully connected layer.")


layer, features = last_fully_connected(nodes, constants)
print(f"head begins at {layer}, features are {features}")

# %% [markdown]
# ## Rebuilt in one line
#
# `from_onnx` does all of this, even if a file ends in a convolution, normalises its embeddings, or expects images as (H, W, 3). It rebuilds both parts as PyTorch modules, so that there are gradients. A file that it cannot use is refused, with the reason. The model's *card* says what was done:

# %%
model = plqlite.from_onnx(path, device="cpu")  # the device of the arrays that we compare with
for key, value in model.card.items():
    print(f"{key:<8} {value[:64]}")

claim("It is split where we would split it", model.card["split"] == layer)

# %% [markdown]
# `input` says that images enter as RGB in 0..255: `from_onnx` has noticed the `Sub` and `Mul`. For a file without them, the defaults are ArcFace's: $(x - 127.5)/127.5$, RGB, aligned by landmarks. State whatever is different for your network:
#
# ```python
# plqlite.from_onnx("net.onnx", mean=127.5, std=128.0, channels="BGR", align=plqlite.faces.crop_box, split="fc1")
# ```
#
# (`split` names the node where the head begins, in case the last fully connected layer is the wrong place.)
#
# Is it still the same network? Let another program, ONNX Runtime, run the file as it is, and compare the embeddings, for one image and for nine. (`from_onnx` makes such a comparison itself when it loads a file, and refuses the file if the embeddings differ.)


# %%
import onnxruntime


def onnx_runtime(path, images):
    """Embeddings by ONNX Runtime: (B, 3, 112, 112), RGB 0..255 -> (B, 128)."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, options)
    types = {"tensor(float)": np.float32, "tensor(int8)": np.int8, "tensor(int64)": np.int64}
    weights = {each.name: np.zeros(each.shape, types[each.type]) for each in session.get_inputs()}
    # (this old file lists its weights as inputs; zeros will do for those that it computes itself)
    rows = [session.run(None, weights | {"data": one.numpy()[None]})[0] for one in images]
    return torch.tensor(np.concatenate(rows))


# %%
faces = torch.cat([plqlite.load_face(photo, model) for photo in portraits.values()])  # (9, 3, 112, 112)
expected = normalize(onnx_runtime(path, faces), dim=-1)
differences = [(model(faces[:count]) - expected[:count]).abs().max() for count in (1, 9)]
claim(
    "ONNX Runtime returns the same embeddings, to 0.00001, for one face and for nine", max(differences) < 1e-5
)

sface = plqlite.sface(device="cpu")
claim("plqlite.sface() returns exactly the same", torch.equal(model(faces), sface(faces)))

# %% [markdown]
# ## Two layers, one matrix
#
# The head in this file has two layers, a fully connected one and BatchNorm, yet `model.head` is a single `Linear`. When the network is in use, BatchNorm is affine too (a matrix and an offset), and one affine function after another is again affine:
#
# $$z = s\,\frac{(W f + b) - \mu}{\sqrt{v + \varepsilon}} + t = A f + c,\qquad A = \mathrm{diag}\!\Big(\frac{s}{\sqrt{v+\varepsilon}}\Big) W$$
#
# Here $\mu$, $v$, $s$ and $t$ are BatchNorm's mean, variance, scale and shift, one value of each per output.
#
# This matters for step 1: for an affine head, [01](01_ser_fiq.ipynb) found a closed form of $Q$, the limit of infinitely many passes for the price of one. But how can a program know that the head in some file is affine, whatever its layers are called? It does not trust names, it measures. An affine function is determined by its value and its slope at 0; if these also predict its values at random points, we take it to be affine:


# %%
def affine(head, width):
    """Slope (d, D) and offset (d,) of a head at 0, and whether they predict its values elsewhere."""
    zero = torch.zeros(width)
    slope = torch.autograd.functional.jacobian(head, zero)  # (d, D)
    offset = head(zero)
    elsewhere = torch.randn(5, width, generator=torch.Generator().manual_seed(0))
    return slope, offset, torch.allclose(head(elsewhere), elsewhere @ slope.T + offset, atol=1e-3)


slope, offset, is_affine = affine(model.head, 50176)
_, _, with_relu = affine(nn.Sequential(model.head, nn.ReLU()), 50176)
claim("The head is affine; with a ReLU after it, it would not be", is_affine and not with_relu)

s, t, mean, variance = (torch.tensor(constants[name]) for name in nodes[-1].input[1:])
weight = torch.tensor(constants[nodes[-2].input[1]])  # W
epsilon = 2e-5  # of the file's BatchNorm
formula = (s / (variance + epsilon).sqrt())[:, None] * weight  # A
claim(
    "The matrix found by measuring is the A of the formula",
    torch.allclose(slope, formula, atol=1e-5, rtol=1e-4),
)

# %% [markdown]
# If a head is *not* affine, plqlite keeps its layers, draws dropout masks as the paper does, and refuses the closed form.
#
# ## Constants of its own
#
# $Q$ of the new model is available at once. $\hat Q$ and the level of $P$ need three constants that belong to one network and no other: $\alpha$ and $r$ of Eq. 2, and $\gamma$ of Eq. 6. A model without them says so:

# %%
import warnings

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    raw = plqlite.explain(model, faces[:1])
print(caught[0].message)
print("calibrated:", raw.calibrated)

# %% [markdown]
# `calibrate(model, images, degraded=None)` fits them to faces, by the rules of [01](01_ser_fiq.ipynb) and [03](03_saliency.ipynb). Use at least a hundred photos of the kind that you want to judge, in which nothing covers the face. Versions of them that are worse (blurred, dark, noisy, covered …) may be given as `degraded`: they count for $\alpha$ and $r$, so that $\hat Q$ has room for photos worse than yours, and for nothing else. Here we have nine faces, with two worse versions of each, and the constants of `plqlite.sface()` to compare with, fitted on 208 photos and 416 worse versions:

# %%
from plqlite.experiments.degradations import degraded_versions
from plqlite.experiments.icao import align_simulated
from plqlite.faces import largest_face

worse = []
for name, photo in portraits.items():
    face = largest_face(photo)
    for version in degraded_versions(photo, face.landmarks, name).values():
        worse.append(align_simulated(model, version, face).image)

nine = plqlite.calibrate(model, faces)
model.scaling = plqlite.calibrate(model, faces, torch.stack(worse))
print(model.scaling.provenance)
fits = {"nine faces": nine, "and 18 worse": model.scaling, "208 photos and 416 worse": sface.scaling}
for label, scaling in fits.items():
    print(f"{label:<25} α {scaling.alpha:>3.0f}   r {scaling.r:.2f}   γ {scaling.gamma:.0f}")

# %%
shift_of_r, shift_of_gamma = (
    max(abs(getattr(each, name) - getattr(sface.scaling, name)) for each in fits.values())
    for name in ("r", "gamma")
)
claim(
    "r differs from SFace's by less than 0.01, γ by less than 0.2", shift_of_r < 0.01 and shift_of_gamma < 0.2
)
claim("α is more than twice as large", nine.alpha > model.scaling.alpha > 2 * sface.scaling.alpha)
claim("The worse versions lower α and r", nine.alpha > model.scaling.alpha and nine.r > model.scaling.r)

quality = plqlite.ser_fiq_closed_form(model, faces)
lowest = [plqlite.scale_quality(quality.min(), each.alpha, each.r) for each in (nine, sface.scaling)]
claim(
    "Of the nine, the lowest Q̂ is below 0.1 by the constants of nine faces, about 0.3 by those of 208 photos",
    lowest[0] < 0.1 and 0.25 < lowest[1] < 0.35,
)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
from plqlite.figures import describe

line = torch.linspace(0.85, 0.93, 200)
figure, axis = plt.subplots(figsize=(8, 3.2), layout="constrained")
for (label, scaling), style, marker, colour in zip(
    fits.items(), ("-", "--", "-."), "o^s", ("C3", "C1", "C0")
):
    axis.plot(line, plqlite.scale_quality(line, scaling.alpha, scaling.r), style, color=colour)
    axis.plot(quality, plqlite.scale_quality(quality, scaling.alpha, scaling.r), marker, color=colour)
    axis.plot([], [], style, marker=marker, color=colour, label=label)
axis.set(xlabel="quality Q", ylabel="scaled quality Q̂", title="One network, three sets of photos")
axis.legend(frameon=False, title="Eq. 2, fitted on", handlelength=4)
describe(
    figure,
    "Three rising curves of scaled quality against quality, which cross near 0.5: fitted on nine faces, alone or "
    "with 18 worse versions, they are steep and nearly the same; fitted on 208 photos, the curve is flatter.",
)
plt.show()

# %% [markdown]
# *Markers: the nine faces.* Six of them are cropped from one group photo, and all are alike in quality, so their curve is steep, and the lowest of them is nearly at 0. Eighteen worse versions change that little. On 208 photos as varied as everyday life the curve is flatter. What counts as an "ordinary" photo depends on the photos that you calibrate on.
#
# `calibrate` also measures *reference statistics*, what `advise` and the deviation compare with ([04](04_inpainting.ipynb), [07](07_icao.ipynb)), and saves everything next to the file, together with the file's hash. The next `from_onnx` reads it there; if the file, its input or its split has changed, it warns and ignores it.

# %%
print("saved:", sorted(each.name for each in Path(folder.name).iterdir()))
again = plqlite.from_onnx(path, device="cpu")
claim("The next from_onnx finds these constants", again.scaling == model.scaling)
print("reference statistics of:", ", ".join(again.reference_statistics.maps))
print("alarms:", set(again.reference_statistics.alarms.values()))

# %% [markdown]
# With fewer than 20 faces no alarms can be fitted, and a part of a face is named below −3.
#
# For a folder, `python data_scripts/calibrate.py FOLDER --model net.onnx --out constants.json` does all of this: it makes two worse versions of each photo by itself, chooses the alarms so that 5 % of new faces raise one, and resumes if it is interrupted. `--faces LIST.csv` says of each photo whom it shows, what covers the face (such photos are left out), whether reference statistics are learnt from it, and where it comes from. (*New* faces are those of another source; if the list names no sources, of another person.)
#
# With these constants, `show` and everything else work as before. The map is the one in [00](00_quickstart.ipynb) except for the different constants, and the grey bars are missing, since `model` has no reference statistics (`again` has):

# %%
explanation = plqlite.explain(model, faces[:1])
claim("The model is calibrated", explanation.calibrated)
plqlite.show(faces[:1], explanation, ["from_onnx"])

# %% [markdown]
# ## A network of your own
#
# If you have a network as a PyTorch module, you need no file: just name its last linear layer. Let us write a very small one. *Eigenfaces* (Turk and Pentland, 1991) were among the first face recognition models: make the face grey and small, give its middle more weight (the window), and describe it by $d$ numbers, its coordinates along the directions in which faces vary most. These directions come from a singular value decomposition of a few faces (here the very faces that we explain; this is a sketch, not a usable face recognition model):


# %%
class Eigenfaces(nn.Module):
    """Grey, 28×28, windowed, projected: (B, 3, 112, 112), −1..1 -> (B, 16)."""

    def __init__(self, images, dimensions=16, spread=1.0):
        super().__init__()
        place = torch.linspace(-1, 1, 28)
        self.register_buffer("window", torch.exp(-(place[:, None] ** 2 + place**2) / spread))
        self.pool = nn.AvgPool2d(4)
        self.fc = nn.Linear(28 * 28, dimensions)
        features = self.features(images)  # (N, 784)
        directions = torch.linalg.svd(features - features.mean(0), full_matrices=False).Vh[:dimensions]
        self.fc.weight = nn.Parameter(directions)
        self.fc.bias = nn.Parameter(-directions @ features.mean(0))

    def features(self, images):
        return (self.pool(images.mean(1)) * self.window).flatten(1)  # (B, 784)

    def forward(self, images):
        return self.fc(self.features(images))


# %%
mirrored = torch.cat([faces, faces.flip(3)])  # 18 faces
eigenfaces = Eigenfaces((mirrored - 127.5) / 127.5)
own = plqlite.from_module(eigenfaces, last_layer="fc", size=112, mean=127.5, std=127.5, device="cpu")
print(own.card["source"], "·", own.card["head"], "·", own.card["input"])

with torch.no_grad():
    expected = normalize(eigenfaces((faces - 127.5) / 127.5), dim=-1)
claim("It returns the embeddings of the module", torch.allclose(own(faces), expected, rtol=1.3e-6, atol=1e-5))

own.scaling = plqlite.calibrate(own, faces)
explanation = plqlite.explain(own, faces[:2])
plqlite.show(faces[:2], explanation, ["astronaut", "Grace Hopper"], style="paper")

# %% [markdown]
# The maps, $P$ as the paper draws it, show two things. They are made of blocks of 4×4 pixels: this network sees no finer detail. And the middle of the face does not stand out from the frame around it as clearly as it does for SFace. What contrast there is comes from the window: without it the frame is *more* salient than the middle, and `calibrate` refuses to fit a γ to that. A map explains *the network that you use*, not the face.

# %%
from plqlite.development import measure

flat = Eigenfaces((mirrored - 127.5) / 127.5, spread=float("inf"))
flat = plqlite.from_module(flat, "fc", 112, name="no window", device="cpu")
ratios = {}
for each in (sface, own, flat):
    _, centre, frame, *_ = measure(each, faces)  # saliency per unit of Q̂, needs no constants: (9,) each
    ratios[each.name] = (centre / frame).median()
    print(f"{each.name:<10} middle to frame: {ratios[each.name]:.1g} to 1")
try:
    plqlite.calibrate(flat, faces)
except ValueError as error:
    print(error)

blocks = explanation.saliency.unfold(1, 4, 4).unfold(2, 4, 4)  # cut into 4×4 blocks: (2, 28, 28, 4, 4)
spread = blocks.amax((3, 4)) - blocks.amin((3, 4))
claim("All pixels of a block share one saliency", (spread <= 1e-4 * blocks.amax((3, 4))).all())
claim("The middle stands out less than for SFace", 1 < ratios["Eigenfaces"] < ratios["sface"])
claim("Without the window, the frame stands out", ratios["no window"] < 1)

# %% [markdown]
# **Do its features have places?** If they are a feature map, flattened or averaged, as in SFace, ArcFace and FaceNet, signal and noise of its cells are known ([09](09_evidence.ipynb)), and the deviation is made of these two and the level of the map. `model.cells(images)` returns that map, or says that there is none, as for Eigenfaces, whose window comes last. Then the deviation comes from the level alone:

# %%
from plqlite.reference import fit_reference_statistics

print("my_network:", tuple(model.cells(faces).shape[1:]), "cells")
try:
    own.cells(faces)
except ValueError as error:
    print(error)

own.reference_statistics = fit_reference_statistics(measure(own, faces))
print("reference statistics of:", ", ".join(own.reference_statistics.maps))
explanation = plqlite.explain(own, faces[:2])
claim(
    "Eigenfaces has a deviation, but no signal",
    explanation.deviation.shape == (2, 112, 112) and explanation.signal is None,
)

# %% [markdown]
# (*combined* is how the maps together vary from face to face. Nine faces are far too few for reference statistics.)
#
# This time there is no file for `calibrate` to save the constants next to: keep `own.scaling` and `own.reference_statistics` yourself, and assign them to the model next time. For a network that you trained, load your checkpoint into the module first. If you name a layer that does not exist, the error lists the linear ones. A module that returns more than the embedding, such as (embedding, norm), needs a small wrapper that returns the embedding alone (for a file, name the output that you want: `output="…"`).

# %% [markdown]
# ## When a map looks wrong
#
# Nothing stops you from feeding a network something that it was not trained on: numbers come out all the same. Three mistakes are common: the face is not **cropped** as in training, **red and blue** are swapped, or the pixels are in another **range**. All three are settings of a model's `input`, so we can make the mistakes on purpose:


# %%
import copy
from dataclasses import replace

from plqlite.faces import crop_box


def mistaken(model, **changes):
    """A copy of a model with some of its input conventions changed."""
    other = copy.copy(model)
    other.input = replace(model.input, **changes)
    return other


def wide_crop(photo, face, size):
    """Like any `align`: photo (H, W, 3) and detected face -> (size, size, 3). This one takes in too much."""
    left, top, right, bottom = face.box
    box = np.array([2 * left - right, 2 * top - bottom, 2 * right - left, 2 * bottom - top])
    return crop_box(photo, face._replace(box=box), size)


# %%
models = {
    "correct": sface,
    "FaceNet's crop": mistaken(sface, align=crop_box),
    "wide crop": mistaken(sface, align=wide_crop),
    "blue first": mistaken(sface, channels="BGR"),
    "range 0..1": mistaken(sface, mean=0.0, std=255.0),
}
in_colour = [photo for name, photo in portraits.items() if name != "actor"]  # his photo is greyscale
quality, embeddings, inputs, maps, recalibrated = {}, {}, {}, {}, {}
for name, each in models.items():
    crops = torch.cat([plqlite.load_face(photo, each) for photo in in_colour])  # (8, 3, 112, 112)
    explanation = plqlite.explain(each, crops)
    quality[name], embeddings[name] = explanation.quality, each(crops)
    inputs[name], maps[name] = each.input.normalise(crops)[0], explanation.plq[0]  # of the astronaut
    fitted = copy.copy(each)
    fitted.scaling = plqlite.calibrate(each, crops)
    recalibrated[name] = plqlite.explain(fitted, crops[:1]).plq[0]

# %% jupyter={"source_hidden": true} tags=["hide-input"]
from plqlite.figures import draw_map

figure, axes = plt.subplots(3, 5, figsize=(9.4, 5.7), layout="constrained")
for name, (above, middle, below) in zip(models, axes.T):
    above.imshow(inputs[name].permute(1, 2, 0) / 255)
    drawn = draw_map(middle, maps[name].numpy())
    draw_map(below, recalibrated[name].numpy())
    above.set_title(name, fontsize=9)
for row, label in zip(axes, ("input", "map", "map, calibrated\non this input")):
    row[0].set_ylabel(label, fontsize=9)
for axis in axes.flat:
    axis.set(xticks=[], yticks=[])
figure.colorbar(drawn, ax=axes[1:], shrink=0.9, pad=0.01, label="pixel-level quality P")
describe(
    figure,
    "The astronaut as SFace gets her: correct, cropped as for FaceNet, cropped far too wide, with red and blue swapped, and black. "
    "Her maps: nearly all dark for both crops and the black input, much as the correct one for swapped colours. "
    "Calibrated on each input, all maps have yellow parts.",
)
plt.show()

# %%
wrong = ("FaceNet's crop", "wide crop", "range 0..1")
level, later = ({name: each.mean() for name, each in kind.items()} for kind in (maps, recalibrated))
claim(
    "By SFace's own constants, a wrong crop or range more than halves the mean of P",
    max(level[name] for name in wrong) < level["correct"] / 2,
)
claim(
    "Calibrated on the wrong input, it does not",
    min(later[name] for name in wrong) > later["correct"] / 2,
)

# %% [markdown]
# *Top: what the network gets. Middle: with SFace's own constants, a wrong crop or range turns this map dark, because $Q$ falls far below $r$. Bottom: the same, after calibrating on the wrong input as if nothing were the matter. The dark map, the only warning, is gone.*
#
# So this warning comes from the constants, and constants fitted on wrong input do not warn of anything: **check the input first, then calibrate.** (Nor does a dark map prove a mistake: the photo may simply be poor.) What can be checked without constants? Photos of *different* subjects should have nearly orthogonal embeddings, $e_i^{\top} e_j \approx 0$. And a photo's embedding should be the one that the network's authors compute (ONNX Runtime stands in for them here). The table shows the mean cosine for both checks:

# %%
reference = onnx_runtime(path, torch.cat([plqlite.load_face(photo, sface) for photo in in_colour]))
between, agreement = {}, {}
print(f"{'':<16}{'mean Q':>8}{'between subjects':>24}{'with the reference':>23}")
for name, e in embeddings.items():
    between[name] = (e @ e.T)[~torch.eye(len(e), dtype=bool)].mean()
    agreement[name] = (e * normalize(reference, dim=-1)).sum(1).mean()
    print(f"{name:<16}{quality[name].mean():>8.3f}{between[name]:>24.2f}{agreement[name]:>23.2f}")

# %%
claim(
    "Agreement with the reference is above 0.999 if all is correct, and below 0.99 after any mistake",
    agreement["correct"] > 0.999 and max(agreement[name] for name in models if name != "correct") < 0.99,
)
claim("Correct: subjects are nearly orthogonal, below 0.2", between["correct"] < 0.2)
claim("Range 0..1: all subjects look like one, above 0.8", between["range 0..1"] > 0.8)
claim("Wide crop: subjects are less distinct, above 0.3", between["wide crop"] > 0.3)
claim(
    "A wrong crop or range lowers the mean Q to more than 0.03 below r",
    max(quality[name].mean() for name in wrong) < sface.scaling.r - 0.03,
)
claim(
    "Blue first changes Q by less than 0.01 on average",
    abs(quality["blue first"] - quality["correct"]).mean() < 0.01,
)

# %% [markdown]
# - **Range 0..1**, where the file expects 0..255, amounts to a black picture.
# - **FaceNet's crop** lowers the quality, though subjects can still be told apart; with a **wide crop** they can be told apart less well.
# - **Blue first** changes the embeddings a little and $Q$ hardly at all. Its map looks as plausible as the correct one.
#
# Only the last column reveals every mistake. If the authors give you code, or one photo with its embedding, compare: `model(plqlite.load_face("crop.png", model, aligned=True)) @ reference` must be 1 up to rounding. The whole procedure, then:
#
# 1. load the network and read the card;
# 2. look at `model.input.normalise(images)`;
# 3. compare one embedding with the authors';
# 4. if you have none of theirs: are the embeddings of different subjects nearly orthogonal, and those of two photos of one subject similar?
# 5. calibrate, and only then trust a map.
#
# ## ArcFace
#
# The paper's main results are for ArcFace. InsightFace publishes such networks for non-commercial research only, so plqlite does not include them: `plqlite.arcface()` lets the `insightface` package download `buffalo_l` (ResNet-50, 289 MB) into its own folder, and `plqlite.arcface("antelopev2")` does the same with ResNet-100. The next cell uses ArcFace if the file is there.

# %%
# NBVAL_IGNORE_OUTPUT: the output depends on whether you have the file
from IPython.display import display

if Path("~/.insightface/models/buffalo_l/w600k_r50.onnx").expanduser().exists():
    arcface = plqlite.arcface(device="cpu")
    aligned = torch.cat([plqlite.load_face(photo, arcface) for photo in portraits.values()])
    arcface.scaling = arcface.scaling or plqlite.calibrate(arcface, aligned)
    display(plqlite.show(aligned[:2], plqlite.explain(arcface, aligned[:2]), ["astronaut", "Grace Hopper"]))
else:
    print("ArcFace is not here. If it were, this cell would show its maps of the two portraits.")

# %% [markdown]
# ## Exercises
#
# Where an answer is a number or a word, it checks itself: put it in place of `...` and run the cell.

# %% [markdown]
# ### Exercise 1 · Split elsewhere (easy, 15 minutes)
#
# Rebuild the file with `split="bn1"`, the BatchNorm before the features, and with `split="conv_14_relu"`. Is the head still affine? Do the embeddings change? Does $Q$, and by how much does its mean over the nine `faces` fall with `bn1`? What does that mean for the constants?
#
# <details><summary>Hint</summary>The head is on the card, <code>other.card["head"]</code>. <code>plqlite.ser_fiq_closed_form(other, faces)</code> returns Q of an affine head; for one that is not affine, <code>plqlite.ser_fiq</code> draws masks.</details>

# %%
fall = ...  # of the mean Q over the nine faces, from the split that from_onnx chooses to bn1
check(fall, "86e501496586", digits=3)

# %% [markdown]
# ### Exercise 2 · Another network, the same mistakes (medium, 20 minutes)
#
# Make the mistakes with FaceNet, `plqlite.facenet(device="cpu")`: SFace's crop, the wide crop, blue first, and the range 0..1. Which one does $Q$ reveal, and which does the reference reveal (FaceNet without a mistake)? For each, take the mean cosine between the nine embeddings and those of the reference, and give its angle.
#
# <details><summary>Hint</summary>SFace's crop is <code>plqlite.faces.align_arcface</code>; the others need <code>mistaken</code> and <code>wide_crop</code>. The angle is the arc cosine of the mean cosine: <code>.arccos().rad2deg()</code>.</details>

# %%
angles = ...  # in degrees: [SFace's crop, wide crop, blue first, range 0..1]
check(angles, "9ded64e39ffa", digits=0)

# %% [markdown]
# ### Exercise 3 · Take a module apart (easy, 10 minutes)
#
# `plqlite.facenet().backbone.module` is the complete network from facenet-pytorch. Wrap it with `from_module` and show that you get `plqlite.facenet()`. How many features does dropout act on, and how many numbers are an embedding?
#
# <details><summary>Hint</summary>The names of its parts: <code>named_children()</code>. FaceNet takes 160×160 pixels, (x − 127.5)/128, cropped by <code>plqlite.faces.crop_box</code>. If the layer has another name, the error lists the linear ones.</details>

# %%
widths = ...  # [features, numbers of an embedding]
check(widths, "a41b3b9d6301", digits=0)

# %% [markdown]
# ### Exercise 4 · A head that is not affine (medium, 15 minutes)
#
# Write a network of a few layers with a `Tanh` after the last linear one. What do `from_module`, `ser_fiq` and `ser_fiq_closed_form` say?
#
# <details><summary>Hint</summary>Take <code>Eigenfaces</code> as a model: pool, flatten, <code>nn.Linear</code>, <code>nn.Tanh</code>. Then read the card.</details>

# %% [markdown]
# ### Exercise 5 · How much can you trust nine faces? (hard, 25 minutes)
#
# Calibrate SFace nine times, each time without one of the nine faces. How far does $\hat Q$ of any of them move because $r$ does (with the $\alpha$ of all nine), and how far because $\alpha$ does (with the $r$ of all nine)?
#
# <details><summary>Hint</summary><code>plqlite.calibrate(sface, eight)</code> returns alpha and r, and with <code>q = plqlite.ser_fiq_closed_form(sface, faces)</code>, <code>plqlite.scale_quality(q, alpha, r)</code> applies them. Change one constant, keep the other, and take the largest change of any face.</details>

# %%
moves = ...  # [by r, by α]: the farthest that Q̂ of any face moves
check(moves, "e71bbe084274", digits=2)

# %% [markdown]
# Solutions: [solutions/10_your_own_model.ipynb](solutions/10_your_own_model.ipynb) · Back: [09](09_evidence.ipynb) · Next: [11 · Are the maps right, and is the score?](11_faithfulness.ipynb)
