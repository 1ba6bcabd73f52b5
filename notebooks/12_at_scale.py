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
# # 12 · How do I score a whole data set?
#
# | | |
# |---|---|
# | **Question** | A data set has thousands of photos, or millions. How do I score all of them, what does that cost, and what if the run stops halfway? |
# | **Outcome** | You can score a folder, stop and resume, query the result with pandas or SQL, estimate how long a run will take and on which machine, and tell a file with an error from a run that has failed. |
# | **Time** | 21 minutes to read, 60 for the exercises; 80 seconds to run ([two CPU cores](../docs/times.csv)) |
# | **Paper** | [arXiv 2110.11001](https://arxiv.org/abs/2110.11001), §4.1: Adience, 26,580 images |
#
# One photo takes a fraction of a second. Adience, which the paper uses, has 26,580, and VGGFace2, on which many networks were trained, 3.3 million. At that size, other questions matter: what is kept of each photo, what happens to a file that is not a photo, and do you have to start again if somebody pulls the plug?
#
# This notebook builds on [00](00_quickstart.ipynb). The packages that it needs come with `pip install -e ".[notebooks]"`. Only the lines about Ray, which are not run here, need `pip install -e ".[scale]"` as well.

# %%
import math
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageFilter

import plqlite
from plqlite.faces import largest_face
from plqlite.figures import describe, strip
from plqlite.lessons import check, claim
from plqlite.scale import score

# %% [markdown]
# ## A small data set
#
# We make one: the two portraits, each made worse in five ways at six levels, in a folder for each subject. `worse` makes a photo worse:


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
KINDS = ("blur", "dark", "small", "noise", "covered")
portraits = {name: plqlite.sample_faces()[name] for name in ("astronaut", "grace_hopper")}
folder = tempfile.TemporaryDirectory()
photos = Path(folder.name, "photos")
for name, photo in portraits.items():
    (photos / name).mkdir(parents=True)
    Image.fromarray(photo).save(photos / name / "original.png")
    box = largest_face(photo).box
    for kind in KINDS:
        for level in range(1, 7):
            worse(photo, kind, level, box).save(photos / name / f"{kind}_{level}.png")
(photos / "notes.txt").write_text("no photo")
Image.new("RGB", (200, 200)).save(photos / "black.png")

for each in sorted(photos.iterdir()):
    print(each.name, f"({len(list(each.iterdir()))} photos)" if each.is_dir() else "")

# %% [markdown]
# As in most real data sets, there are files that do not belong: a text file, and a black picture. Here is level 6 of each kind:

# %%
level_6 = {kind: np.array(Image.open(photos / "astronaut" / f"{kind}_6.png")) for kind in KINDS}
strip(
    {kind: torch.tensor(pixels).permute(2, 0, 1) for kind, pixels in level_6.items()},
    "The astronaut's portrait at level 6 of each kind: blurred, dark, small and therefore coarse, noisy, and with a "
    "blue rectangle over mouth and nose.",
)

# %% [markdown]
# ## Score it

# %%
sface = plqlite.sface(device="cpu")  # leave out the device, and a GPU is used if there is one
out = Path(folder.name, "scores")
print(score(photos, out, sface, workers=0, batch=8, quiet=True))  # workers, batch: see "What costs the time?"

written = sorted(out.rglob("[!.]*"))  # all but hidden files, such as the lock
print([path.relative_to(out).as_posix() for path in written if path.is_file()])

# %% [markdown]
# On the command line, this is `plqlite score photos --out scores --model sface`. It takes all files below the folder, and says how far it is (`quiet=True` says nothing). Two files could not be scored, which did not stop the run. `settings.json` remembers the network and the options. The result is a table in *shards*, files in the Parquet format (here there is only one), with a row for each face:
#
# | columns | what they hold |
# |---|---|
# | `path`, `file` | the file's name below the folder, as text and as bytes (names of files need not be text) |
# | `identity` | the first folder below `photos`: the subject, if your photos are sorted that way |
# | `face`, `left` … , `detector` | which face of the photo (0, the largest, unless you ask for `every=True`), its box and landmarks, how confident the detector is |
# | `quality`, `scaled_quality`, `percentile` | $Q$, $\hat Q$, and what percentage of the development photos have a lower $Q$ |
# | `z_forehead` …, `low` | z-scores of the parts of the face, and the names of those that are unusually low, the most unusual first |
# | `error` | what went wrong, if anything; such a row holds only `path`, `file` and `identity` besides |
#
# So what is stored for each photo are the numbers of `explain` and `advise`, and no picture (`maps=True` keeps pattern and $P$ as well: 25 kB a face for SFace, 51 kB for FaceNet). pandas reads all shards of the folder as one table:

