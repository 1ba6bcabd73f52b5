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
# | **Time** | 17 minutes to read, 40 for the exercises; 17 seconds to run ([two CPU cores](../docs/times.csv)) |
# | **Paper** | [Pixel-Level Face Image Quality Assessment for Explainable Face Recognition](https://arxiv.org/abs/2110.11001), Fig. 1 |
#
# You hand in a passport photo, and a machine answers: *quality too low*. What should you change? A single number cannot tell you. A pixel-level quality map (*PLQ map*, or *map* for short) is meant to: it shows how strongly the network depends on each pixel. How far that goes, [11](11_faithfulness.ipynb) tests.
#
# **Quality here means utility for recognition**, not beauty, sharpness or good taste. A picture that people like may be useless to a network, and vice versa.
#
# ## Two networks
#
# A face recognition network turns the picture of a face into a list of numbers, its *embedding*. Two pictures are taken to show the same person if their embeddings are close. Two such networks come with the installation, trained by others and used here as they are:
#
# - **SFace** looks at 112×112 pixels and returns 128 numbers.
# - **FaceNet** looks at 160×160 pixels and returns 512 numbers. It was trained on other photos, cropped in another way.
#
# You need to know no more about them. [Notebook 10](10_your_own_model.ipynb) puts a network of yours in their place.

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
# 2. **How good?** The black line is the scaled score $\hat Q$ of this photo, from 0 (poor) to 1 (good); $Q$ is the score before scaling, and both are explained below. The grey bars are the scores of 134 everyday photos in which nothing covers the face, the *development photos*: most are to the left of the line, so this photo is better than most.
# 3. **Where?** The *pattern*. What the network makes of this face depends on the yellow pixels, and hardly on the blue ones. The pattern does not say how good the photo is.
# 4. **Both at once:** the pattern laid over the face. A part of the face that is unusually low, compared with other people's photos, would have a white outline, and its name would stand above. Here there is none.
#
# The middle of the face is yellow, its surroundings are blue. In numbers: the median of the pattern in the middle third of the crop and in a frame near its edge.

# %%
from plqlite.lessons import check, claim
from plqlite.saliency import centre_and_background

centre, background = centre_and_background(explanation.pattern)
print(f"middle of the face {centre[0]:.1f}   frame {background[0]:.1f}")
claim("The middle is more than three times as high as the frame", centre > 3 * background)

# %% [markdown]
# **What is ✓?** In these notebooks nothing is merely stated: `claim` computes whether a sentence is true, and prints ✓ in front of it, or ✗ if it is not. So change a line, the photo for instance, run all cells again, and see which sentences still hold.
#
# `load_face` also takes a path: `plqlite.load_face("me.jpg", model)`.
#
# ## In words
#
# `advise` says the same in words:

# %%
advice = plqlite.advise(model, explanation)
print(advice.text)
claim(
    "No part is unusually low; the lowest is the forehead",
    not advice.low and min(advice.z, key=advice.z.get) == "forehead",
)
claim("More than half of the development photos are worse, but not all", 50 < advice.percentile < 95)

# %% [markdown]
# It compares this face, part by part, with faces that nothing covers; σ is the standard deviation among those. Each part has a limit of its own, below which few of those faces lie, and only what is below its limit is called *unusually low*. The astronaut's forehead, partly under hair, is the lowest part of her face, but above its limit.
#
# ## The paper's own map
#
# The paper puts both answers into one map, $P$. So does `style="paper"`:

# %%
plqlite.show(images, explanation, ["SFace"], style="paper")

# %% [markdown]
# By default we draw the two apart, because a photo of low quality has a $P$ that is low all over, which hides *where*; the pattern divides the level out. An example follows below. (The pattern is smoothed as well, since single pixels are noisy.)

# %% [markdown]
# ## Three steps
#
# This is the whole method, for FaceNet, our other network, with a good photo and a poor one (numbers 1 to 3 are the steps):

# %%
from plqlite.lessons import compact_pictures
from plqlite.pipeline import pipeline

compact_pictures()  # maps are large as PNG
portraits = plqlite.sample_faces()
facenet = plqlite.facenet()
two = {name: portraits[name] for name in ("astronaut", "grace_hopper")}
pipeline(facenet, two)

