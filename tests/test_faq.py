"""Every number of docs/faq.md, computed again."""

import re
from importlib.resources import files

import pandas as pd
import pytest
import torch

import plqlite
from conftest import ROOT, aligned_samples, built
from plqlite.faces import align_arcface, crop_box, largest_face

FAQ = " ".join((ROOT / "docs" / "faq.md").read_text("utf-8").split())
DEVIATION = (ROOT / "docs" / "deviation.md").read_text("utf-8")
RESULTS = ROOT / "docs" / "results" / "evaluation"
NETWORKS = ("sface", "facenet")


def said(*parts):
    """The text says it, in these words."""
    text = "".join(str(each) for each in parts)
    assert text in FAQ, text


@pytest.fixture(scope="module")
def quality():
    """Q by network -> (of photos as they are, by image; of degraded versions, with their originals' Q)."""
    rows = pd.read_csv(files("plqlite").joinpath("calibration.csv"), keep_default_na=False)
    listed = pd.read_csv(ROOT / "docs" / "development_set.csv", keep_default_na=False)
    rows = rows.merge(listed[listed["covered"] == ""], on="image").astype({"quality": float})
    found = {}
    for name, part in rows.groupby("model"):
        clean = part[part["version"] == ""].set_index("image")["quality"]
        worse = part[part["version"] != ""]
        found[name] = clean, worse.assign(original=clean[worse["image"]].to_numpy())
    return found


def test_ranges(quality):
    low, median, high = ({name: quality[name][0].quantile(q) for name in NETWORKS} for q in (0.05, 0.5, 0.95))
    assert {len(quality[name][0]) for name in NETWORKS} == {208}
    said(f"between {low['sface']:.3f} and {high['sface']:.3f} for SFace, and between ")
    said(f"{low['facenet']:.3f} and {high['facenet']:.3f} for FaceNet")
    apart = {name: median[name] - low[name] for name in NETWORKS}
    said(f"are {apart['sface']:.3f} apart for SFace, and {apart['facenet']:.3f} for FaceNet")
    assert (quality["facenet"][0] < 0.82).mean() == pytest.approx(0.5, abs=0.05)
    assert (quality["sface"][0] < 0.82).mean() < 0.02
    said("0.82 is a middling photo for FaceNet, and one of the worst for SFace")


def test_degraded_versions(quality):
    higher = {name: (worse["quality"] >= worse["original"]).mean() for name, (_, worse) in quality.items()}
    said(f"Of 416 degraded versions of these photos, {higher['sface']:.0%} have".replace("%", " %"))
    said(f"for SFace, and {higher['facenet']:.0%} for FaceNet".replace("%", " %"))
    worse = quality["facenet"][1]
    compressed = worse[worse["version"] == "compression"]
    raised = (compressed["quality"] > compressed["original"]).sum()
    said(f"raised Q in {raised} of {len(compressed)} photos")


def test_what_is_left_out():
    rows = pd.read_csv(RESULTS / "discard_curves.csv").query("score == 'closed form' and fmr == 0.01")
    curves = {name: 100 * part.set_index("discarded")["fnmr"] for name, part in rows.groupby("model")}
    said(f"from {curves['sface'][0]:.2f} to {curves['sface'][0.2]:.2f} % for SFace")
    said(f"from {curves['facenet'][0]:.1f} to {curves['facenet'][0.2]:.1f} % for FaceNet (at a false")


def test_what_a_map_predicts():
    rows = pd.read_csv(RESULTS / "agreement.csv", keep_default_na=False)
    rows = rows.query("map == 'PLQ, signed' and fill == 'all' and ahead_of == ''").set_index(
        ["measure", "model"]
    )
    shift, fall = ([f"{rows['mean'][each, name]:.2f}" for name in NETWORKS] for each in ("shift", "fall"))
    said(f"is replaced (rank correlation {shift[0]} for SFace, {shift[1]} for FaceNet)")
    said(f"how far Q falls ({fall[0]}, {fall[1]})".replace("-", "−"))


@pytest.mark.slow
def test_noise_of_the_score():
    seeds, faces = {}, {}
    for name in NETWORKS:
        images = aligned_samples(name)
        drawn = torch.stack([plqlite.ser_fiq(built(name), images, seed=seed) for seed in range(10)])
        seeds[name], faces[name] = drawn.std(0).mean(), plqlite.ser_fiq_closed_form(built(name), images).std()
    said(f"of {seeds['sface']:.4f} (SFace) and {seeds['facenet']:.4f} (FaceNet)")
    said(f"between the nine sample faces, of {faces['sface']:.3f} and {faces['facenet']:.3f}")


def test_the_other_alignment():
    before, after = {}, {}
    for name, other in {"sface": crop_box, "facenet": align_arcface}.items():
        model, photos = built(name), plqlite.sample_faces().values()
        crops = [torch.from_numpy(other(photo, largest_face(photo), model.size)) for photo in photos]
        before[name] = plqlite.ser_fiq_closed_form(model, aligned_samples(name))
        after[name] = plqlite.ser_fiq_closed_form(model, torch.stack(crops).permute(0, 3, 1, 2).float())
    lost = {name: (before[name] - after[name]).mean() for name in NETWORKS}
    scaling = built("sface").scaling
    scaled = [
        plqlite.scale_quality(q["sface"], scaling.alpha, scaling.r).mean().item() for q in (before, after)
    ]
    said(f"loses {lost['sface']:.3f} of Q, and its mean Q̂ falls from {scaled[0]:.2f} to {scaled[1]:.2f}")
    said(f"it loses {lost['facenet']:.3f}")


def test_occlusions():
    """What docs/deviation.md says first, of other people."""

    def row(label):
        cells = next(line for line in DEVIATION.splitlines() if line.startswith(f"| {label} |")).split("|")
        return [re.match(r" (\d+)%", cells[index])[1] + " %" for index in (2, 4)]

    said("surgical masks for SFace and ", row("drawn: surgical mask")[1], " for FaceNet")
    said("behind ", row("drawn: surgical mask")[0], " of drawn surgical masks")
    said("behind a black square ", " and ".join(row("drawn: square")))
    said("behind clear glasses ", " and ".join(row("drawn: clear glasses")))
    said("in ", " and ".join(row("as they are")), " of faces that nothing covers")
    people = next(line for line in DEVIATION.splitlines() if line.startswith("| worn or held: glasses"))
    said("Of ", people.split("|")[-2].strip(), " people who wear real glasses")
    said("glasses it names ", " and ".join(row("worn or held: glasses")))
