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
# | **Question** | The method takes *any* face-recognition network. How do I bring mine, and how would I notice that I brought it wrongly? |
# | **Outcome** | You can take an ONNX file apart, split it where dropout acts, calibrate it and explain faces with it; wrap a PyTorch module of your own; and check that you feed it what it was made for, which no map will do for you. |
# | **Time** | 25 minutes to read; under 40 seconds to run on two CPU cores |
# | **Paper** | [arXiv 2110.11001](https://arxiv.org/abs/2110.11001), §4.2: the networks of its experiments |
#
# You have read [01](01_ser_fiq.ipynb) to [03](03_saliency.ipynb). The paper used two networks, plqlite brings two of its own, and yours is next.

# %%
import copy
import shutil
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import onnxruntime
import torch
from IPython.display import display
from torch import nn
from torch.nn.functional import normalize

import plqlite
from plqlite.calibration import measure
from plqlite.faces import crop_box
from plqlite.onnx_graph import fold_constants, read_onnx
from plqlite.show import draw_map
from plqlite.weights import SFACE, find_weights

portraits = plqlite.sample_faces()  # nine people

# %% [markdown]
# ## What the method asks of a network
#
# Step 1 lets dropout act on *features* $f$ and repeats what comes after them, the *head*. Steps 2 and 3 want a gradient from the embedding back to the pixels. A network that ends in a fully connected layer, as face-recognition networks do, has all of it:
#
# $$\text{image } I \;\xrightarrow{\ \text{backbone}\ }\; f \in \mathbb R^D \;\xrightarrow{\ \text{head}\ }\; z \in \mathbb R^d,\qquad e = \frac{z}{\lVert z\rVert_2}$$
#
# The features are the input of the last fully connected layer; the head is that layer and what follows it, without the final L2 normalisation. So we need one thing only: the place to split. And around the network we need two more, which no file mentions and which go wrong more often: how the face was cropped, and in which colour order and range its pixels enter.
#
# ## A file taken apart
#
# Networks travel as ONNX files: a list of *nodes* (operations), each with names for what goes in and what comes out, and the weights. Here is the one that `plqlite.sface()` is made from. We copy it to a folder of our own, as if you had just downloaded it:

# %%
folder = tempfile.TemporaryDirectory()
path = Path(folder.name, "my_network.onnx")
shutil.copy(find_weights(SFACE), path)


def dimensions(value):
    """Shape that a file states for an input or output."""
    return [each.dim_value for each in value.type.tensor_type.shape.dim]


proto, sha256 = read_onnx(path)  # reads data, runs no code, and no file outside its folder
(image,) = (value for value in proto.graph.input if value.name == "data")
(embedding,) = proto.graph.output
print("takes  ", image.name, dimensions(image))
print("returns", embedding.name, dimensions(embedding))
print("nodes  ", dict(Counter(node.op_type for node in proto.graph.node).most_common(5)), "…")

# %% [markdown]
# `DequantizeLinear` is what makes this file small: weights are stored as whole numbers of 8 bits and turned into real ones on the way. Such nodes depend on constants alone, so they can be computed once and forgotten. `Dropout` does nothing when a network is used; we put our own in its place. What remains are layers. The first three and the last six:

# %%
opset = proto.opset_import[0].version  # the edition of ONNX's operations that this file was written for
nodes, constants = fold_constants(proto.graph, opset)  # what depends on the image, and all weights
for node in nodes[:3] + nodes[-6:]:
    weights = [constants[name].shape for name in node.input if name in constants]
    print(f"{node.op_type:<20} {node.input[0]:>15} → {node.output[0]:<16} weights {weights}")

# %% [markdown]
# `Sub` and `Mul` at the start bring pixels of 0..255 into the small range that networks work in. Many files leave that to you; this one does not, and scaling again would be a mistake.
#
# A `Gemm` is a fully connected layer, $y = W f + b$. Look for the last one, and you have the split:


# %%
def last_fully_connected(nodes, constants):
    """Name of the last layer in which every output depends on every input, and of what goes into it."""
    for node in reversed(nodes):
        if node.op_type in ("Gemm", "MatMul") and node.input[1] in constants:
            return node.output[0], node.input[0]
    raise ValueError("This network has no fully connected layer.")


layer, features = last_fully_connected(nodes, constants)
print(f"head begins at {layer}, features are {features}")