# %% [markdown]
# *From left to right: the photo; the face, aligned and cropped; a hundred embeddings of it, each with another half of the network's features switched off, drawn as they lie around their mean (true distances, directions flattened to two dimensions); the quality that follows from their scatter (black line) among those of other photos (grey); how strongly each pixel affects it (logarithmic, the whiter the more); and the map.* Grace Hopper's embeddings scatter more widely, so her quality is lower, and her map darker.
#
# You will meet the three steps in every notebook.
#
# **1. How good is the image as a whole?** A hundred times, switch off a random half of the network's features (*dropout*) and see how far its output (the *embedding* $x$, a point on a sphere) moves. If it hardly moves, the network is sure of what it sees:
#
# $$Q = 2\,\sigma\Big(-\frac{2}{m^2}\sum_{i<j} d(x_i, x_j)\Big) \qquad\text{(Eq. 1)}\qquad\qquad \hat Q = \sigma\big(\alpha\,(Q - r)\big) \qquad\text{(Eq. 2)}$$
#
# (Nothing is switched off in practice: for these networks the mean over all possible draws has a formula, which gives the same number each time. With `passes=100`, `explain` does as the text says.)
#
# $Q$ has a narrow range, a different one for each network; $\hat Q$ spreads it over 0..1, so that 0.5 is a middling photo *for this network*. This is the black line in the picture. (Here $m = 100$ is the number of dropout passes, $d$ the Euclidean distance, $\sigma$ the logistic function, and $\alpha$ and $r$ are two constants of the network.)
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
claim("P lies in 0..1", 0 <= explanation.plq.min() and explanation.plq.max() <= 1)

# %% [markdown]
# ## Another network sees another face
#
# Utility depends on the network, not on the photo alone. FaceNet crops photos differently, and its patterns are different. Here it looks at the astronaut and at an official portrait of Grace Hopper.

# %%
faces, explained = {}, {}
for name, portrait in two.items():
    faces[name] = plqlite.load_face(portrait, facenet)
    explained[name] = plqlite.explain(facenet, faces[name])

plqlite.grid([(faces[name][0], explained[name]) for name in faces], ["the astronaut", "Grace Hopper"])

# %% [markdown]
# For FaceNet her portrait is a poor one (SFace, too, finds it less useful than the astronaut's), but the pattern still shows where it looks: at her nose most of all. In the paper's style, little of that is left. (Neither map is ever stretched to its own minimum and maximum. A $P$ that is blue nearly all over *means* that the photo is poor for this network.)

# %%
plqlite.show(faces["grace_hopper"], explained["grace_hopper"], ["FaceNet"], style="paper")

# %%
print("FaceNet        Q̂    mean of P  of the pattern")
for name, e in explained.items():
    print(f"{name:<13} {e.scaled_quality[0]:.1f}     {e.plq.mean():.1f}        {e.pattern.mean():.1f}")

good, poor = explained.values()
claim("Her P is less than a fifth of the astronaut's", poor.plq.mean() < 0.2 * good.plq.mean())
claim("Her pattern is more than half as high", poor.pattern.mean() > 0.5 * good.pattern.mean())
row, column = divmod(poor.pattern.argmax().item(), facenet.size)
claim("The highest pixel of her pattern is at the nose", 70 < row < 115 and 60 < column < 100)

hopper = plqlite.explain(model, plqlite.load_face(portraits["grace_hopper"], model))
claim("SFace, too, ranks her photo lower", hopper.quality < explanation.quality)

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
clean = explained["astronaut"]
claim("Advice names the nose and both eyes", set(advice.low) == {"nose", "both eyes"})
claim("Q̂ has fallen by more than 0.3", after.scaled_quality < clean.scaled_quality - 0.3)
claim("P has fallen to less than half", after.plq.mean() < 0.5 * clean.plq.mean())

# %% [markdown]
# The pattern has a hole where the square is, and what is low there has an outline. `advise` names the parts. (It says *both eyes*, although the square covers only one: it judges the mean of the two, and this one pulls the mean down.) What covers them it can only guess. The square has also lowered $\hat Q$, and with it the level of $P$ *all over*. To find out whether $P$ knows *where* the square is, ask something that does not depend on $\hat Q$: what share of the total saliency is inside the square?
#
# The claim, for both networks and all nine faces that come with the installation: the square's mean $P$ falls, and so does its share of the saliency.

