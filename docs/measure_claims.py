"""Measure what the paper claims, on photos of people and on the nine sample faces.

    python docs/measure_claims.py FOLDER [--faces LIST.csv]

FOLDER holds PERSON/PHOTO, such as LFW; where LIST says that something covers a face (as
docs/development_set.csv does of ours), the photo is left out. Writes docs/results/claims.csv, a row for each
network and measure, with a 95 % interval over subjects, and docs/results/claims.json: command, versions,
date. docs/make_scorecard.py draws up the scorecard from these and others.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.stats import bootstrap

import plqlite
from plqlite.console import run
from plqlite.experiments.icao import WORN, align_simulated, frame_and_lenses, icao_experiment
from plqlite.experiments.inpainters import average_face, inpaint
from plqlite.experiments.masks import COLOURS, SIZES, mask_experiment, skin_colour
from plqlite.experiments.noncompliance import simulate
from plqlite.experiments.occluders import occlude
from plqlite.experiments.scripts import ScriptParser, about, load_largest_face
from plqlite.experiments.statistics import Estimate, mean_over_identities, pixel_change, share_positive
from plqlite.faces import largest_face
from plqlite.files import write_text
from plqlite.regression import node_weights, quality_node
from plqlite.saliency import mean_over_channels, pixel_gradient

RESULTS, LISTED = (Path(__file__).with_name(name) for name in ("results", "development_set.csv"))
Measures = Iterator[tuple[str, Estimate]]


# --- photos of people ---


def of_masks(rows: pd.DataFrame) -> Measures:
    """Yield what black squares do (§5.2, Fig. 5): how often the two differences are positive, and the AUC."""
    for size, part in rows.groupby("size"):
        who = part["identity"]
        yield f"Δ_Q̂ > 0, {size} px", share_positive(part["delta_q"], who)
        yield f"Δ_p > 0, {size} px", share_positive(part["delta_p"], who)
        yield f"AUC, {size} px", mean_over_identities(part["auc"], who)
        yield f"rise of the AUC, {size} px", mean_over_identities(part["auc"] - part["clean_auc"], who)


def of_colours(rows: pd.DataFrame) -> Measures:
    """Yield what the colour of a square of 30 pixels does (§8.4.1, Fig. 13)."""
    for colour, part in rows.groupby("colour"):
        yield f"Δ_p, {colour}", mean_over_identities(part["delta_p"], part["identity"])
        yield f"AUC, {colour}", mean_over_identities(part["auc"], part["identity"])
    auc = rows.pivot(index=["identity", "image"], columns="colour", values="auc")
    for easy, hard in (("cyan", "black"), ("magenta", "orange")):  # as on the nine sample faces, in 06
        apart = mean_over_identities(auc[easy] - auc[hard], auc.index.get_level_values("identity"))
        yield f"AUC, {easy} less {hard}", apart


def of_levels(model: plqlite.FaceModel, images: torch.Tensor, subjects: Sequence[str]) -> Measures:
    """Yield how the level of maps depends on the quality (§5.4), and on Σe (§6, §8.3)."""
    with torch.no_grad():
        embeddings = torch.cat([model(batch) for batch in images.split(32)])  # (N, d)
    sums, norms = embeddings.sum(-1).cpu(), embeddings.abs().sum(-1).cpu()
    yield "|M_Q − Q̂| / Q̂, literal", mean_over_identities((1 - sums / norms).abs(), subjects)
    for reading in ("signed", "summed"):
        explained = plqlite.explain(model, images, reading=reading)
        quality = explained.scaled_quality.cpu().numpy()
        useful = (explained.saliency > explained.saliency.median()).float().mean((1, 2)).cpu().numpy()
        yield (
            f"pairs in which more useful pixels mean less Q̂, {reading}",
            discordant(useful, quality, subjects),
        )
        level = explained.saliency.mean((1, 2)).cpu().numpy() / quality
        yield f"spread of the level, {reading}", over_subjects(spread, [level], subjects)
        yield (
            f"correlation of level and |Σe|, {reading}",
            over_subjects(
                lambda x, y: np.corrcoef(x, y)[0, 1], [np.log(level), sums.abs().log().numpy()], subjects
            ),
        )


def of_clipping(model: plqlite.FaceModel, images: torch.Tensor, subjects: Sequence[str]) -> Measures:
    """Yield what is left of the spread of levels if the gradients of one photo in ten are clipped (§8.3)."""
    levels, norms = [], []
    for batch in images.split(16):
        batch = batch.clone().requires_grad_()
        embeddings = model(batch)
        weights = node_weights(embeddings.detach(), torch.ones_like(batch[:, 0, 0, 0]), "summed")
        gradient = pixel_gradient(quality_node(embeddings, weights), batch)  # (B, 3, H, W)
        levels.append(mean_over_channels(gradient).mean((1, 2)))
        norms.append(gradient.flatten(1).norm(dim=1))
    level, norm = (torch.cat(each).cpu().numpy() for each in (levels, norms))

    def left(level: np.ndarray, norm: np.ndarray) -> float:
        clipped = level * np.minimum(1, np.quantile(norm, 0.9) / norm)
        return spread(clipped) / spread(level)

    yield "spread left after clipping", over_subjects(left, [level, norm], subjects)


def spread(values: np.ndarray) -> float:
    """Return the 95th percentile over the 5th."""
    return float(np.quantile(values, 0.95) / np.quantile(values, 0.05))


def discordant(one: np.ndarray, other: np.ndarray, subjects: Sequence[str]) -> Estimate:
    """Return in what share of all pairs of images one number is the higher, and the other the lower."""

    def share(x: np.ndarray, y: np.ndarray) -> float:
        order = np.sign(x[:, None] - x) * np.sign(y[:, None] - y)
        return float((order < 0).sum() / (order != 0).sum())

    return over_subjects(share, [one, other], subjects)


def over_subjects(
    measure: Callable[..., float], columns: Sequence[np.ndarray], subjects: Sequence[str]
) -> Estimate:
    """Return a measure of some columns (N,), with a bootstrap over subjects."""
    names, index = np.unique(np.asarray(subjects), return_inverse=True)
    rows = [np.flatnonzero(index == number) for number in range(len(names))]

    def of(drawn: np.ndarray) -> float:
        chosen = np.concatenate([rows[number] for number in drawn])
        return measure(*(column[chosen] for column in columns))

    everybody = np.arange(len(names))
    found = bootstrap((everybody,), of, vectorized=False, method="percentile", n_resamples=999, rng=0)
    return Estimate(float(of(everybody)), *map(float, found.confidence_interval), len(index))


# --- the nine sample faces ---


def of_icao(rows: pd.DataFrame) -> Measures:
    """Yield what non-compliance does (§5.3, §8.4.2; Fig. 7, 8, 14, 15)."""
    worn, expression = rows[rows["kind"].isin(WORN)], rows[rows["kind"] == "expression"]
    for name in ("auc_deviation", "auc_plq", "auc_alone"):
        yield f"occluded parts, {name}", mean_over_identities(worn[name], worn["identity"])
    yield (
        "expression, auc_deviation",
        mean_over_identities(expression["auc_deviation"], expression["identity"]),
    )
    colour = rows[rows["kind"] == "colour"]
    yield "colour, rank correlation", mean_over_identities(colour["rank_correlation"], colour["identity"])
    for kind in ("background", "contrast", "distortion"):
        part = rows[rows["kind"] == kind]
        yield f"{kind}, Δ_Q̂", mean_over_identities(part["delta_q"], part["identity"])
        yield f"{kind}, rank correlation", mean_over_identities(part["rank_correlation"], part["identity"])
    yield from of_light(rows.set_index(["slot", "image"]))


def of_light(rows: pd.DataFrame) -> Measures:
    """Yield how often the lit side is lower than the shaded one, and how often it falls further."""
    left, right = (rows[[f"{side} eye", f"{side} cheek"]].mean(axis=1) for side in ("left", "right"))
    tilt = (left - right).unstack("slot")  # above 0: the left is the higher
    lit = tilt[["illumination-left", "illumination-right"]] * [-1, 1]  # above 0: the lit side is the lower
    usual = pd.DataFrame({name: tilt["reference"] * sign for name, sign in zip(lit, (-1, 1), strict=True)})
    for name, values in {"lower": lit, "falls further": lit - usual}.items():
        yield f"lit side {name}", share_positive(values.to_numpy().ravel(), np.repeat(tilt.index, 2))


def of_glasses(model: plqlite.FaceModel, photos: Mapping[str, np.ndarray]) -> Measures:
    """Yield how far the map falls behind clear lenses, as a part of how far it falls on their frame."""
    falls = []
    for photo in photos.values():
        face = largest_face(photo)
        crop = align_simulated(model, simulate(photo, face.landmarks, "glasses-clear"), face)
        pair = plqlite.explain(model, torch.stack([model.crop(photo, face), crop.image])).saliency
        falls.append(frame_and_lenses(pair, crop.mask))
    frame, lenses = np.array(falls).T
    names = list(photos)
    yield "glasses, frame less lenses", mean_over_identities(frame - lenses, names)
    measure = over_subjects(lambda x, y: y.mean() / x.mean(), [frame, lenses], names)
    yield "glasses, lenses / frame", measure


def of_inpainting(model: plqlite.FaceModel, photos: Mapping[str, np.ndarray]) -> Measures:
    """Yield what inpainting dark glasses by an average face does to Q, and to the comparison score (§6)."""
    clean = torch.cat([plqlite.load_face(photo, model) for photo in photos.values()])
    covered, masks, inpainted = [], [], []
    for number, photo in enumerate(photos.values()):
        face = largest_face(photo)
        altered, mask = occlude(photo, face.landmarks, "dark glasses", seed=number)
        others = average_face(clean[torch.arange(len(clean)) != number])
        covered.append(model.crop(altered, face))
        masks.append(model.crop_mask(mask, face))
        inpainted.append(inpaint(covered[-1], masks[-1], others))
    before, after = torch.stack(covered), torch.stack(inpainted)
    rise = plqlite.ser_fiq_closed_form(model, after) - plqlite.ser_fiq_closed_form(model, before)
    yield "inpainted eyes, rise of Q", mean_over_identities(rise.tolist(), list(photos))
    worse, better = plqlite.explain(model, before), plqlite.explain(model, after)
    higher = pixel_change(better, worse, torch.stack(masks)).tolist()
    yield "inpainted eyes, rise of P", mean_over_identities(higher, list(photos))
    with torch.no_grad():
        score = ((model(after) - model(before)) * model(clean)).sum(-1)
    yield "inpainted eyes, rise of the comparison score", mean_over_identities(score.tolist(), list(photos))


def of_development_set(model: plqlite.FaceModel) -> Measures:
    """Yield how narrow the range of Q is (§8.2, Fig. 11): median, between the 5th and the 95th percentile."""
    rows = pd.read_csv(files("plqlite").joinpath("calibration.csv"), keep_default_na=False)
    listed = pd.read_csv(LISTED, keep_default_na=False).query("covered == ''")["image"]
    rows = rows[(rows["model"] == model.label) & (rows["version"] == "") & rows["image"].isin(listed)]
    low, median, high = rows["quality"].astype(float).quantile([0.05, 0.5, 0.95])
    yield "Q of the development set, 5 to 95 %", Estimate(median, low, high, len(rows))


def measures_of(model: plqlite.FaceModel, photos: Mapping[str, Path], subjects: Sequence[str]) -> Measures:
    """Yield all measures of a network."""
    base = os.path.commonpath(photos)  # PERSON/PHOTO, whatever folder they are in
    faces = {os.path.relpath(name, base): load_largest_face(path, model)[0] for name, path in photos.items()}
    samples = plqlite.sample_faces()
    yield from of_masks(mask_experiment(model, faces))
    colours = {**COLOURS, "skin": skin_colour}
    yield from of_colours(mask_experiment(model, faces, [SIZES[2]], colours))
    yield from of_levels(model, torch.stack(list(faces.values())), subjects)
    yield from of_clipping(model, torch.stack(list(faces.values())), subjects)
    yield from of_icao(icao_experiment([model], samples))
    yield from of_glasses(model, samples)
    yield from of_inpainting(model, samples)
    yield from of_development_set(model)


def main() -> None:
    """Measure both networks, and write the table."""
    parser = ScriptParser(__doc__)
    parser.add_folder()
    parser.add_faces()
    parser.add_models()
    options = parser.parse_args()
    photos, faces = parser.photos_and_faces(options.folder, options.faces)
    faces = faces[faces["covered"] == ""]
    photos = {image: photos[image] for image in faces["image"]}
    rows = [
        {"model": model.label, "measure": measure} | estimate._asdict()
        for model in parser.load_models(options.model)
        for measure, estimate in measures_of(model, photos, faces["subject"].tolist())
    ]
    text = pd.DataFrame(rows).to_csv(index=False, float_format="%.6g", lineterminator="\n")
    write_text(RESULTS / "claims.csv", text)
    known = {"photos": len(photos), "subjects": int(faces["subject"].nunique())}
    text = json.dumps(about("docs/measure_claims.py", options.folder, options.faces) | known, indent=1) + "\n"
    write_text(RESULTS / "claims.json", text)


if __name__ == "__main__":
    run(main)