# %%
table = pd.read_parquet(out / "scores")
row = table.set_index("path").loc["astronaut/covered_4.png"]
low = sorted(row["low"])  # sorted: two may be nearly equal
print(f"Q = {row['quality']:.2f}, Q̂ = {row['scaled_quality']:.1f}, low: {', '.join(low)}")

explanation = plqlite.explain(sface, plqlite.load_face(photos / "astronaut" / "covered_4.png", sface))
advice = plqlite.advise(sface, explanation)
claim(
    "explain and advise say the same about this photo",
    abs(row["quality"] - explanation.quality.item()) < 1e-4 and low == sorted(advice.low),
)
claim(
    "Every file has one row, and two rows are errors",
    len(table) == table["path"].nunique() == 64 and table["error"].notna().sum() == 2,
)

# %% [markdown]
# ## Ask it questions
#
# **Which ten photos are the worst?** (In the order of their names.)

# %%
worst = table.nsmallest(10, "quality")
print(*sorted(worst["path"]), sep="\n")

claim("Nine of the ten worst are the astronaut's", (worst["identity"] == "astronaut").sum() == 9)

originals = table[table["path"].str.endswith("original.png")].set_index("identity")
width = originals["right"] - originals["left"]
claim(
    "In the original, her face is about half as wide as Grace Hopper's",
    0.4 < width["astronaut"] / width["grace_hopper"] < 0.6,
)

# %% [markdown]
# That is a likely reason: fewer pixels are on her face, so the same blur or reduction destroys more of it.
#
# **What could not be scored?**

# %%
for _, row in table[table["error"].notna()].iterrows():
    print(f"{row['path']:<10} {row['error'].split(':')[0]}")

# %% [markdown]
# **What costs quality?** The same question to pandas and to [DuckDB](https://duckdb.org), a database without a server: SQL on the same files. It reads only the columns that it needs, and these piece by piece, so the table may be larger than memory.

# %%
table["kind"] = table["path"].str.extract(r"/([a-z]+)", expand=False)
by_pandas = table.groupby("kind")["scaled_quality"].mean().sort_values()

question = """
    SELECT regexp_extract(path, '/([a-z]+)', 1) AS kind, avg(scaled_quality) AS mean
    FROM read_parquet(?) WHERE error IS NULL GROUP BY kind ORDER BY mean
"""
by_sql = duckdb.execute(question, [str(out / "scores" / "*.parquet")]).df().set_index("kind")["mean"]
for kind, mean in by_sql.items():
    print(f"{kind:<9} mean Q̂ {mean:.1f}")

claim("Both give the same means", np.allclose(by_pandas[by_sql.index], by_sql, rtol=1e-5))
claim("Only the originals are better than the dark photos", [*by_sql.index[-2:]] == ["dark", "original"])

# %% jupyter={"source_hidden": true} tags=["hide-input"]
table["level"] = pd.to_numeric(table["path"].str.extract(r"_(\d)\.", expand=False))
figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True, layout="constrained")
for axis, name in zip(axes, portraits):
    of_person = table[table["identity"] == name].set_index("kind")
    original = of_person.loc["original", "scaled_quality"]
    for kind, marker, line in zip(KINDS, "osD^v", ("-", "--", "-.", ":", "-")):
        values = of_person.loc[kind].sort_values("level")["scaled_quality"]
        axis.plot(range(7), [original, *values], marker + line, label=kind, markersize=5)
    axis.set(title=name.replace("_", " ").title(), xlabel="level (0: original)", ylim=(0, 1))