# %%
parts = {"nose", "left eye", "both eyes"}  # that the square covers, in full or in part
for network in (model, facenet):
    kept, named, falls = [], [], []
    for portrait in portraits.values():
        face = plqlite.load_face(portrait, network)
        covered, (rows, columns) = black_square(face, left=0.28, top=0.35, size=0.3)
        before, after = plqlite.explain(network, face), plqlite.explain(network, covered)
        shares = [(e.saliency[:, rows, columns].sum() / e.saliency.sum()).item() for e in (before, after)]
        kept.append(shares[1] / shares[0])
        named.append([bool(parts & set(plqlite.advise(network, e).low)) for e in (before, after)])
        falls.append(after.plq[:, rows, columns].mean() < before.plq[:, rows, columns].mean())
    counts = [sum(column) for column in zip(*named)]
    print(
        f"{network.name}: of its share, the square keeps {min(kept):.1f} (lowest) to {max(kept):.1f} (highest)"
    )
    print(f"  advise names nose or eyes in {counts[0]} of 9 faces as they are, in {counts[1]} covered ones")
    claim("P falls inside the square, and so does its share of the saliency", all(falls) and max(kept) < 0.8)
    claim(
        "Advice names few of the clean faces, and most of the covered ones", counts[0] <= 2 and counts[1] >= 7
    )

# %% [markdown]
# Both networks' maps find the square, but not perfectly: a black pixel can still have a gradient, and for SFace the square keeps about half of its share. [Notebook 02](02_quality_node.ipynb) shows why a map should be read by region, and [11](11_faithfulness.ipynb) what it does not tell.
#
# ## Your own photo
#
# When run in JupyterLab, the second code cell below draws a panel; on a page like this you see what its slider γ does instead. γ decides how large a gradient counts as "high": moving it recolours the map, without running the network again.

# %%
from plqlite.figures import strip
from plqlite.saliency import pixel_level_quality

gammas = (9, 10, 11, 12, 13)
recoloured = {f"γ = {gamma}": pixel_level_quality(explanation.saliency[0], gamma) for gamma in gammas}
high = [(plq > 0.5).float().mean().item() for plq in recoloured.values()]
claim("The larger γ, the more pixels are above 0.5", high == sorted(high))
claim("The γ of SFace lies in this range", 9 < model.scaling.gamma < 13)
strip(
    recoloured,
    "The astronaut's map P for SFace: nearly all blue for the smallest γ, nearly all yellow for the largest.",
    label="map P",
)

# %% [markdown]
# Upload a photo (it stays on the machine that runs this notebook), change the network, or move γ:

# %%
plqlite.explore([model, facenet], portraits["astronaut"])

# %% [markdown]
# ## Exercises
#
# Where an answer is a number, a word or a list, it checks itself: put it in place of `...` and run the cell.

# %% [markdown]
# ### Exercise 1 · Change the colours (easy, 5 minutes)
#
# Draw the astronaut's map in the paper's colours, red for low and green for high. Print it in grey: can you still tell low from high?
#
# <details><summary>Hint</summary>Look at the last argument of <code>plqlite.show</code>. For grey, take a screenshot, or compute the brightness of some colours of the colour map.</details>

# %% [markdown]
# ### Exercise 2 · Move the square (easy, 10 minutes)
#
# Cover the eyes (left 0.25, top 0.38, 0.5 wide, 0.16 high), then the forehead (top 0.15, the same size), then a corner of the background (left 0, top 0.75, 0.16 wide, 0.25 high). Which lowers SFace's $Q$ most? Guess first. How many times as much as the second?
#
# <details><summary>Hint</summary><code>plqlite.ser_fiq_closed_form(model, images)</code> returns Q alone. Set pixels to 0 in a copy of the images, as <code>black_square</code> does, and subtract.</details>

# %%
most = ...  # "eyes", "forehead" or "background"
check(most, "d8fe183f5b8e")

# %% [markdown]
# ### Exercise 3 · Save it (medium, 10 minutes)
#
# Write the explanation of the astronaut to a file, read it back with NumPy and find the most useful pixel of the face: the largest $P$ for SFace. In which row and column is it?
#
# <details><summary>Hint</summary><code>explanation.save("plq.npz")</code>, then <code>numpy.load</code>, <code>argmax</code> and <code>numpy.unravel_index</code>.</details>

# %%
place = ...  # [row, column]
check(place, "416220f7ba61", digits=0)

# %% [markdown]
# ### Exercise 4 · Find out what it depends on (medium, 15 minutes)
#
# Explain the same photo with a hundred passes, `passes=100`, and seeds 0 to 4. What is the standard deviation of $Q$, to three digits? Does the *order* of the pixels change? Why, or why not?
#
# <details><summary>Hint</summary><code>plqlite.explain(model, images, passes=100, seed=1)</code>. Compare the saliency divided by the scaled quality. Which of the three steps sees the masks?</details>

# %%
deviation = ...  # of Q over the five seeds
check(deviation, "6b86b273ff34", digits=3)

# %% [markdown]
# Solutions: [solutions/00_quickstart.ipynb](solutions/00_quickstart.ipynb) · Next: [01 · How good is an image for this network?](01_ser_fiq.ipynb)
