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
# # 00 · What does my photo's map look like?
#
# | | |
# |---|---|
# | **Question** | How good is a face photo for a face recognition network, and which pixels does the network depend on? |
# | **Outcome** | You can draw how good any photo is for a network and where, with two real networks, and say what the picture and its numbers mean. |
# | **Time** | 10 minutes to read; 17 seconds to run ([two CPU cores](../docs/times.csv)) |
# | **Paper** | [Pixel-Level Face Image Quality Assessment for Explainable Face Recognition](https://arxiv.org/abs/2110.11001), Fig. 1 |
#
# You hand in a passport photo, and a machine answers: *quality too low*. What should you change? A single number cannot tell you. A pixel-level quality map (*PLQ map*, or *map* for short) is meant to: it shows how strongly the network depends on each pixel. How far that goes, [11](11_faithfulness.ipynb) tests.
#
# **Quality here means utility for recognition**, not beauty, sharpness or good taste. A picture that people like may be useless to a network, and vice versa.

# %% [markdown]
# ## Six lines

# %%
import plqlite

model = plqlite.sface()
photo = plqlite.sample_faces()["astronaut"]
images = plqlite.load_face(photo, model)
explanation = plqlite.explain(model, images)
plqlite.show(images, explanation, ["SFace"])

# %% [markdown]
# From left to right:
#
# 1. **The face** as the network sees it. `load_face` has found it in the photo, turned it upright and cropped it the way this network was trained to see faces.
# 2. **How good?** The red line is the score of this photo, from 0 (poor) to 1 (good). The grey bars are the scores of other photos, for comparison: most are to the left of the line, so this photo is better than most.
# 3. **Where?** The *pattern*. What the network makes of this face depends on the yellow pixels, and hardly on the blue ones. The pattern does not say how good the photo is.
# 4. **Both at once:** the pattern laid over the face. A part of the face that is unusually low, compared with other people's photos, would have a white outline, and its name would stand above. Here there is none.
#
# The middle of the face is yellow, its surroundings are blue. In numbers: the median of the pattern in the middle third of the crop and in a frame near its edge.

# %%
from plqlite.saliency import centre_and_background

centre, background = centre_and_background(explanation.pattern)
print(f"middle of the face {centre[0]:.1f}   frame {background[0]:.1f}")
assert centre > 3 * background

# %% [markdown]
# `load_face` also takes a path: `plqlite.load_face("me.jpg", model)`.
#
# ## In words
#
# `advise` says the same in words:

# %%
advice = plqlite.advise(model, explanation)
print(advice.text)
assert not advice.low and min(advice.z, key=advice.z.get) == "forehead"
assert 50 < advice.percentile < 95

# %% [markdown]
# It compares this face, part by part, with faces that nothing covers; σ is the standard deviation among those. Each part has a limit of its own, which few of them are below, and only what is below its limit is called *unusually low*. The astronaut's forehead, partly under hair, is the lowest part of her face, but above its limit.
#
# ## The paper's own map
#
# The paper puts both answers into one map, $P$. So does `style="paper"`:

# %%
plqlite.show(images, explanation, ["SFace"], style="paper")

# %% [markdown]
# By default we draw the two apart, because a photo of low quality has a $P$ that is low all over, which hides *where*; the pattern divides the level out. An example follows below. (The pattern is smoothed as well, since single pixels are noisy.)