axes[0].set_ylabel("scaled quality Q̂")
axes[1].legend(loc="lower left", ncols=2)
describe(
    figure,
    "Scaled quality by level, a line for each kind. The astronaut's falls from 0.7 to below 0.2 with blur, small "
    "size and noise, and stays above 0.4 when dark or covered. Grace Hopper's falls most when she is covered, and is "
    "highest at the strongest blur.",
)
plt.show()

# %%
blurred = table[table["path"].str.endswith("blur_6.png")].set_index("identity")
lost = originals["scaled_quality"] - blurred["scaled_quality"]
claim(
    "At blur 6, the astronaut has lost more than 0.5 of her Q̂, and Grace Hopper nothing",
    lost["astronaut"] > 0.5 and lost["grace_hopper"] < 0,
)

# %% [markdown]
# The means hide that. Grace Hopper's face is larger, so the same blur is finer when her face is scaled to the crop. And $Q$ says how useful a photo is for the network, not how sharp it is.
#
# `plqlite report scores` writes a page that answers such questions, `report.html`: how $\hat Q$ is distributed, the worst and the best faces with their patterns, and counts by advice, by error and by subject.
#
# ## Stop and resume
#
# A run over millions of files will be interrupted at some point, by a reboot, a full disk or a time limit. So a shard is written after every 1024 rows, or after a minute. It is written under another name and then renamed: it is complete, or it is not there.
#
# Let us kill a run. It runs in a process of its own; since our data set is small, it writes a shard after every 8 rows, and we kill it when it has written three. Ctrl-C would ask it to stop; here the operating system ends it at once, whatever it is doing.

# %%
program = """
import sys, plqlite
from plqlite.scale import score
score(*sys.argv[1:], plqlite.sface(device="cpu"), workers=0, batch=4, shard=8, quiet=True)
"""
killed = Path(folder.name, "killed")
shutil.rmtree(killed, ignore_errors=True)  # if you run this cell again
command = [sys.executable, "-c", program, str(photos), str(killed)]
run = subprocess.Popen(command, stderr=subprocess.DEVNULL)
while run.poll() is None and len(list(killed.glob("scores/part-*.parquet"))) < 3:
    time.sleep(0.05)
run.kill()
run.wait()
written = pd.read_parquet(killed / "scores")

# %%
NUMBERS = ["left", "top", "right", "bottom", "quality", "scaled_quality"]


def same(rows, others):
    """Whether two tables have the same rows, in whatever order: names, errors, and numbers to 1 in 10,000."""
    rows, others = (each.sort_values("path").reset_index(drop=True) for each in (rows, others))
    named = rows["path"].equals(others["path"]) and (rows["error"].isna() == others["error"].isna()).all()
    return named and np.allclose(rows[NUMBERS], others[NUMBERS], rtol=1e-4, equal_nan=True)


claim("The run was killed before it was done", run.returncode != 0 and 0 < len(written) < 64)
claim(
    "What is there is what the uninterrupted run says",
    same(written, table[table["path"].isin(written["path"])]),
)

# %% [markdown]
# To resume, run the same line again. `score` looks up which files have rows, and skips them:

# %%
counts = score(photos, killed, sface, workers=0, batch=8, quiet=True)
resumed = pd.read_parquet(killed / "scores")
claim("It has scored what was missing, and nothing else", counts.before == len(written) == 64 - counts.files)
claim("Every file is there exactly once", sorted(resumed["path"]) == sorted(table["path"]))
claim("All rows equal those of the uninterrupted run", same(resumed, table))
print(score(photos, killed, sface, workers=0, quiet=True))

# %% [markdown]
# Run once more, it finds nothing left to do: `before` counts the files that already had rows, those with errors too.
#
# A kill costs the rows that are not in a shard yet, those of the last minute or so. (Ctrl-C costs none: what has been scored is still written.) If you add photos to the folder, the same line scores just these. But files are known by name: a photo that was replaced under the same name is not scored again.
#
# ## What costs the time?
#
# `score` does two things: *prepare* (read the file, find the face, align it) and *explain* (the network, forward and backward). How long does each take on your machine? Times vary from run to run, even more when the machine is busy. So we draw them, and check nothing. What the text says about them is about the picture that comes with this notebook.

