"""Measure one face for an evaluation: what its quality scores are, and how faithful maps of it are."""

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import cast

import cv2
import numpy as np
import torch

from plqlite.experiments.faithfulness import (
    agreement,
    deletion,
    embedding_and_quality,
    fills,
    intervene,
    max_sensitivity,
    randomised,
    ranked,
    similarity,
)
from plqlite.experiments.inpainters import to_array
from plqlite.experiments.rivals import Map, enlarged, quality_of
from plqlite.explanation import explain
from plqlite.faces import Face, find_faces
from plqlite.networks.model import FaceModel
from plqlite.quality import robustness, stochastic_embeddings

SCORES = {  # of `quality_scores`: what each is
    "sampled": "SER-FIQ, 100 masks",
    "closed form": "SER-FIQ, closed form",
    "norm": "length of the embedding before it is normalised",
    "signal for noise": "signal over the root of the noise, summed over cells",
    "mean P": "mean of the PLQ map",
    "mean deviation": "mean of the deviation",
    "sharpness": "variance of the Laplacian of the crop",
    "face size": "width of the detector's box in pixels",
    "detector": "the detector's confidence",
}


def quality_scores(
    model: FaceModel, image: torch.Tensor, photo: np.ndarray, face: Face, seed: int = 0
) -> tuple[dict[str, float], torch.Tensor]:
    """Return all quality scores of a face, higher is better, and its embedding.

    Parameters
    ----------
    model : with cells
    image : (3, size, size), the aligned face
    photo : (H, W, 3) uint8, the whole photo, maybe degraded
    face : in the photo as it was before
    seed : of the masks

    Examples
    --------
    >>> import plqlite
    >>> from plqlite.faces import largest_face
    >>> model, photo = plqlite.sface(), plqlite.sample_faces()["astronaut"]
    >>> face = largest_face(photo)
    >>> scores, _ = quality_scores(model, model.crop(photo, face), photo, face)
    >>> list(scores) == list(SCORES)
    True
    """
    explanation = explain(model, image[None])
    parts = cast(tuple[torch.Tensor, torch.Tensor], (explanation.signal, explanation.noise))  # it has cells
    signal, noise = (each.sum().item() for each in parts)
    with torch.no_grad():
        features = model.features(image[None])
        raw, sampled = model.head(features), stochastic_embeddings(model.head, features, seed=seed)
    grey = cv2.cvtColor(to_array(image), cv2.COLOR_RGB2GRAY)
    again = find_faces(photo)
    values = (
        robustness(sampled).item(),
        explanation.quality.item(),
        raw.norm().item(),
        signal / noise**0.5,
        explanation.plq.mean().item(),
        explanation.deviation.mean().item() if explanation.deviation is not None else 0.0,
        float(cv2.Laplacian(grey, cv2.CV_64F).var()),
        float(face.box[2] - face.box[0]),
        again[0].score if again else 0.0,
    )
    return dict(zip(SCORES, values, strict=True)), torch.nn.functional.normalize(raw, dim=-1)[0]


def agreement_rows(
    model: FaceModel,
    image: torch.Tensor,
    maps: Mapping[str, torch.Tensor],
    average: torch.Tensor,
) -> list[dict]:
    """Compare maps of one face with what replacing patches does, by three fills.

    Parameters
    ----------
    model, image : (3, size, size)
    maps : name -> (size, size)
    average : (3, size, size), the mean of other faces

    Returns
    -------
    A row for each map and fill: `map`, `fill`, `shift` and `fall` (Spearman's ρ).
    """
    rows, everything = [], torch.ones_like(image[0], dtype=torch.bool)
    for name, fill in fills(average).items():
        if name == "imputed":  # from the neighbours of a whole patch: much as a blur, and slow
            continue
        effects = intervene(model, image, fill(image, everything))
        rows += [{"map": each, "fill": name} | agreement(values, effects) for each, values in maps.items()]
    return rows