# %% [markdown]
# ## Three results
#
# The method has three steps. You will meet their results in every notebook.
#
# **1. How good is the image as a whole?** A hundred times, switch off a random half of the network's features (*dropout*) and see how far its output (the *embedding* $x$, a point on a sphere) moves. If it hardly moves, the network is sure of what it sees:
#
# $$Q = 2\,\sigma\Big(-\frac{2}{m^2}\sum_{i<j} d(x_i, x_j)\Big) \qquad\text{(Eq. 1)}\qquad\qquad \hat Q = \sigma\big(\alpha\,(Q - r)\big) \qquad\text{(Eq. 2)}$$
#
# (Nothing is switched off in practice: for these networks the mean over all possible draws has a formula, which gives the same number each time. With `passes=100`, `explain` does as the text says.)
#
# $Q$ has a narrow range, a different one for each network; $\hat Q$ spreads it over 0..1, so that 0.5 is a middling photo *for this network*. This is the red line in the picture. (Here $m = 100$ is the number of dropout passes, $d$ the Euclidean distance, $\sigma$ the logistic function, and $\alpha$ and $r$ are two constants of the network.)
#
# $Q$ is the quality score of SER-FIQ: it measures utility for one network. It is not the unified quality score of OFIQ, the reference implementation of ISO/IEC 29794-5.
#
# **2. and 3. Which pixels does the embedding depend on?** Let the network output $\hat Q$ itself, and ask how strongly each pixel affects that output. The magnitude of the gradient at that pixel, its *saliency* $\hat S$, becomes its pixel-level quality
#
# $$P = 1 - \frac{1}{1 + 10^{\gamma}\,\hat S^2} \qquad\text{(Eq. 6, 7)}$$
#
# $\hat S$ contains $\hat Q$ as a factor. The pattern is $P$ as it would be at $\hat Q = \tfrac12$, whatever $\hat Q$ is, smoothed.
#
# Notebooks [01](01_ser_fiq.ipynb), [02](02_quality_node.ipynb) and [03](03_saliency.ipynb) build each step from scratch.

# %%
print(f"quality Q        {explanation.quality[0]:.2f}")
print(f"scaled quality Q̂ {explanation.scaled_quality[0]:.1f}")
for name, values in (("map P", explanation.plq), ("pattern", explanation.pattern)):
    print(f"{name:<16} {tuple(values.shape)}, mean {values.mean():.1f}")
    assert 0 <= values.min() and values.max() <= 1

# %% [markdown]
# ## Another network sees another face
#
# Utility depends on the network, not on the photo alone. FaceNet is another network: it crops photos differently, and its patterns are different. Here it looks at the astronaut and at an official portrait of Grace Hopper.

# %%
facenet = plqlite.facenet()
portraits = plqlite.sample_faces()
faces, explained = {}, {}
for name in ("astronaut", "grace_hopper"):
    faces[name] = plqlite.load_face(portraits[name], facenet)
    explained[name] = plqlite.explain(facenet, faces[name])

plqlite.grid([(faces[name][0], explained[name]) for name in faces], ["FaceNet", "FaceNet"])

# %% [markdown]
# For FaceNet her portrait is a poor one (SFace, too, finds it less useful than the astronaut's), but the pattern still shows where it looks: at her nose most of all. In the paper's style, little of that is left. (Neither map is ever stretched to its own minimum and maximum. A $P$ that is blue nearly all over *means* that the photo is poor for this network.)

# %%
plqlite.show(faces["grace_hopper"], explained["grace_hopper"], ["FaceNet"], style="paper")

# %%
print("FaceNet        Q̂    mean of P  of the pattern")
for name, e in explained.items():
    print(f"{name:<13} {e.scaled_quality[0]:.1f}     {e.plq.mean():.1f}        {e.pattern.mean():.1f}")

good, poor = explained.values()
assert poor.plq.mean() < 0.2 * good.plq.mean()
assert poor.pattern.mean() > 0.5 * good.pattern.mean()
row, column = divmod(poor.pattern.argmax().item(), facenet.size)
assert 70 < row < 115 and 60 < column < 100  # the nose

hopper = plqlite.explain(model, plqlite.load_face(portraits["grace_hopper"], model))
assert hopper.quality < explanation.quality  # SFace

# %% [markdown]
# ## Can the map be believed?
#
# A first test: put a black square on the face. There is nothing in it to recognise, so the map inside it should fall.