# %%
from plqlite.scale.crops import Options, prepare
from plqlite.scale.inputs import find_items
from plqlite.scale.runner import prepared_batches
from plqlite.scale.scorer import Scorer


def best_of_three(work, *arguments):
    """The shortest time that a call takes, in seconds."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        work(*arguments)
        times.append(time.perf_counter() - start)
    return min(times)


# %%
networks = {"SFace": sface, "FaceNet": plqlite.facenet(device="cpu")}
options = Options(sface.align, sface.size)
threads = torch.get_num_threads()
torch.set_num_threads(1)  # as in a worker
items = [item for item in find_items(photos) if "original" in item.name]
finding = np.mean([best_of_three(prepare, item, options) for item in items])
torch.set_num_threads(threads)

explaining = {}
for name, network in networks.items():
    crop = plqlite.load_face(portraits["astronaut"], network)
    for batch in (1, 4, 16):
        crops = crop.repeat(batch, 1, 1, 1)  # (batch, 3, size, size)
        explaining[name, batch] = best_of_three(plqlite.explain, network, crops) / batch

# %% [markdown]
# *Workers* are processes that prepare, a few batches ahead, while this one explains. With `workers=0`, this process does both in turn. The loop inside `score` is short enough to repeat here, with a clock:


# %%
def timed(workers):
    """Score the photos; return the second in which each file was done, and Q of each file."""
    start, seconds, quality = time.perf_counter(), [], {}
    batches = prepared_batches(find_items(photos), options, workers, batch=8)
    for rows in map(Scorer(sface), batches):
        seconds += [time.perf_counter() - start] * len(rows)
        quality |= {row["path"]: row.get("quality", math.nan) for row in rows}
    return seconds, quality


runs = {workers: timed(workers) for workers in (0, 1, 2)}
first, *others = (pd.Series(quality).sort_index() for _, quality in runs.values())
claim(
    "Workers change Q by less than 0.0001",
    all(np.allclose(first, each, rtol=0, atol=1e-4, equal_nan=True) for each in others),
)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
left.bar(0, 1000 * finding, color="0.6", edgecolor="black")
for name, shift, hatch, colour in (("SFace", -0.2, "", "tab:blue"), ("FaceNet", 0.2, "//", "tab:orange")):
    heights = [1000 * explaining[name, batch] for batch in (1, 4, 16)]
    places = np.arange(1, 4) + shift
    left.bar(places, heights, 0.4, color=colour, hatch=hatch, edgecolor="black", label=name)
left.set_xticks(range(4), ["find the\nface\n(1 core)", "batch\nof 1", "batch\nof 4", "batch\nof 16"])
left.set(title="one image", ylabel="milliseconds")
left.legend()
for (workers, (seconds, _)), line in zip(runs.items(), ("-", "--", ":")):
    rate = (len(seconds) - 8) / (seconds[-1] - seconds[0])  # once started: without the first batch
    label = f"workers={workers}: {rate:.0f} a second"
    right.step([0, *seconds], range(len(seconds) + 1), line, where="post", label=label)
right.set(title="all 64 files, SFace, batches of 8", xlabel="seconds", ylabel="files done", ylim=(0, 66))
right.legend(title="once started", loc="upper left", bbox_to_anchor=(1, 1))
describe(
    figure,
    "Left, bars: milliseconds to find a face, and to explain an image in batches of 1, 4 and 16; both networks "
    "take longest one at a time. Right: files done by seconds; with workers the line starts later, then rises "
    "more steeply, most steeply with two.",
)
plt.show()

# %% [markdown]
# Milliseconds an image and images a second say the same: 50 ms are 1000 / 50 = 20 a second. With `workers=0`, the times of both halves add up; with enough workers, the slower half decides.
#
# - **Batches** save what each call costs, whatever it holds: an image takes longer alone than in a batch of 16. So `score` gives `explain` as many at a time as `batch` says. Unless told, it takes 16 on a CPU, and 64 on a GPU: with SFace, larger ones took longer on our cores.
# - **Workers** have to start. The first time that takes seconds: a process is started that imports PyTorch. It stays, and workers are copies of it, so `workers=2` starts sooner here than `workers=1`. For 64 files that hardly pays; for thousands it does. Once they run, two are faster than none even on two cores: several processes with one thread each use the cores better than one process that does everything in turn. How much that gains depends on what idle threads do. Here they sleep (`OMP_WAIT_POLICY=PASSIVE`, set before Python started). By default they spin, which helps a process that is alone and slows down its workers: in a script on the same machine, we measured 8 a second without workers and 16 with two if they sleep, 11 and 13 if they spin.
# - **With a GPU**, which explains while the cores prepare, take as many workers as there are cores; the command line does so by default.
# - A worker computes with a single thread, so sums are rounded differently, in the detector too. That is why $Q$ is not the same to the last digit.
#
# ## How long would it take?
#
# A back-of-the-envelope calculation, with its assumptions in plain sight. For two cores, we have measured the times, in scripts on a quiet machine, so they are shorter than in the picture. For a GPU, we estimate them from the number of floating-point operations (FLOPs) of one forward pass and one backward pass to the pixels, which PyTorch counts. All photos are assumed to be as large as ours: in a larger one, finding takes longer (above 1024 pixels a side, it is reduced first).

# %%
from torch.utils.flop_counter import FlopCounterMode

flops = {}
for name, network in networks.items():
    image = plqlite.load_face(portraits["astronaut"], network).requires_grad_()
    with FlopCounterMode(display=False) as counter:
        network(image).sum().backward()
    flops[name] = counter.get_total_flops()
    print(f"{name:<8} {flops[name] / 1e9:.1f} GFLOPs an image")

# Seconds an image, measured (docs/speed.md): on two cores of an Intel Xeon, and on an NVIDIA H200, a GPU
TWO_CORES = {"SFace": 0.029, "FaceNet": 0.028}
H200 = {"SFace": 0.00029, "FaceNet": 0.00084}
FINDING = 0.08  # seconds a photo of 512×600 pixels, measured on one core of the same Xeon, and rounded
GPU = 10e12  # assumed: FLOPs a second, half the float32 peak of an NVIDIA A100 (19.5e12)
CORES_OF_GPU = 16  # assumed: cores of the machine around each GPU


# %% [markdown]
# On two cores, the two times add up. With a GPU they run side by side, so the longer one counts. Starting up is not included. The cluster has 16 such machines: 16 GPUs and 256 cores.


# %%
def said(seconds):
    """A time in words: two digits and a unit."""
    unit, size = next(each for each in (("h", 3600), ("min", 60), ("s", 0)) if seconds >= each[1])
    return f"{seconds / max(size, 1):.2g} {unit}"


def costs(images, gpus):
    """Seconds to find the faces and to explain them, by each network: on two cores, or on GPUs and their cores."""
    cores = gpus * CORES_OF_GPU if gpus else 2
    explain = {name: flops[name] / GPU / gpus if gpus else TWO_CORES[name] for name in networks}
    return images * FINDING / cores, *(images * explain[name] for name in networks)


print(f"{'':<21} {'find':>8} {'SFace':>8} {'FaceNet':>8} {'whole run, SFace':>18}")
for data_set, images in {"Adience": 26_580, "VGGFace2": 3_300_000}.items():
    for gpus, machine in ((0, "two cores"), (1, "one GPU"), (16, "cluster")):
        find, explain, other = costs(images, gpus)
        both = max(find, explain) if gpus else find + explain
        words = " ".join(f"{said(each):>8}" for each in (find, explain, other))
        print(f"{data_set:<9} {machine:<11} {words} {said(both):>18}")

# %% [markdown]
# The lines of the two cores are computed from measured times. **Those of the GPUs are an estimate from FLOPs, not a measurement.** How good is the estimate? We measured once, on an H200, in batches of 64:

# %%
ratio = {name: H200[name] / (flops[name] / GPU) for name in networks}
for name, times in ratio.items():
    print(f"{name:<8} on the H200, {times:.1f} times as long as estimated")

claim("The estimate is right within a factor of two", all(0.5 < times < 2 for times in ratio.values()))
claim(
    "Neither network reaches more than an eighth of the H200's peak of 67e12 FLOPs a second",
    all(flops[name] / H200[name] < 67e12 / 8 for name in networks),
)
claim("FaceNet has more than twice the FLOPs of SFace", flops["FaceNet"] > 2 * flops["SFace"])
claim("And it takes no longer on two cores", TWO_CORES["FaceNet"] <= TWO_CORES["SFace"])
slowest = max(*H200.values(), *(each / GPU for each in flops.values()))  # measured or estimated
claim(
    "With 16 cores, finding takes more than five times as long as explaining on a GPU",
    FINDING / CORES_OF_GPU > 5 * slowest,
)
claim("Two cores score Adience within an hour", sum(costs(26_580, 0)[:2]) < 3600)

# %% [markdown]
# So FLOPs predict time badly: with half of the H200's own peak, we would have been wrong by a factor of more than four. But the conclusions have a margin: Adience needs no GPU; and with a GPU, you no longer wait for the network, but for the cores, which have to find the next faces. (plqlite finds faces on the CPU, so that every machine crops alike.) So
#
# - give each GPU as many cores as you can;
# - if you will score the same photos again, with other options or with another network that wants the same crops, crop them once, with `plqlite.experiments.dataset.prepare` (as `data_scripts/prepare_lfw.py` does), and score the crops with `aligned=True`: then no face has to be found.
#
# From crops, `score` reached 1480 faces a second with SFace on the H200, with 16 workers ([speed](../docs/speed.md)):

# %%
claim("That is more than five times what 16 of our cores could find", 1480 > 5 * CORES_OF_GPU / FINDING)
claim("And less than half of what explain alone could do for SFace", 1480 < 0.5 / H200["SFace"])

# %% [markdown]
# So even then, the GPU has to wait.
#
#
# ## Many machines
#
# [Ray](https://docs.ray.io) runs a program on a cluster. Every machine needs plqlite, and the same versions of Python and Ray. Start it once on each, and then, on any of them, give `score` the address. (These lines are not run here.)
#
# ```bash
# ray start --head                          # on the first machine; it prints its address
# ray start --address=192.168.0.10:6379     # on each of the others
# plqlite score /shared/photos --out /shared/scores --engine ray --address 192.168.0.10:6379 --workers 16 --gpus 1
# ```
#
# or, in Python, `score(photos, out, model, engine="ray", address="192.168.0.10:6379", workers=16, gpus=1)`. On Ray, `workers` means those that *explain*: here 16, with a GPU each. The other half, finding faces, runs on whatever cores the cluster has.
#
# - **What Ray adds:** the cores and GPUs of all machines; a worker that dies is started again, and what it had is done again; no more photos are prepared than the GPUs can take.
# - **What it does not add:** a place for the photos. Each machine must be able to read them under the same path, as from a network drive.
#
# The numbers are the same except for rounding, and so is the kind of files: one process writes all shards. If that one dies, run the same line again, with Ray or without, and it resumes.
#
# You can also do without Ray, and divide the files among machines yourself (exercise 4).
#
# ## Bad input
#
# Whatever is wrong with *one file* is written into its row, and the run continues. An index, a `.csv` or `.parquet` with a column `path` (and perhaps `identity`), says which files to score. Paths are relative to the index. Here is one that names half a file, one that is not there, a folder, and the black picture:

# %%
half = (photos / "astronaut" / "original.png").read_bytes()
Path(folder.name, "half.png").write_bytes(half[: len(half) // 2])
index = Path(folder.name, "index.csv")
pd.DataFrame({"path": ["half.png", "gone.png", "photos", "photos/black.png"]}).to_csv(index, index=False)
print(score(index, Path(folder.name, "bad"), sface, workers=0, quiet=True))
for _, row in pd.read_parquet(Path(folder.name, "bad", "scores")).iterrows():
    print(f"{row['path']:<17} {row['error'].split(':')[0]}")

# %% [markdown]
# A file with an error counts as done, so the same line does not try it again. If the reason has gone, as when a drive was not mounted, write the paths of these rows into an index, and score them into another folder.
#
# What is wrong with *the run* ends it, with a message: no such folder or index; a full disk; a worker process that was killed, as when memory is short; another run that is writing into the same folder; a damaged shard (delete it, and its files are scored again). What was scored stays. The run also ends at once if the folder was filled with another network or with other settings, since a table of both would be of no use:

# %%
for change in ({"model": networks["FaceNet"]}, {"every": True}):
    try:
        score(photos, out, **({"model": sface, "workers": 0, "quiet": True} | change))
    except ValueError as error:
        print(str(error).replace(str(out), "scores"))

claim("The table is as it was", same(pd.read_parquet(out / "scores"), table))

# %% [markdown]
# ## Exercises
#
# Where an answer is a number, a word or a function, it checks itself: put it in place of `...` and run the cell.

# %% [markdown]
# ### Exercise 1 · Good on the whole (easy, 10 minutes)
#
# A photo may have a good score although a part of the face is missing. Ask DuckDB: how many photos have a $\hat Q$ above 0.55 and yet a part that is unusually low? Of which kind are they?
#
# <details><summary>Hint</summary><code>low</code> is a list: <code>len(low) &gt; 0</code>. Look at the paths first.</details>

# %%
found = ...  # [number of photos, kind]
check(found, "b9f339101dec", digits=1)

# %% [markdown]
# ### Exercise 2 · Keep the maps (medium, 15 minutes)
#
# Score the two originals once more with SFace, with `maps=True`, from an index that names only them. `pattern` and `plq` are then bytes, 112 rows of 112, where 255 stands for 1. What is the mean of the astronaut's pattern, from 0 to 1? And how many GB (10⁹ bytes) would both maps of 3.3 million faces take, if nothing compressed them? Do not round.
#
# <details><summary>Hint</summary><code>np.frombuffer(row["pattern"], np.uint8).reshape(112, 112) / 255</code>. Take a new folder: <code>maps</code> is a setting.</details>

# %%
kept = ...  # [mean of the astronaut's pattern, GB of the maps of 3.3 million faces]
check(kept, "ecd19b7b53ed", digits=2)

# %% [markdown]
# ### Exercise 3 · Feed a GPU (easy, 10 minutes)
#
# With the constants of this notebook (`GPU`, `FINDING`), how many cores must find faces so that one GPU with FaceNet never waits? And how many, if the faces are cropped already, so that a core needs only a millisecond to read one?
#
# <details><summary>Hint</summary>How many images does the GPU explain in a second, and how many does one core prepare? Take <code>flops["FaceNet"]</code> itself, not the rounded number, and round up at the end.</details>

# %%
cores = ...  # [for photos, for crops]
check(cores, "bde7bc6d4007", digits=1)

# %% [markdown]
# ### Exercise 4 · A cluster without Ray (medium, 25 minutes)
#
# Four machines that know nothing of each other are to share the photos. Write a function that says which machine a file belongs to: `plqlite.scale.shards.key` of its name (as bytes), modulo the number of machines. Then play all four machines: write an index for each, let each score into a folder of its own, and let DuckDB read the four folders as one table. Are the rows those of `table`? Why would Python's own `hash(name)` not do?
#
# <details><summary>Hint</summary>Paths are relative to the index: save the four in <code>photos</code>, under hidden names such as <code>.machine_0.csv</code>, so that they are not scored themselves. DuckDB takes a pattern such as <code>machine_*/scores/*.parquet</code>.</details>


# %%
def machine_of(name, machines):
    """Which machine, from 0, a file belongs to; name is the text under which `score` knows it."""
    ...


check(machine_of("astronaut/original.png", 1000), "8f496feec94e", digits=1)

# %% [markdown]
# Solutions: [solutions/12_at_scale.ipynb](solutions/12_at_scale.ipynb) · Back: [11](11_faithfulness.ipynb) · Start: [00 · What does my photo's map look like?](00_quickstart.ipynb)
