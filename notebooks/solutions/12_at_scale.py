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
# # 12 · Solutions
#
# Solutions to the exercises of [12 · How do I score a whole data set?](../12_at_scale.ipynb) First the same small data set, scored:

# %%
import math
import tempfile
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
from PIL import Image, ImageFilter
from torch.utils.flop_counter import FlopCounterMode

import plqlite
from plqlite.faces import largest_face
from plqlite.lessons import check
from plqlite.scale import score
from plqlite.scale.shards import key

KINDS = ("blur", "dark", "small", "noise", "covered")
portraits = {name: plqlite.sample_faces()[name] for name in ("astronaut", "grace_hopper")}
folder = tempfile.TemporaryDirectory()
photos, out = Path(folder.name, "photos"), Path(folder.name, "scores")


# %%
def worse(photo, kind, level, box):
    """A photo (H, W, 3) made worse in one way, at a level from 1 to 6; box is where the face is."""
    image = Image.fromarray(photo)
    if kind == "blur":
        return image.filter(ImageFilter.GaussianBlur(0.8 * level))
    if kind == "dark":
        return image.point(lambda value: value * (7 - level) / 7)
    if kind == "small":
        return image.resize([side // (level + 1) for side in image.size])
    if kind == "noise":
        noise = np.random.default_rng(level).normal(0, 10 * level, photo.shape)
        return Image.fromarray((photo + noise).clip(0, 255).astype(np.uint8))
    left, top, right, bottom = box  # covered, from the chin up
    top = bottom - 0.1 * level * (bottom - top)
    image.paste((90, 120, 200), [round(edge) for edge in (left, top, right, bottom)])
    return image


# %%
for name, photo in portraits.items():
    (photos / name).mkdir(parents=True)
    Image.fromarray(photo).save(photos / name / "original.png")
    box = largest_face(photo).box
    for kind in KINDS:
        for level in range(1, 7):
            worse(photo, kind, level, box).save(photos / name / f"{kind}_{level}.png")
(photos / "notes.txt").write_text("no photo")
Image.new("RGB", (200, 200)).save(photos / "black.png")

sface = plqlite.sface(device="cpu")
print(score(photos, out, sface, workers=0, batch=8, quiet=True))
table = pd.read_parquet(out / "scores")

# %% [markdown]
# ## 1. Good on the whole
#
# All of them are covered: $\hat Q$ alone would let a face with a covered chin or mouth pass. That is what `low` is for.

# %%
question = "SELECT path, low FROM read_parquet(?) WHERE scaled_quality > 0.55 AND len(low) > 0 ORDER BY path"
good = duckdb.execute(question, [str(out / "scores" / "*.parquet")]).df()
for path, low in zip(good["path"], good["low"]):
    print(f"{path:<28} {', '.join(sorted(low))}")
kinds = set(good["path"].str.extract(r"/([a-z]+)", expand=False))
assert kinds == {"covered"}
found = [len(good), *kinds]
check(found, "b9f339101dec", digits=1)

# %% [markdown]
# ## 2. Keep the maps
#
# 25 kB for each face, 82.8 GB for all. Parquet compresses them, but maps are noisy. To keep only those of the worst faces, score first, then write an index of the lowest $Q$, and score that with `maps=True`.

# %%
index = photos / ".originals.csv"  # hidden, so that it is not scored itself
pd.DataFrame({"path": [f"{name}/original.png" for name in portraits]}).to_csv(index, index=False)
score(index, Path(folder.name, "maps"), sface, maps=True, workers=0, quiet=True)
with_maps = pd.read_parquet(Path(folder.name, "maps", "scores")).set_index("path")
pattern = np.frombuffer(with_maps.loc["astronaut/original.png", "pattern"], np.uint8).reshape(112, 112) / 255
explanation = plqlite.explain(sface, plqlite.load_face(portraits["astronaut"], sface))
assert np.allclose(pattern, explanation.pattern[0], atol=0.51 / 255)

gigabytes = 3.3e6 * 2 * 112 * 112 / 1e9
print(f"mean of the pattern {pattern.mean():.1f}; {gigabytes:.1f} GB")
kept = [pattern.mean(), gigabytes]
check(kept, "ecd19b7b53ed", digits=2)

# %% [markdown]
# ## 3. Feed a GPU
#
# More cores than most machines have: as long as faces must be found, a faster GPU is of no use. With crops, two cores could read enough. (In practice it takes more, since crops also have to get from process to process: see the H200 in the lesson.)

# %%
facenet = plqlite.facenet(device="cpu")
image = plqlite.load_face(portraits["astronaut"], facenet).requires_grad_()
with FlopCounterMode(display=False) as counter:
    facenet(image).sum().backward()
GPU, FINDING = 10e12, 0.08  # as in the lesson
images_a_second = GPU / counter.get_total_flops()
cores = [math.ceil(images_a_second * seconds) for seconds in (FINDING, 0.001)]
print(f"cores for photos: {cores[0]}, for crops: {cores[1]}")
check(cores, "bde7bc6d4007", digits=1)

# %% [markdown]
# ## 4. A cluster without Ray
#
# `hash` of a text differs from process to process, so the machines would not agree (unless `PYTHONHASHSEED` is set). `key` depends on the name alone. And a file stays with its machine when others are added, which it would not if you cut the list into four parts. So all four can resume.


# %%
def machine_of(name, machines):
    """Which machine, from 0, a file belongs to; name is the text under which `score` knows it."""
    return key(name.encode()) % machines


check(machine_of("astronaut/original.png", 1000), "8f496feec94e", digits=1)

for machine in range(4):
    mine = table[[machine_of(path, 4) == machine for path in table["path"]]]
    index = photos / f".machine_{machine}.csv"  # hidden, so that it is not scored itself
    mine[["path", "identity"]].to_csv(index, index=False)
    counts = score(index, Path(folder.name, f"machine_{machine}"), sface, workers=0, quiet=True)
    print(f"machine {machine}: {counts.files} files")

everywhere = str(Path(folder.name, "machine_*", "scores", "*.parquet"))
together = duckdb.execute("SELECT * FROM read_parquet(?) ORDER BY path", [everywhere]).df()
apart = table.sort_values("path").reset_index(drop=True)
assert together["path"].equals(apart["path"])
numbers = ["left", "top", "right", "bottom", "quality", "scaled_quality"]
assert np.allclose(together[numbers], apart[numbers], rtol=1e-4, equal_nan=True)
print("together, the four folders hold the rows of one run")