# %%
def black_square(images, left, top, size):
    """Cover part of every image; left, top and size are fractions of the width."""
    covered, width = images.clone(), images.shape[-1]
    rows = slice(round(top * width), round((top + size) * width))
    columns = slice(round(left * width), round((left + size) * width))
    covered[:, :, rows, columns] = 0
    return covered, (rows, columns)


covered, _ = black_square(faces["astronaut"], left=0.28, top=0.35, size=0.3)
after = plqlite.explain(facenet, covered)
plqlite.show(covered, after, ["FaceNet, covered"])

# %%
advice = plqlite.advise(facenet, after)
print(advice.text)
assert {"nose", "both eyes"} == set(advice.low)
assert after.scaled_quality < explained["astronaut"].scaled_quality - 0.3
assert after.plq.mean() < 0.5 * explained["astronaut"].plq.mean()

# %% [markdown]
# The pattern has a hole where the square is, and the parts of the face that it covers have an outline. `advise` names them; what covers them it can only guess. The square has also lowered $\hat Q$, and with it the level of $P$ *all over*. To find out whether $P$ knows *where* the square is, ask something that does not depend on $\hat Q$: what share of the total saliency is inside the square?
#
# The claim, for both networks and all nine faces that come with the installation: the square's mean $P$ falls, and so does its share of the saliency.

# %%
parts = {"nose", "left eye", "both eyes"}  # that the square covers, in full or in part
for network in (model, facenet):
    kept, named = [], []
    for portrait in portraits.values():
        face = plqlite.load_face(portrait, network)
        covered, (rows, columns) = black_square(face, left=0.28, top=0.35, size=0.3)
        before, after = plqlite.explain(network, face), plqlite.explain(network, covered)
        shares = [(e.saliency[:, rows, columns].sum() / e.saliency.sum()).item() for e in (before, after)]
        kept.append(shares[1] / shares[0])
        named.append([bool(parts & set(plqlite.advise(network, e).low)) for e in (before, after)])
        assert after.plq[:, rows, columns].mean() < before.plq[:, rows, columns].mean()
    counts = [sum(column) for column in zip(*named)]
    print(
        f"{network.name}: of its share, the square keeps {min(kept):.1f} (lowest) to {max(kept):.1f} (highest)"
    )
    print(f"  advise names nose or eyes in {counts[0]} of 9 faces as they are, in {counts[1]} covered ones")
    assert max(kept) < 0.8
    assert counts[0] <= 2 and counts[1] >= 7

# %% [markdown]
# Both networks' maps find the square, but not perfectly: a black pixel can still have a gradient, and for SFace the square keeps about half of its share. [Notebook 02](02_quality_node.ipynb) shows why a map should be read by region, and [11](11_faithfulness.ipynb) what it does not tell.
#
# ## Your own photo
#
# When run in JupyterLab, the next cell draws a panel; on a static page you see only its name. Upload a photo (it stays on the machine that runs this notebook), change the network, or move γ, which decides how large a gradient counts as "high" and recolours the maps without running the network again.

# %%
plqlite.explore([model, facenet], plqlite.sample_faces()["astronaut"])

# %% [markdown]
# ## Exercises
#
# 1. **Change the colours.** Draw the astronaut's map in the paper's colours, red for low and green for high (see the last argument of `plqlite.show`). Print it in grey: can you still tell low from high?
# 2. **Move the square.** Cover the eyes, then the forehead, then the background. Which lowers $Q$ most? Guess first.
# 3. **Save it.** Write an explanation to a file, read it back with NumPy and find the most useful pixel of the face.
# 4. **Find out what it depends on.** Explain the same photo with a hundred passes, `passes=100`, and seeds 0 to 4. How much does $Q$ change? Does the *order* of the pixels change? Why, or why not?
#
# Solutions: [solutions/00_quickstart.ipynb](solutions/00_quickstart.ipynb) · Next: [01 · How good is an image for this network?](01_ser_fiq.ipynb)
