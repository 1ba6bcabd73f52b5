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
# | **Question** | Which pixels of a face photo help a face recognition network, and which do not? |
# | **Outcome** | You can make the pixel-level quality map (*PLQ map*) of any photo, with two real networks, and say what its numbers mean. |
# | **Time** | 10 minutes to read; 21 seconds to run ([two CPU cores](../docs/times.csv)) |
# | **Paper** | [Pixel-Level Face Image Quality Assessment for Explainable Face Recognition](https://arxiv.org/abs/2110.11001), Fig. 1 |
#
# You hand in a passport photo, and a machine answers: *quality too low*. What should you change? A single number cannot tell you. A PLQ map can: it shows how useful each pixel is for recognising you.
#
# **Quality here means utility for recognition**, not beauty, sharpness or good taste. A picture that people like may be useless to a network, and vice versa.

# %% [markdown]
# ## Six lines
#
# From left to right: the face as the network sees it, its PLQ map, and the map laid over the face. Green pixels matter to the network; red ones hardly do.

# %%
import plqlite

model = plqlite.sface()
photo = plqlite.sample_faces()["astronaut"]
images = plqlite.load_face(photo, model)
explanation = plqlite.explain(model, images)
plqlite.show(images, explanation, ["SFace"])

# %% [markdown]
# `load_face` also takes a path: `plqlite.load_face("me.jpg", model)`. It finds the largest face, turns it upright and crops it the way this network was trained to see faces.
#
# The middle of the face is green, its surroundings are red. In numbers: the median of $P$ in the middle third of the crop and in a frame near its edge.

# %%
from plqlite.saliency import centre_and_background

centre, background = centre_and_background(explanation.plq)
print(f"middle of the face {centre[0]:.1f}   frame {background[0]:.1f}")
assert centre > 5 * background

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
# $Q$ has a narrow range, a different one for each network; $\hat Q$ spreads it over 0..1, so that 0.5 is an ordinary photo *for this network*. (Here $m = 100$ is the number of dropout passes, $d$ the Euclidean distance, $\sigma$ the logistic function, and $\alpha$ and $r$ are two constants of the network.)
#
# $Q$ is the quality score of SER-FIQ: it measures utility for one network. It is not the unified quality score of OFIQ, the reference implementation of ISO/IEC 29794-5.
#
# **2. and 3. Which pixels does the embedding depend on?** Let the network output $\hat Q$ itself, and ask how strongly each pixel affects that output. The magnitude of the gradient at that pixel, its *saliency* $\hat S$, becomes its pixel-level quality
#
# $$P = 1 - \frac{1}{1 + 10^{\gamma}\,\hat S^2} \qquad\text{(Eq. 6, 7)}$$
#
# Notebooks [01](01_ser_fiq.ipynb), [02](02_quality_node.ipynb) and [03](03_saliency.ipynb) build each step from scratch.

# %%
print(f"quality Q        {explanation.quality[0]:.2f}")
print(f"scaled quality Q̂ {explanation.scaled_quality[0]:.1f}")
print(f"map P            {tuple(explanation.plq.shape)}, mean {explanation.plq.mean():.1f}")

assert 0 <= explanation.plq.min() and explanation.plq.max() <= 1

# %% [markdown]
# ## Another network sees another face
#
# Utility depends on the network, not on the photo alone. FaceNet is another network: it crops the same photo differently, and its map is different.

# %%
facenet = plqlite.facenet()
faces = plqlite.load_face(photo, facenet)
plqlite.show(faces, plqlite.explain(facenet, faces), ["FaceNet"])

# %% [markdown]
# The colour scale is the same in every picture: $P$ is never stretched to its own minimum and maximum. A map that is red all over *means* that the photo is poor for this network. Both networks find this official portrait of Grace Hopper less useful than the astronaut's portrait:

# %%
portraits = plqlite.sample_faces()
rows, labels = [], []
for network in (model, facenet):
    faces = {name: plqlite.load_face(portraits[name], network) for name in ("astronaut", "grace_hopper")}
    explained = {name: plqlite.explain(network, face) for name, face in faces.items()}
    assert explained["grace_hopper"].quality < explained["astronaut"].quality
    rows.append((faces["grace_hopper"][0], explained["grace_hopper"].plq[0]))
    labels.append(f"{network.name}: Q̂ = {explained['grace_hopper'].scaled_quality[0]:.2f}")

plqlite.grid(rows, labels)

# %% [markdown]
# ## Can the map be believed?
#
# A first test: put a black square on the face. There is nothing in it to recognise, so $P$ inside it should fall.


# %%
def black_square(images, left, top, size):
    """Cover part of every image; left, top and size are fractions of the width."""
    covered, width = images.clone(), images.shape[-1]
    rows = slice(round(top * width), round((top + size) * width))
    columns = slice(round(left * width), round((left + size) * width))
    covered[:, :, rows, columns] = 0
    return covered, (rows, columns)


covered, _ = black_square(images, left=0.3, top=0.35, size=0.27)
plqlite.show(covered, plqlite.explain(model, covered), ["covered"])

# %% [markdown]
# It does, but look closely: the *whole* map has turned red, because the square has lowered the quality $\hat Q$ of the image as a whole, and $\hat Q$ is a factor of every gradient. To find out whether the map knows *where* the square is, ask something that does not depend on $\hat Q$: what share of the total saliency is inside the square?
#
# The claim, for both networks and all nine faces that come with the installation: the square's mean $P$ falls, and so does its share of the saliency.

# %%
for network in (model, facenet):
    print(f"{network.name}: share of the saliency inside the square, before and after")
    for name, portrait in plqlite.sample_faces().items():
        face = plqlite.load_face(portrait, network)
        covered, (rows, columns) = black_square(face, left=0.3, top=0.35, size=0.27)
        before, after = plqlite.explain(network, face), plqlite.explain(network, covered)
        shares = [(e.saliency[:, rows, columns].sum() / e.saliency.sum()).item() for e in (before, after)]
        print(f"  {name:<13} {shares[0]:4.0%} {shares[1]:4.0%}")
        assert after.plq[:, rows, columns].mean() < before.plq[:, rows, columns].mean()
        assert shares[1] < shares[0]
        assert shares[1] < 2 * 0.27**2

print(f"share of the area: {0.27**2:.0%}")

# %% [markdown]
# The map finds the square, but not perfectly: a black pixel can still have a gradient, and for SFace the square's share of the saliency is still up to twice its share of the area. [Notebook 02](02_quality_node.ipynb) shows why a map should be read by region.
#
# ## Your own photo
#
# When run in JupyterLab, the next cell draws a panel; on a static page you see only its name. Upload a photo (it stays on the machine that runs this notebook), change the network, or move γ, which decides how large a gradient counts as "high" and recolours the map without running the network again.

# %%
plqlite.explore([model, facenet], plqlite.sample_faces()["astronaut"])

# %% [markdown]
# ## Exercises
#
# 1. **Change the colours.** Draw the astronaut's map in colours that a colour-blind reader can tell apart (see the last argument of `plqlite.show`).
# 2. **Move the square.** Cover the eyes, then the forehead, then the background. Which lowers $Q$ most? Guess first.
# 3. **Save it.** Write an explanation to a file, read it back with NumPy and find the most useful pixel of the face.
# 4. **Find out what it depends on.** Explain the same photo with a hundred passes, `passes=100`, and seeds 0 to 4. How much does $Q$ change? Does the *order* of the pixels change? Why, or why not?
#
# Solutions: [solutions/00_quickstart.ipynb](solutions/00_quickstart.ipynb) · Next: [01 · How good is an image for this network?](01_ser_fiq.ipynb)
