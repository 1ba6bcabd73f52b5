import numpy as np
import pytest
import torch

import plqlite
from conftest import random_images, reference_map, tiny_model
from plqlite.experiments.masks import coloured_mask
from plqlite.faces import REGIONS, crop_box, find_faces
from plqlite.regions import deviation, face_regions, region_levels, region_z_scores, relative_level


@pytest.mark.parametrize("size", [112, 160])
def test_relative_level_knows_neither_scale_nor_size(size):
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(2, 1, 28, 28, generator=generator) + 0.1
    small = torch.nn.functional.interpolate(coarse, (112, 112), mode="nearest")[:, 0]
    large = torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear")[:, 0]
    assert relative_level(large).shape == (2, 28, 28)
    torch.testing.assert_close(relative_level(1e-7 * small), relative_level(small), atol=1e-4, rtol=0)
    assert (relative_level(large) - relative_level(small)).abs().mean() < 0.05


def test_relative_level_is_measured_against_the_higher_half():
    saliency = torch.ones(1, 112, 112)
    assert relative_level(saliency).abs().max() < 1e-6
    saliency[0, :40] = 1e-3  # a third is low: the rest stays at zero
    level = relative_level(saliency)[0]
    assert level[14:].abs().max() < 1e-5
    assert level[:8].max() < -6


def test_lower_than_the_reference_counts_not_low():
    """Negative where a map is lower, in standard deviations."""
    saliency = torch.ones(1, 112, 112)
    saliency[0, :56] = 0.01
    low_above = relative_level(saliency)[0]
    assert deviation(saliency, reference_map(torch.zeros(28, 28), torch.ones(28, 28)))[0, :40].max() < -3
    assert deviation(saliency, reference_map(low_above, torch.ones(28, 28))).abs().max() < 1e-5
    higher = deviation(saliency, reference_map(low_above + 1, torch.full((28, 28), 2.0)))
    assert higher.shape == saliency.shape
    assert higher[0, 20, 20] == pytest.approx(-0.5)


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
        for name, (x, y) in zip(
            ("left eye", "right eye", "nose"), face.landmarks.round().astype(int), strict=False
        ):
            dot = np.zeros_like(photo)
            dot[y - 1 : y + 2, x - 1 : x + 2] = 255
            seen = model.align(dot, face, model.size)[..., 0]
            row, column = np.unravel_index(seen.argmax(), seen.shape)
            inside.append(masks[name][row, column].item())
    assert np.mean(inside) > (0.7 if model.align is crop_box else 0.95)  # one of nine is in profile


def test_region_levels_by_hand():
    """Half of the map is e, the reference; a region of e⁻² is at −3, whatever the map's scale."""
    saliency = torch.full((2, 4, 4), np.e)
    saliency[:, :2] = np.exp(-2.0)
    regions = torch.zeros(2, 4, 4, dtype=torch.bool)
    regions[0, :2], regions[1, 1:3] = True, True
    levels = region_levels(saliency * torch.tensor([1.0, 50.0])[:, None, None], regions)
    torch.testing.assert_close(levels, torch.tensor([[-3.0, -1.5], [-3.0, -1.5]]))


def test_z_scores_count_in_standard_deviations(tiny_reference):
    tiny = tiny_reference
    saliency = plqlite.explain(tiny, random_images(4, size=112)).saliency
    levels = region_levels(saliency, face_regions(tiny))
    z = region_z_scores(saliency, tiny)
    assert list(z) == list(REGIONS)
    reference = tiny.reference_statistics
    expected = (levels[:, 6] - reference.region_mean[6]) / reference.region_std[6]
    torch.testing.assert_close(z["mouth"], expected)
    with pytest.raises(
        ValueError, match="tiny has no reference statistics to compare with: run data_scripts"
    ):
        region_z_scores(saliency, tiny_model(size=112))


@pytest.mark.slow
def test_a_covered_region_of_a_sample_face_falls(model, faces):
    """Each of eight blocks on nine faces lowers the z of its own region most, nearly always."""
    regions = face_regions(model)
    clean = region_z_scores(plqlite.explain(model, faces, None).saliency, model)
    right = []
    for name, mask in zip(REGIONS, regions, strict=True):
        blocks = torch.stack([coloured_mask(face, mask, (128, 128, 128)) for face in faces])
        z = region_z_scores(plqlite.explain(model, blocks, None).saliency, model)
        fall = torch.stack([clean[other] - z[other] for other in REGIONS])  # (8, 9)
        right += (fall.argmax(0) == list(REGIONS).index(name)).tolist()
    assert np.mean(right) > 0.8
