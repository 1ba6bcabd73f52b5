"""From aligned faces to rows of numbers: one explanation for a batch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from plqlite.advice import percentile_of
from plqlite.explanation import Explanation, explain
from plqlite.faces import BOTH_EYES, FACE_COLUMNS, REGIONS
from plqlite.networks.model import FaceModel
from plqlite.regions import beyond_alarms, region_z_scores
from plqlite.scale.crops import Prepared
from plqlite.scale.inputs import Item, as_text

PARTS = (*REGIONS, BOTH_EYES)
Z = tuple("z_" + part.replace(" ", "_") for part in PARTS)


def schema(maps: bool = False) -> pa.Schema:
    """Return names and types of the columns; those of maps are (size, size) bytes, 255 for 1.

    Examples
    --------
    >>> schema().names[:5]
    ['file', 'path', 'identity', 'face', 'left']
    """
    columns: dict[str, Any] = {"file": pa.binary(), "path": pa.string(), "identity": pa.string()}
    columns |= {"face": pa.int32()} | dict.fromkeys(FACE_COLUMNS, pa.float32())
    columns |= dict.fromkeys(("detector", "quality", "scaled_quality", "percentile", *Z), pa.float32())
    columns |= {"low": pa.list_(pa.string()), "error": pa.string()}
    return pa.schema(columns | (dict.fromkeys(("pattern", "plq"), pa.binary()) if maps else {}))


class Scorer:
    """Scores batches of prepared files with one model.

    Parameters
    ----------
    model : a FaceModel
    maps : keep pattern and P as bytes
    batch : images that `explain` takes at a time; None for its own choice

    Examples
    --------
    >>> import plqlite
    >>> from plqlite.scale.crops import Options, prepare
    >>> from plqlite.scale.inputs import Item
    >>> model = plqlite.sface()
    >>> missing = prepare(Item("no.jpg", "no.jpg", None), Options(model.align, model.size))
    >>> Scorer(model)([missing])[0]["error"][:17]
    'FileNotFoundError'
    """

    def __init__(self, model: FaceModel, maps: bool = False, batch: int | None = None) -> None:
        self.model, self.maps, self.batch = model, maps, batch

    def __call__(self, batch: Sequence[Prepared]) -> list[dict]:
        """Return the rows of some files: one for each face, or one with an error."""
        crops = np.concatenate([each.crops for each in batch])  # (n, size, size, 3)
        try:
            numbers = iter(self._numbers(crops) if len(crops) else [])
        except ValueError as refused:  # one crop is no face, such as a mask of 0 and 1: which?
            if len(batch) > 1:
                return [row for each in batch for row in self([each])]
            return [_common(batch[0].item) | {"error": f"{type(refused).__name__}: {refused}"}]
        rows = []
        for item, _, faces, error in batch:
            common = _common(item)
            if error is not None:
                rows.append(common | {"error": as_text(error)})
            rows += [common | _place(number, face) | next(numbers) for number, face in enumerate(faces)]
        return rows

    def _numbers(self, crops: np.ndarray) -> list[dict]:
        """Explain crops (n, size, size, 3), and return the numbers of each."""
        weights = next(self.model.parameters())
        images = torch.from_numpy(crops).to(weights.device).permute(0, 3, 1, 2).to(weights.dtype)
        explanation = explain(self.model, images.contiguous(), batch=self.batch)
        columns: dict[str, Any] = {"quality": explanation.quality.tolist()}
        if explanation.calibrated:
            columns["scaled_quality"] = explanation.scaled_quality.tolist()
        columns |= self._compared(explanation)
        if self.maps:
            columns["pattern"], columns["plq"] = _bytes(explanation.pattern), _bytes(explanation.plq)
        return _by_face(columns)

    def _compared(self, explanation: Explanation) -> dict[str, list]:
        """Compare with the development set, as `advise` does; nothing without reference statistics."""
        reference = self.model.reference_statistics
        if reference is None or explanation.deviation is None:
            return {}
        scores = region_z_scores(explanation.deviation, self.model)
        z = {part: scores[part].tolist() for part in PARTS}
        percentiles = percentile_of(explanation.quality.cpu().numpy(), reference).tolist()
        low = [beyond_alarms(face, reference.alarms) for face in _by_face(z)]
        return {"percentile": percentiles, "low": low} | dict(zip(Z, z.values(), strict=True))


def _by_face(columns: Mapping[str, list]) -> list[dict]:
    """Turn columns into a row for each face."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _common(item: Item) -> dict:
    """Return what each row of a file has."""
    return {"file": item.file, "path": as_text(item.name), "identity": item.identity}


def _place(number: int, face: Any) -> dict:  # noqa: ANN401  # a Face, or None
    """Return which face of its file it is, and where it was."""
    if face is None:
        return {"face": number}
    where = [*face.box, *face.landmarks.flatten(), face.score]
    return {"face": number} | dict(zip((*FACE_COLUMNS, "detector"), map(float, where), strict=True))


def _bytes(maps: torch.Tensor) -> list[bytes]:
    """Return maps (n, H, W), 0..1, as bytes."""
    return [each.tobytes() for each in (maps.detach() * 255).round().byte().cpu().numpy()]
