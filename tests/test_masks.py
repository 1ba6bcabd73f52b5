import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import plqlite
from conftest import random_images, tiny_model
from plqlite.experiments import masks
from plqlite.experiments.dataset import aligned_faces
from plqlite.experiments.masks import (
    COLOURS,
    SIZES,
    coloured_mask,
    mask_experiment,
    place_generator,
    random_mask,
    scaled_size,
    skin_colour,
)
from plqlite.experiments.statistics import localisation_auc, pixel_change, quality_change, share_positive


@given(height=st.integers(10, 60), width=st.integers(10, 60), seed=st.integers(0, 999), data=st.data())
def test_a_mask_is_a_black_square_in_the_inner_part(height, width, seed, data):
    image = torch.full((3, height, width), 7.0)
    largest = min(side - 2 * -(-side // 20) for side in (height, width))  # a twentieth, rounded up
    size = data.draw(st.integers(1, largest))
    masked, mask = random_mask(image, size, np.random.default_rng(seed))
    rows, columns = (mask.any(axis).nonzero().flatten() for axis in (1, 0))
    assert mask.sum() == size**2
    assert len(rows) == len(columns) == size
    for place, side in ((rows, height), (columns, width)):
        assert 0.05 * side <= place[0] + 1e-9
        assert place[-1] + 1 <= 0.95 * side + 1e-9
    assert (masked[:, mask] == 0).all()
    assert (masked[:, ~mask] == 7).all()
    assert (image == 7).all()


def test_masks_reach_every_corner_of_the_inner_part():
    rng = np.random.default_rng(0)
    corners = [random_mask(torch.ones(3, 20, 20), 16, rng)[1].nonzero()[0].tolist() for _ in range(200)]
    assert {tuple(corner) for corner in corners} == {(y, x) for y in (1, 2, 3) for x in (1, 2, 3)}


@pytest.mark.parametrize("size", [0, -1, 102, 112, 500])
def test_a_mask_that_does_not_fit_is_refused(size):
    with pytest.raises(ValueError, match=r"does not fit into the inner 90% .* choose 1 to 100"):
        random_mask(torch.ones(3, 112, 112), size, np.random.default_rng(0))


def test_a_place_depends_on_seed_size_and_name_alone():
    image = torch.ones(3, 112, 112)
    names = ("ada/1.png", "ada/2.png", "bob/1.png")
    keys = [(seed, size, name) for seed in (0, 1) for size in (10, 20) for name in names]
    places = [random_mask(image, 10, place_generator(*key))[1] for key in keys]
    again = [random_mask(image, 10, place_generator(*key))[1] for key in reversed(keys)]
    assert all((a == b).all() for a, b in zip(places, reversed(again), strict=True))
    assert len({tuple(place.nonzero()[0].tolist()) for place in places}) == len(keys)


def test_sizes_are_those_of_the_paper_and_scale():
    assert SIZES == (10, 20, 30, 40, 50)
    assert [scaled_size(size, 112) for size in SIZES] == list(SIZES)
    assert [scaled_size(size, 160) for size in SIZES] == [14, 29, 43, 57, 71]


def test_a_mask_may_have_any_colour_and_shape():
    (image,) = random_images(1)
    mask = torch.rand(16, 16, generator=torch.Generator().manual_seed(0)) > 0.5
    covered = coloured_mask(image, mask, (1, 2, 3))
    assert (covered[:, mask] == torch.tensor([[1.0], [2.0], [3.0]])).all()
    assert (covered[:, ~mask] == image[:, ~mask]).all()
    assert covered.dtype == image.dtype


def test_the_colours_are_twelve_and_far_apart():
    colours = torch.tensor(list(COLOURS.values())).float()
    assert len(colours) == 12
    assert torch.pdist(colours).min() > 75
    assert colours.min() == 0
    assert colours.max() == 255


def test_skin_is_measured_where_nose_and_cheeks_are():
    image = torch.zeros(3, 112, 112)
    image[:, 60:78, 36:76] = torch.tensor([200.0, 150.0, 120.0]).view(3, 1, 1)
    assert skin_colour(image) == (200.0, 150.0, 120.0)


def test_skin_of_the_portraits_looks_like_skin(model):
    """Red over green over blue, and neither dark nor white, as of both portraits."""
    photos = plqlite.sample_faces()
    for name in ("astronaut", "grace_hopper"):
        red, green, blue = skin_colour(plqlite.load_face(photos[name], model)[0])
        assert 250 > red > green > blue > 60, name


# --- the experiment ---


@pytest.fixture
def faces():
    return dict(zip(("ada/1", "ada/2", "bob/1"), random_images(3), strict=True))


OPTIONS = {"sizes": (20, 60), "colours": {"red": COLOURS["red"], "skin": skin_colour}, "seeds": (0, 3)}


def test_rows_are_what_the_equations_say(tiny, faces):
    """Each row again, one image at a time, from the functions themselves."""
    rows = mask_experiment(tiny, faces, **OPTIONS)
    assert len(rows) == 3 * 2 * 2 * 2
    for row in rows.to_dict("records"):
        image = faces[row["image"]]
        place = place_generator(row["seed"], row["size"], row["image"])
        _, mask = random_mask(image, scaled_size(row["size"], 16), place)
        colour = COLOURS["red"] if row["colour"] == "red" else skin_colour(image)
        clean = plqlite.explain(tiny, image[None])
        masked = plqlite.explain(tiny, coloured_mask(image, mask, colour)[None])
        expected = {
            "quality": clean.quality.item(),
            "masked_quality": masked.quality.item(),
            "delta_q": quality_change(clean, masked).item(),
            "delta_p": pixel_change(clean, masked, mask[None]).item(),
            "clean_auc": localisation_auc(clean.saliency[0], mask),
            "auc": localisation_auc(masked.saliency[0], mask),
        }
        assert {name: row[name] for name in expected} == pytest.approx(expected, abs=1e-5)
        assert [row["top"], row["left"]] == mask.nonzero()[0].tolist()
        assert row["identity"] == row["image"].split("/")[0]


def test_colours_lie_in_the_same_places_and_seeds_in_others(tiny, faces):
    rows = mask_experiment(tiny, faces, sizes=[20], colours=COLOURS, seeds=range(8))
    places = rows.groupby(["image", "seed"])[["top", "left"]].nunique()
    assert (places == 1).all(axis=None)
    assert len(rows[["image", "top", "left"]].drop_duplicates()) > 15


def test_a_row_does_not_depend_on_what_else_is_measured(tiny, faces):
    rows = mask_experiment(tiny, faces, seeds=range(9))
    alone = mask_experiment(tiny, {"bob/1": faces["bob/1"]}, sizes=(30,), seeds=(5,))
    same = rows.query("image == 'bob/1' and size == 30 and seed == 5").reset_index(drop=True)
    pd.testing.assert_frame_equal(same, alone, rtol=1e-4)


def test_a_face_and_its_masked_versions_see_the_same_dropout(tiny, faces):
    """A mask in the colour that is there already changes nothing at all."""
    uniform = torch.full((3, 16, 16), 90.0)
    rows = mask_experiment(tiny, {"ada": uniform}, colours={"skin": skin_colour}, seeds=range(5))
    for name in ("delta_q", "delta_p"):
        assert rows[name].abs().max() < 1e-5
    assert (share_positive(rows["delta_q"].round(4), rows["identity"]).mean) == 0


def test_the_closed_form_draws_nothing(tiny, faces):
    rows = mask_experiment(tiny, faces, sizes=[20])
    quality = plqlite.ser_fiq_closed_form(tiny, torch.stack(list(faces.values())))
    assert rows["quality"].tolist() == pytest.approx(quality.tolist())


def test_resumes_where_it_was_interrupted(tiny, faces, tmp_path, interrupt):
    whole = mask_experiment(tiny, faces, **OPTIONS)
    calls = interrupt(masks, "mask_rows", at=2)
    table = tmp_path / "rows.csv"
    with pytest.raises(KeyboardInterrupt):
        mask_experiment(tiny, faces, **OPTIONS, table=table)
    saved = table.read_bytes()
    assert len(pd.read_csv(table)) == 8
    table.write_bytes(saved[:-9])  # the last row was cut off
    pd.testing.assert_frame_equal(mask_experiment(tiny, faces, **OPTIONS, table=table), whole, rtol=1e-4)
    assert [len(call[4]) for call in calls] == [8, 8, 1, 8, 8]  # of the first face the lost row alone
    again = mask_experiment(tiny, faces, **OPTIONS, table=table)
    pd.testing.assert_frame_equal(
        again, mask_experiment(tiny, faces, **OPTIONS, table=table), check_exact=True
    )
    assert len(calls) == 5
    some = mask_experiment(tiny, {"bob/1": faces["bob/1"]}, sizes=(60,), seeds=(3,), table=table)
    assert (some["image"] == "bob/1").all()
    assert len(some) == 1
    assert len(calls) == 6  # black was not measured yet


def test_rows_of_another_setup_do_not_count(faces, tmp_path):
    table, model = tmp_path / "rows.csv", tiny_model()
    first = mask_experiment(model, faces, table=table)
    model.scaling = dataclasses.replace(model.scaling, alpha=40.0)
    second = mask_experiment(model, faces, table=table)
    assert (first["delta_q"] != second["delta_q"]).all()
    third = mask_experiment(model, faces, passes=10, table=table)
    assert (third["quality"] != second["quality"]).all()
    assert len(pd.read_csv(table)) == 3 * 15


def test_rows_of_another_image_colour_or_network_do_not_count(tiny, faces, tmp_path):
    """Under the same names: nothing stale comes back."""
    table = tmp_path / "rows.csv"
    first = mask_experiment(tiny, faces, sizes=[40], colours={"mine": (255, 0, 0)}, table=table)
    others = dict(zip(faces, random_images(3, seed=5), strict=True))
    for changed in (
        mask_experiment(tiny, faces, sizes=[40], colours={"mine": (1, 2, 3)}, table=table),
        mask_experiment(tiny, others, sizes=[40], colours={"mine": (255, 0, 0)}, table=table),
        mask_experiment(tiny_model(seed=3), faces, sizes=[40], colours={"mine": (255, 0, 0)}, table=table),
    ):
        assert (changed["delta_p"] != first["delta_p"]).all()
    again = mask_experiment(tiny, faces, sizes=[40], colours={"mine": (255, 0, 0)}, table=table)
    pd.testing.assert_frame_equal(again, first, check_exact=True)
    assert len(pd.read_csv(table)) == 4 * 3


def test_what_is_asked_for_twice_is_measured_once(tiny, faces, tmp_path):
    rows = mask_experiment(tiny, faces, sizes=[30, 30], seeds=[0, 0, 1], table=tmp_path / "rows.csv")
    assert len(rows) == 3 * 2
    text = (tmp_path / "rows.csv").read_text()
    (tmp_path / "rows.csv").write_text(text + text.partition("\n")[2])  # as of two runs at once
    again = mask_experiment(tiny, faces, sizes=[30, 30], seeds=[0, 0, 1], table=tmp_path / "rows.csv")
    pd.testing.assert_frame_equal(again, rows)


def test_many_masks_are_saved_sixteen_at_a_time(tiny, faces, tmp_path, monkeypatch):
    calls, original = [], masks.explain

    def interrupted(model, images, passes):
        calls.append(len(images))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return original(model, images, passes)

    monkeypatch.setattr(masks, "explain", interrupted)
    with pytest.raises(KeyboardInterrupt):
        mask_experiment(tiny, faces, sizes=[30], seeds=range(40), table=tmp_path / "rows.csv")
    assert calls == [1, 16, 16, 8]
    assert len(pd.read_csv(tmp_path / "rows.csv")) == 32


@pytest.mark.parametrize("nothing", [{"sizes": []}, {"colours": {}}, {"seeds": []}])
def test_nothing_to_measure_is_an_error(tiny, faces, nothing):
    with pytest.raises(ValueError, match="Nothing to measure"):
        mask_experiment(tiny, faces, **nothing)


def test_no_faces_is_an_error(tiny):
    with pytest.raises(ValueError, match="Nothing to measure"):
        mask_experiment(tiny, {})


def test_a_mask_of_the_images_size_is_an_error(tiny, faces):
    with pytest.raises(ValueError, match="does not fit"):
        mask_experiment(tiny, faces, sizes=[112])


@pytest.mark.slow
def test_files_of_crops_may_be_given(prepared, tmp_path, model):
    """The whole chain: photos, crops, table."""
    crops = aligned_faces(prepared, model)
    photos = plqlite.sample_faces()
    images = {f"{name}/{name}_0001.png": plqlite.load_face(photo, model)[0] for name, photo in photos.items()}
    from_files = mask_experiment(model, crops, sizes=(50,), table=tmp_path / "rows.csv")
    from_tensors = mask_experiment(model, images, sizes=(50,))
    both = (rows.sort_values("image", ignore_index=True) for rows in (from_files, from_tensors))
    pd.testing.assert_frame_equal(*both, rtol=1e-3, atol=1e-5)
    share = share_positive(from_files["delta_p"], from_files["identity"])
    assert share.mean >= 8 / 9
    assert share.count == 9
