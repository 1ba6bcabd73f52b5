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
# | **Question** | Which pixels of a face photo help a face-recognition network, and which do not? |
# | **Outcome** | You can make the pixel-level quality map of any photo, with two real networks, and say what its numbers mean. |
# | **Time** | 10 minutes to read; under 30 seconds to run on two CPU cores |
# | **Paper** | [Pixel-Level Face Image Quality Assessment for Explainable Face Recognition](https://arxiv.org/abs/2110.11001), Fig. 1 |
#
# A passport office takes your photo, and a machine answers: *quality too low*. What should you change? One number cannot say. A map can: it marks each pixel by how useful it is for recognising you.
#
# **Quality here means utility for recognition.** It is not beauty, sharpness or good taste. A picture that people like may be useless to a network, and the other way round.

# %% [markdown]
# ## Six lines
#
# Read from left to right: the face as the network gets it, the map, and the map laid over the face. Green pixels matter to the network, red ones hardly do.

# %%
import plqlite

model = plqlite.sface()
photo = plqlite.sample_faces()["astronaut"]
images = plqlite.load_face(photo, model)
explanation = plqlite.explain(model, images)
plqlite.show(images, explanation, ["SFace"])

# %% [markdown]
# `load_face` takes a path just as well: `plqlite.load_face("me.jpg", model)`. It finds the largest face, turns it upright and crops it as this network was trained to see faces.
#
# The middle of the face is green, what surrounds it is red. In numbers, the typical $P$ of the middle third of the crop and of a frame near its edge:

# %%
from plqlite.saliency import centre_and_background

centre, background = centre_and_background(explanation.plq)
print(f"middle of the face {centre[0]:.1f}   frame {background[0]:.1f}")
assert centre > 5 * background

# %% [markdown]
# ## Three results
#
# The method has three steps, and what they leave you will meet in every notebook.
#
# **1. How good is the image as a whole?** Disturb the network a hundred times and see how much its answer (the *embedding* $x$, a point on a sphere) moves. If it hardly moves, the network is sure of what it sees:
#
# $$Q = 2\,\sigma\Big(-\frac{2}{m^2}\sum_{i<j} d(x_i, x_j)\Big) \qquad\text{(Eq. 1)}\qquad\qquad \hat Q = \sigma\big(\alpha\,(Q - r)\big) \qquad\text{(Eq. 2)}$$
#
# $Q$ lies in a narrow range, a different one for each network; $\hat Q$ spreads it over 0..1, so that 0.5 is an ordinary photo *for this network*. (Here $m = 100$ is the number of disturbances, $d$ the Euclidean distance, $\sigma$ the logistic function, and $\alpha$ and $r$ are two constants of the network.)
#
# **2. and 3. Which pixels does the answer hang on?** Let the network output $\hat Q$ itself, and ask of every pixel how strongly it acts on that output. The size of its gradient, the *saliency* $\hat S$, becomes the pixel-level quality
#
# $$P = 1 - \frac{1}{1 + 10^{\gamma}\,\hat S^2} \qquad\text{(Eq. 6, 7)}$$
#
# Notebooks [01](01_ser_fiq.ipynb), [02](02_quality_node.ipynb) and [03](03_saliency.ipynb) build each step from nothing.

# %%
print(f"quality Q        {explanation.quality[0]:.2f}")
print(f"scaled quality Q̂ {explanation.scaled_quality[0]:.1f}")
print(f"map P            {tuple(explanation.plq.shape)}, mean {explanation.plq.mean():.1f}")

assert 0 <= explanation.plq.min() and explanation.plq.max() <= 1

# %% [markdown]
# ## Another network sees another face
#
# Utility belongs to a network, not to a photo alone. FaceNet is another network with another crop of the same photo, and draws another map.

# %%
facenet = plqlite.facenet()
faces = plqlite.load_face(photo, facenet)
plqlite.show(faces, plqlite.explain(facenet, faces), ["FaceNet"])

# %% [markdown]
# The scale of the colours is the same in every picture: $P$ is never stretched to its own minimum and maximum. A map that is red all over *means* that the photo is poor for this network. Both networks find this official portrait of Grace Hopper less useful than the astronaut's:

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
# ## Is the map to be believed?
#
# A first test: put a black square on the face. It holds nothing to recognise, so we would expect $P$ inside it to fall.


# %%
def black_square(images, left, top, size):
    """Cover a part of every image; left, top and size are shares of the width."""
    covered, width = images.clone(), images.shape[-1]
    rows = slice(round(top * width), round((top + size) * width))
    columns = slice(round(left * width), round((left + size) * width))
    covered[:, :, rows, columns] = 0
    return covered, (rows, columns)


covered, _ = black_square(images, left=0.3, top=0.35, size=0.27)
plqlite.show(covered, plqlite.explain(model, covered), ["covered"])

# %% [markdown]
# It does, but look closely: the *whole* map has turned red, because the square has cost the image as a whole its quality $\hat Q$, and every gradient carries that factor. To learn whether the map knows *where* the square is, ask something that does not depend on $\hat Q$: which share of all saliency lies inside?
#
# The claim, for both networks and all nine faces that come with the install: the square's mean $P$ falls, and so does its share of the saliency.

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
# The map finds the square. Not perfectly: a black pixel can still have a gradient, and SFace still has up to twice the area's share of the saliency inside. [Notebook 02](02_quality_node.ipynb) shows why a map should be read by regions.
#
# ## Your own photo
#
# The next cell draws a panel when the notebook is live, in JupyterLab; on a static page only its name is seen. Upload a photo (it stays on the machine that runs this notebook), change the network, or move γ: it decides which gradient counts as "high", and recolours the map without running the network again.

# %%
plqlite.explore([model, facenet], plqlite.sample_faces()["astronaut"])

# %% [markdown]
# ## Exercises
#
# 1. **Change a number.** Draw the astronaut's map in colours that a colour-blind reader can tell apart (look at the last argument of `plqlite.show`).
# 2. **Move the square.** Cover the eyes, then the forehead, then the background. Which costs the most $Q$? Guess first.
# 3. **Save it.** Write an explanation to a file, read it back with NumPy and find the most useful pixel of the face.
# 4. **Find out what it depends on.** Explain the same photo with seeds 0 to 4. How much does $Q$ change? Does the *order* of the pixels change? Why not?
#
# Solutions: [solutions/00_quickstart.ipynb](solutions/00_quickstart.ipynb) · Next: [01 · How good is an image for this network?](01_ser_fiq.ipynb)