# %% [markdown]
# ## Rebuilt in one line
#
# `from_onnx` does all this (also where a file ends in a convolution, normalises its embeddings, or wants images as (H, W, 3)) and rebuilds both parts as PyTorch modules, so that there are gradients. What it cannot use it refuses, and says why. The model's *card* says what it did:

# %%
model = plqlite.from_onnx(path, device="cpu")  # the same device as the arrays that we compare with
for key, value in model.card.items():
    print(f"{key:<8} {value[:64]}")

assert model.card["split"] == layer

# %% [markdown]
# `input` says that images enter as RGB in 0..255: it has noticed the `Sub` and `Mul`. For a file without them the defaults are ArcFace's, $(x - 127.5)/127.5$, RGB, aligned by landmarks. State what is different for yours:
#
# ```python
# plqlite.from_onnx("net.onnx", mean=127.5, std=128.0, channels="BGR", align=plqlite.faces.crop_box, split="fc1")
# ```
#
# (`split` names the node where the head begins, should the last fully connected layer be the wrong place.)
#
# Is it still the same network? Let another program run the file as it is, ONNX Runtime, and compare embeddings, one image and nine. (`from_onnx` does so itself when it loads a file, and refuses one that comes out different.)


# %%
def onnx_runtime(path, images):
    """Embeddings by ONNX Runtime: (B, 3, 112, 112), RGB 0..255 -> (B, 128)."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, options)
    types = {"tensor(float)": np.float32, "tensor(int8)": np.int8, "tensor(int64)": np.int64}
    weights = {each.name: np.zeros(each.shape, types[each.type]) for each in session.get_inputs()}
    # (this old file lists weights as inputs; those that it computes itself are asked for, and not used)
    rows = [session.run(None, weights | {"data": one.numpy()[None]})[0] for one in images]
    return torch.tensor(np.concatenate(rows))


faces = torch.cat([plqlite.load_face(photo, model) for photo in portraits.values()])  # (9, 3, 112, 112)
expected = normalize(onnx_runtime(path, faces), dim=-1)
for count in (1, 9):
    difference = (model(faces[:count]) - expected[:count]).abs().max()
    print(f"{count} images: embeddings agree to 5 decimals: {bool(difference < 1e-5)}")
    assert difference < 1e-5

sface = plqlite.sface(device="cpu")  # is built in the same way
assert torch.equal(model(faces), sface(faces))

# %% [markdown]
# ## Two layers, one matrix
#
# The head of this file has two layers, a fully connected one and BatchNorm; yet `model.head` is a single `Linear`. In use, BatchNorm is affine (a matrix and an offset), too, and affine after affine is affine:
#
# $$z = s\,\frac{(W f + b) - \mu}{\sqrt{v + \varepsilon}} + t = A f + c,\qquad A = \mathrm{diag}\!\Big(\frac{s}{\sqrt{v+\varepsilon}}\Big) W$$
#
# with BatchNorm's mean $\mu$, variance $v$, scale $s$ and shift $t$, a value each for every output.
#
# That matters for step 1: [01](01_ser_fiq.ipynb) found a closed form of $Q$ for an affine head, the limit of infinitely many passes for the price of one. But how would a program know that the head of some file is affine, whatever its layers are called? It does not believe names, it measures. An affine function is known from its value at 0 and its slope there; if that also predicts the values at random places, we take it to be affine:


# %%
def affine(head, width):
    """Slope (d, D) and offset (d,) of a head at 0, and whether they say what it does elsewhere."""
    zero = torch.zeros(width)
    slope = torch.autograd.functional.jacobian(head, zero)  # (d, D)
    offset = head(zero)
    elsewhere = torch.randn(5, width, generator=torch.Generator().manual_seed(0))
    return slope, offset, torch.allclose(head(elsewhere), elsewhere @ slope.T + offset, atol=1e-3)


slope, offset, is_affine = affine(model.head, 50176)
_, _, with_relu = affine(nn.Sequential(model.head, nn.ReLU()), 50176)
print(f"head affine: {is_affine}, head with a ReLU behind it: {with_relu}")
assert is_affine and not with_relu

s, t, mean, variance = (torch.tensor(constants[name]) for name in nodes[-1].input[1:])
weight = torch.tensor(constants[nodes[-2].input[1]])  # W
epsilon = 2e-5  # as the file's BatchNorm says
torch.testing.assert_close(slope, (s / (variance + epsilon).sqrt())[:, None] * weight, atol=1e-5, rtol=1e-4)

# %% [markdown]
# The matrix found by measuring is the one of the formula. Where the head is *not* affine, plqlite keeps its layers, draws masks as the paper does, and refuses the closed form.
#
# ## Constants of its own
#
# $Q$ of the new model is there at once. $\hat Q$ and the level of $P$ need three constants that belong to one network and no other: $\alpha$ and $r$ of Eq. 2, and $\gamma$ of Eq. 6. A model without them says so:

# %%
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    raw = plqlite.explain(model, faces[:1])
print(caught[0].message)
print("calibrated:", raw.calibrated)

# %% [markdown]
# `calibrate` fits them on faces by the rules of [01](01_ser_fiq.ipynb) and [03](03_saliency.ipynb), and saves them beside the file together with its hash. The next `from_onnx` finds them; if the file, its input or its split has changed, it warns and ignores them.
#
# Take a hundred photos or more of the kind that you want to judge (`data_scripts/calibrate.py FOLDER --model net.onnx` does it for a folder). We have nine, and the constants of `plqlite.sface()`, fitted on 100 photos of LFW, to compare with:

# %%
model.scaling = plqlite.calibrate(model, faces)
fitted, usual = model.scaling, sface.scaling
print(fitted.provenance)
print(f"r {fitted.r:.2f} (from 100 photos: {usual.r:.2f})   γ {fitted.gamma:.0f} ({usual.gamma:.0f})")
print("saved:", sorted(each.name for each in Path(folder.name).iterdir()))

assert abs(fitted.r - usual.r) < 0.01 and abs(fitted.gamma - usual.gamma) < 0.2
assert plqlite.from_onnx(path).scaling == fitted

# %%
quality = plqlite.ser_fiq(model, faces)
line = torch.linspace(0.85, 0.93, 200)
figure, axis = plt.subplots(figsize=(6.6, 2.6), layout="constrained")
for scaling, label, colour in ((fitted, "nine sample faces", "C3"), (usual, "100 LFW photos", "C0")):
    axis.plot(line, plqlite.scale_quality(line, scaling.alpha, scaling.r), colour, label=label)
    axis.plot(quality, plqlite.scale_quality(quality, scaling.alpha, scaling.r), "o", color=colour)
axis.set(xlabel="Q", ylabel="scaled quality Q̂", title="Eq. 2, fitted on")
axis.legend(frameon=False)
plt.show()

# %% [markdown]
# *One network, two sets of photos. The sample faces (six of them cut from one group photo) are of lower quality on average and differ more, so their curve lies further left and is flatter. $\gamma$ is nearly the same. What an "ordinary" photo is, is up to those that you calibrate on.*
#
# With constants, `show` and everything else works as before. The model is calibrated, and the map is the one of [00](00_quickstart.ipynb), but for those constants:

# %%
explanation = plqlite.explain(model, faces[:1])
assert explanation.calibrated
plqlite.show(faces[:1], explanation, ["from_onnx"])

# %% [markdown]
# ## A network of your own
#
# A network that you hold as a PyTorch module needs no file: name its last linear layer. Let us write a very small one. *Eigenfaces* (Turk and Pentland, 1991) were among the first: make the face grey and small, weight its middle more (the window), and describe it by $d$ numbers, its position along the directions in which faces differ most. Those directions come from a singular value decomposition of a few faces (here of the very faces that we explain; this is a sketch, not a recogniser):


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


mirrored = torch.cat([faces, faces.flip(3)])  # 18 faces
eigenfaces = Eigenfaces((mirrored - 127.5) / 127.5)
own = plqlite.from_module(eigenfaces, last_layer="fc", size=112, mean=127.5, std=127.5, device="cpu")
print(own.card["source"], "·", own.card["head"], "·", own.card["input"])

with torch.no_grad():
    expected = normalize(eigenfaces((faces - 127.5) / 127.5), dim=-1)
torch.testing.assert_close(own(faces), expected)  # the same embeddings as the module's

own.scaling = plqlite.calibrate(own, faces)
explanation = plqlite.explain(own, faces[:2])
plqlite.show(faces[:2], explanation, ["astronaut", "Grace Hopper"])

# %% [markdown]
# Two things can be read off the maps. They are made of blocks of 4×4 pixels: this is as finely as this network can see. And the middle of the face does not stand out from the frame around it as it does for SFace. What little does, the window makes: without it the frame is *more* salient than the middle, and `calibrate` refuses to fit a γ to that. A map explains *the network that you bring*, not the face.

# %%
blocks = explanation.saliency.unfold(1, 4, 4).unfold(2, 4, 4)  # cut into 4×4 blocks: (2, 28, 28, 4, 4)
assert ((blocks.amax((3, 4)) - blocks.amin((3, 4))) <= 1e-4 * blocks.amax((3, 4))).all()
print("all pixels of a block share one saliency")

flat = Eigenfaces((mirrored - 127.5) / 127.5, spread=float("inf"))
flat = plqlite.from_module(flat, "fc", 112, name="no window", device="cpu")
ratios = {}
for each in (sface, own, flat):
    _, centre, frame, *_ = measure(each, faces)  # saliency per unit of Q̂, which needs no constants: (9,) each
    ratios[each.name] = (centre / frame).median()
    print(f"{each.name:<10} middle against frame: {ratios[each.name]:.1f} to 1")
assert ratios["no window"] < 1 < ratios["Eigenfaces"] < ratios["sface"]

try:
    plqlite.calibrate(flat, faces)
except ValueError as error:
    print(error)

# %% [markdown]
# `calibrate` has no file to save beside here: keep `own.scaling` yourself, and give it to the model the next time. For a network that you trained: load your checkpoint into the module first. If you name a layer that is not there, the error lists the linear ones. A module that returns more than the embedding, such as (embedding, norm), needs a small wrapper that returns the embedding alone (for a file, name the one that you mean: `output="…"`).

# %% [markdown]
# ## When a map looks wrong
#
# Nothing stops you from feeding a network what it was not made for: numbers come out all the same. Three mistakes are common: the face is not **cropped** as in training, **red and blue** are exchanged, or the pixels have another **range**. Each is an attribute of a `FaceModel`, so we can make them on purpose:


# %%
def mistaken(model, **changes):
    """A copy of a model with some of its input conventions changed."""
    other = copy.copy(model)
    for name, value in changes.items():
        setattr(other, name, value)
    return other


def wide_crop(photo, face, size):
    """What an `align` function does: photo (H, W, 3) and found face -> (size, size, 3). Here: too much."""
    left, top, right, bottom = face.box
    box = np.array([2 * left - right, 2 * top - bottom, 2 * right - left, 2 * bottom - top])
    return crop_box(photo, face._replace(box=box), size)


models = {
    "right": sface,
    "FaceNet's crop": mistaken(sface, align=crop_box),
    "wide crop": mistaken(sface, align=wide_crop),
    "blue first": mistaken(sface, channels="BGR"),
    "range 0..1": mistaken(sface, mean=0.0, std=255.0),
}
in_colour = [photo for name, photo in portraits.items() if name != "actor"]  # his photo is grey
quality, embeddings = {}, {}
figure, axes = plt.subplots(3, 5, figsize=(9, 5.8), layout="constrained")
for (name, each), (above, middle, below) in zip(models.items(), axes.T):
    crops = torch.cat([plqlite.load_face(photo, each) for photo in in_colour])  # (8, 3, 112, 112)
    explanation = plqlite.explain(each, crops)
    quality[name], embeddings[name] = explanation.quality, each(crops)
    calibrated = mistaken(each, scaling=plqlite.calibrate(each, crops))
    above.imshow(each.pixels(crops)[0].permute(1, 2, 0) / 255)  # as the network gets it
    draw_map(middle, explanation.plq[0])
    draw_map(below, plqlite.explain(calibrated, crops[:1]).plq[0])
    above.set_title(name, fontsize=9)
for row, label in zip(axes, ("input", "map", "map, calibrated\non this input")):
    row[0].set_ylabel(label, fontsize=9)
for axis in axes.flat:
    axis.set(xticks=[], yticks=[])
plt.show()

# %% [markdown]
# *Top: what the network gets. Middle: with SFace's own constants a wrong crop or range turns this map red, for $Q$ falls far below $r$. Bottom: the same, after calibrating on the wrong input as if nothing were the matter. The alarm is gone.*
#
# So the warning is in the constants, and constants fitted on wrong input warn of nothing: **check the input first, calibrate then.** (Nor does a red map prove a mistake: it may be a poor photo.) What can be checked without constants? Photos of *different* people should have embeddings that are near to orthogonal, $e_i^{\top} e_j \approx 0$. And the embedding of one photo should be the one that the network's authors compute:

# %%
reference = onnx_runtime(path, torch.cat([plqlite.load_face(photo, sface) for photo in in_colour]))
alike, agreement = {}, {}
print(f"{'':<16}{'mean Q':>8}{'different people alike':>24}{'agrees with reference':>23}")
for name, e in embeddings.items():
    alike[name] = (e @ e.T)[~torch.eye(len(e), dtype=bool)].mean()
    agreement[name] = (e * normalize(reference, dim=-1)).sum(1).mean()
    print(f"{name:<16}{quality[name].mean():>8.3f}{alike[name]:>24.2f}{agreement[name]:>23.2f}")

assert alike["right"] < 0.2 and alike["range 0..1"] > 0.8 and alike["wide crop"] > 0.3
assert agreement["right"] > 0.999 and max(agreement[name] for name in models if name != "right") < 0.99
assert abs(quality["blue first"] - quality["right"]).mean() < 0.01

# %% [markdown]
# - **Range 0..1**, where the file expects 0..255, is a black picture, and makes all people one person.
# - **FaceNet's crop** costs quality, though people are still told apart; in a **wide crop** they are told apart less.
# - **Blue first** changes the embeddings a little and $Q$ hardly at all. Its map looks as plausible as the right one.
#
# Only the last column finds every mistake. If the authors give you code, or one photo with its embedding, compare: `model(plqlite.load_face("crop.png", model, aligned=True)) @ reference` must be 1 up to rounding. The whole way, then:
#
# 1. load it, read the card;
# 2. look at `model.pixels(images)`;
# 3. compare one embedding with the authors';
# 4. without theirs: are different people orthogonal, and two photos of one person alike?
# 5. calibrate, and only then believe a map.
#
# ## ArcFace
#
# The paper's main results are on ArcFace. InsightFace publishes such networks for non-commercial research only, so plqlite does not bring them: `plqlite.arcface()` lets the `insightface` package download `buffalo_l` (ResNet-50, 289 MB) into its own folder, `plqlite.arcface("antelopev2")` ResNet-100. The next cell runs if the file is there.

# %%
# NBVAL_IGNORE_OUTPUT: what it prints depends on whether you have the file
if Path("~/.insightface/models/buffalo_l/w600k_r50.onnx").expanduser().exists():
    arcface = plqlite.arcface(device="cpu")
    aligned = torch.cat([plqlite.load_face(photo, arcface) for photo in portraits.values()])
    arcface.scaling = arcface.scaling or plqlite.calibrate(arcface, aligned)
    display(plqlite.show(aligned[:2], plqlite.explain(arcface, aligned[:2]), ["astronaut", "Grace Hopper"]))
else:
    print("ArcFace is not here. With it, this cell would show its maps of the two portraits.")

# %% [markdown]
# ## Exercises
#
# 1. **Split elsewhere.** Rebuild the file with `split="bn1"`, the BatchNorm before the features, and with `split="conv_14_relu"`. Is the head still affine? Does $Q$ change? What does that mean for its constants?
# 2. **Another network, the same mistakes.** Make the mistakes with FaceNet (and SFace's crop, `align_arcface`). Which of them does $Q$ show, which does the reference show?
# 3. **Take a module apart.** `plqlite.facenet().backbone.module` is facenet-pytorch's network as a whole. Wrap it with `from_module` and show that you get `plqlite.facenet()`.
# 4. **A head that is not affine.** Write a network of a few layers with a `Tanh` behind the last linear one. What do `from_module`, `ser_fiq` and `ser_fiq_closed_form` say?
# 5. **How sure are nine faces?** Calibrate nine times, each time without one of the faces. How far does $\hat Q$ of a face move because $r$ does, how far because $\alpha$ does?
#
# Solutions: [solutions/10_your_own_model.ipynb](solutions/10_your_own_model.ipynb) · Back to [00 · What does my photo's map look like?](00_quickstart.ipynb)