def deletion_rows(
    model: FaceModel,
    image: torch.Tensor,
    mate: torch.Tensor,
    maps: Mapping[str, torch.Tensor],
    average: torch.Tensor,
    seed: int = 0,
) -> list[dict]:
    """Delete the pixels of one face in the order of maps, and measure comparison score and Q.

    Insertion into a blurred face is deletion by a blur, read backwards: the first s pixels of one order are
    inserted when all but the first 1 − s of the reverse order are deleted. So it is not measured again.

    Parameters
    ----------
    model, image : (3, size, size)
    mate : (d,), embedding of another photo of the same subject
    maps : name -> (size, size)
    average : (3, size, size), the mean of other faces
    seed : of the order of equal pixels

    Returns
    -------
    A row for each map, fill and order ("high" or "low" first): `score` and `quality`, a value for each of
    SHARES.
    """
    measured = []

    def measure(images: torch.Tensor) -> torch.Tensor:
        embeddings, quality = embedding_and_quality(model, images)
        measured.append(torch.stack([embeddings @ mate, quality]))  # (2, B)
        return quality

    rows = []
    for name, values in maps.items():
        order = ranked(values, seed)
        for fill_name, fill in fills(average).items():
            if fill_name == "mean colour":
                continue
            for first, pixels in (("high", order), ("low", order[::-1])):
                measured.clear()
                deletion(measure, image, pixels, fill)
                score, quality = torch.cat(measured, dim=1).tolist()
                row = {"map": name, "fill": fill_name, "first": first}
                rows.append(row | {"score": in_text(score), "quality": in_text(quality)})
    return rows


def in_text(values: list[float]) -> str:
    """Write a curve into a cell of a table.

    Examples
    --------
    >>> in_text([0.5, 0.25])
    '0.50000 0.25000'
    """
    return " ".join(f"{value:.5f}" for value in values)


def from_text(text: str) -> np.ndarray:
    """Read a curve from a cell of a table, or an embedding.

    Examples
    --------
    >>> from_text("0.50000 0.25000")
    array([0.5 , 0.25])
    """
    return np.array(text.split(), dtype=float)


def sanity_rows(
    model: FaceModel, image: torch.Tensor, rivals: Mapping[str, Map], seed: int = 0
) -> Iterator[dict]:
    """Yield how alike maps of a face are to those of networks with more and more random weights."""
    before = {name: rival(model, image[None])[0] for name, rival in rivals.items()}
    for stage, changed in randomised(model, seed):
        for name, rival in rivals.items():
            rho, alike = similarity(before[name].cpu(), rival(changed, image[None])[0].cpu())
            yield {"map": name, "stage": stage, "rho": rho, "ssim": alike}


def cost_rows(
    model: FaceModel, image: torch.Tensor, rivals: Mapping[str, Map], cheap: Mapping[str, Map]
) -> Iterator[dict]:
    """Yield how long maps take, as so many forward passes; and of cheap ones, how sensitive they are.

    Sensitivity takes four more maps, see `max_sensitivity`; NaN where that would take too long.
    """

    def forward() -> None:
        with torch.no_grad():
            quality_of(model, model.features(image[None]))

    forward()
    unit = _seconds(forward, 5)
    for name, rival in rivals.items():
        cost = _seconds(partial(rival, model, image[None]), 1) / unit
        moved = max_sensitivity(rival, model, image, draws=3) if name in cheap else float("nan")
        yield {"map": name, "cost": cost, "sensitivity": moved}


def _seconds(work: Callable[[], object], times: int) -> float:
    """Return how long some work takes, the fastest of several times."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


def maps_of_face(model: FaceModel, image: torch.Tensor, rivals: Mapping[str, Map]) -> dict[str, torch.Tensor]:
    """Return all maps of one face, name -> (size, size)."""
    return {name: enlarged(rival(model, image[None]), model.size)[0] for name, rival in rivals.items()}
