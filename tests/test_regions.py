import numpy as np
import pytest
import torch

import plqlite
from conftest import random_images, tiny_model
from plqlite.experiments.masks import coloured_mask
from plqlite.faces import BOTH_EYES, REGIONS, REGIONS_IN_BOX, crop_box, find_faces
from plqlite.regions import face_regions, low_regions, reference_statistics_of, region_z_scores


def test_regions_are_where_the_landmarks_are(sface):
    masks = dict(zip(REGIONS, face_regions(sface), strict=True))
    points = {"left eye": (38, 52), "right eye": (74, 52), "nose": (56, 72), "mouth": (56, 92)}
    for name, (x, y) in points.items():
        assert masks[name][y, x]
        assert [other for other in masks if masks[other][y, x]] == [name]
    assert (masks["left cheek"] == masks["right cheek"].flip(-1)).all()


def test_regions_of_a_box_crop_are_where_its_landmarks_are(model):
    """On average: the detector's box is not placed by the landmarks."""
    inside = []
    masks = dict(zip(REGIONS, face_regions(model), strict=True))
    for photo in plqlite.sample_faces().values():
        (face,) = find_faces(photo)[:1]
        points = np.concatenate([face.landmarks[:3], face.landmarks[3:].mean(0, keepdims=True)])
        names = ("left eye", "right eye", "nose", "mouth")
        for name, (x, y) in zip(names, points.round().astype(int), strict=True):
            dot = np.zeros_like(photo)
            dot[y - 1 : y + 2, x - 1 : x + 2] = 255
            seen = model.align(dot, face, model.size)[..., 0]
            row, column = np.unravel_index(seen.argmax(), seen.shape)
            inside.append(masks[name][row, column].item())
    assert np.mean(inside) > (0.7 if model.align is crop_box else 0.95)  # one of nine is in profile
    assert model.align.regions is (REGIONS_IN_BOX if model.align is crop_box else REGIONS)


def test_the_lowest_quarter_of_a_region_counts(sface):
    deviation = torch.zeros(2, 112, 112)
    inside = face_regions(sface)[list(REGIONS).index("mouth")].nonzero()  # (n, 2)
    values = torch.linspace(-8, 0, len(inside)).square().neg()  # -64 to 0, the mean is not the median
    order = torch.randperm(len(inside), generator=torch.Generator().manual_seed(0))
    deviation[1, inside[order, 0], inside[order, 1]] = values
    z = region_z_scores(deviation, sface)
    assert list(z) == [*REGIONS, BOTH_EYES]
    torch.testing.assert_close(
        z["mouth"], torch.stack([torch.tensor(0.0), values[: len(values) // 4].mean()])
    )
    assert z["chin"].tolist() == [0, 0]
    deviation[1] = 0
    deviation[1, face_regions(sface)[1]] = -3  # the left eye
    z = region_z_scores(deviation, sface)
    assert [z[name][1].item() for name in ("left eye", "right eye", BOTH_EYES)] == [-3, 0, -1.5]
    small = region_z_scores(torch.ones(1, 8, 8), tiny_model(size=8))  # its mouth has two pixels
    assert all(value.item() == 1 for value in small.values())


def test_low_regions_are_those_beyond_their_alarms(tiny_reference):
    tiny, masks = tiny_reference, dict(zip(REGIONS, face_regions(tiny_reference), strict=True))
    explanation = plqlite.explain(tiny, random_images(1, size=112))
    explanation.deviation[:] = -1  # low, but within the alarms
    explanation.deviation[0, masks["chin"]] = -4
    explanation.deviation[0, masks["forehead"]] = -5
    explanation.deviation[0, 90:95, 36:76] = -9  # a part of the mouth
    found = low_regions(explanation)
    assert list(found) == ["mouth", "forehead", "chin"]
    assert (found["chin"] == masks["chin"]).all()
    assert found["mouth"].sum() == 5 * masks["mouth"][90].sum()
    eyes = masks["left eye"] | masks["right eye"]
    explanation.deviation[0, eyes] = -7
    assert (low_regions(explanation)["both eyes"] == eyes).all()
    explanation.deviation[:] = 0
    assert low_regions(explanation) == {}
    plain = plqlite.explain(tiny_model(size=112), random_images(1, size=112))
    assert low_regions(plain) == {}
    with pytest.raises(
        ValueError, match="tiny has no reference statistics to compare with: run data_scripts"
    ):
        reference_statistics_of(plain.model)


@pytest.mark.slow
def test_a_covered_region_of_a_sample_face_falls(model, faces):
    """Each of eight blocks on nine faces lowers the z of its own region most, nearly always."""
    regions = face_regions(model)
    clean = region_z_scores(plqlite.explain(model, faces).deviation, model)
    right = []
    for name, mask in zip(REGIONS, regions, strict=True):
        blocks = torch.stack([coloured_mask(face, mask, (128, 128, 128)) for face in faces])
        z = region_z_scores(plqlite.explain(model, blocks).deviation, model)
        fall = torch.stack([clean[other] - z[other] for other in REGIONS])  # (8, 9)
        right += (fall.argmax(0) == list(REGIONS).index(name)).tolist()
    assert np.mean(right) > 0.8
