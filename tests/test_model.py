import copy
import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch
from networks import export, small
from PIL import Image
from torch.nn.functional import normalize

import plqlite
from conftest import random_images
from plqlite.faces import align_arcface, crop_box, find_faces, largest_face, mask_to_rgb

ASTRONAUT = plqlite.sample_faces()["astronaut"]


def test_public_face(model, faces):
    features = model.features(faces)
    embedding = model(faces)
    assert features.shape == (len(faces), model.head.in_features)
    torch.testing.assert_close(embedding, normalize(model.head(features), dim=-1))
    assert model.head(features[:, None]).shape == (len(faces), 1, embedding.shape[1])  # (..., D) -> (..., d)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not model.training
    assert set(model.card) == {"licence", "source", "sha256", "input", "split", "head"}
    assert "208 photos" in model.scaling.provenance


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda x: x[0], ValueError, r"shape \(B, 3, 16, 16\), found \(3, 16, 16\)"),
        (lambda x: x.permute(0, 2, 3, 1), ValueError, r"found \(3, 16, 16, 3\)"),
        (lambda x: x[:0], ValueError, r"found \(0, 3, 16, 16\)"),
        (lambda x: x[..., :-1], ValueError, r"found \(3, 3, 16, 15\)"),
        (lambda x: x.byte(), TypeError, "found torch.uint8: convert with"),
        (lambda x: x.double(), TypeError, "found torch.float64"),
        (lambda x: x.numpy(), TypeError, "found ndarray"),
        (lambda x: x / 255, ValueError, r"lie in 0..1 .* multiply by 255"),
        (lambda x: torch.cat([0 * x[:1], x[:1] / 255]), ValueError, r"lie in 0..1 \(largest 1\.00"),
        (lambda x: x / 127.5 - 1, ValueError, r"reach from -"),
        (lambda x: x - 127.5, ValueError, r"reach from -1.* the range is 0..255"),
        (lambda x: x + 100, ValueError, r"the range is 0..255"),
        (lambda x: x * float("nan"), ValueError, "NaN"),
        (lambda x: x.to("meta"), ValueError, "Images are on meta, tiny is on cpu"),
    ],
)
def test_bad_images_are_refused(tiny, images, change, error, message):
    for use in (tiny, lambda x: plqlite.explain(tiny, x), lambda x: plqlite.ser_fiq(tiny, x)):
        with pytest.raises(error, match=message):
            use(change(images))


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_one_pixel_that_is_no_number_is_refused(tiny, images, value):
    images[1, 2, 3, 4] = value
    with pytest.raises(ValueError, match="Images hold NaN or infinite pixels"):
        tiny(images)


def test_training_mode_is_refused(tiny, images):
    """BatchNorm would couple the images of a batch, and overwrite its statistics."""
    tiny.backbone = torch.nn.Sequential(tiny.backbone, torch.nn.BatchNorm2d(4)).eval()
    before = tiny(images)
    tiny.train()
    torch.testing.assert_close(tiny(images), before)
    assert not tiny.training


def test_half_precision_is_refused(tiny, images):
    with pytest.raises(TypeError, match="too coarse"):
        tiny.half()(images.half())


def test_double_precision_gets_double_faces(sface):
    model = copy.deepcopy(sface).double()
    images = plqlite.load_face(plqlite.sample_faces()["astronaut"], model)
    single = plqlite.load_face(plqlite.sample_faces()["astronaut"], sface)
    torch.testing.assert_close(model(images).float(), sface(single), atol=1e-5, rtol=0)


def test_what_interpolation_rounds_is_no_mistake_of_range(tiny, images):
    images[0, 0, 0, :2] = torch.tensor([255.00002, -0.0004])
    tiny(images)
    images[0, 0, 0, 0] = 255.002
    with pytest.raises(ValueError, match=r"to 255\.002: the range is 0\.\.255"):
        tiny(images)


def test_a_black_image_is_no_mistake_of_range(tiny):
    tiny(torch.zeros(1, 3, 16, 16))


@pytest.mark.parametrize(
    "facts", [{"mean": [1.0, 2.0]}, {"std": 0}, {"std": [1, -1, 1]}, {"mean": float("nan")}]
)
def test_bad_input_scaling_is_refused(facts):
    with pytest.raises(ValueError, match="give one number, or three"):
        plqlite.from_module(small(), "8", 16, **facts)


# --- how images enter ---


def test_an_input_says_what_it_does():
    assert str(plqlite.Input(112)) == "112×112 RGB in 0..255, then (x − 127.5)/127.5, align_arcface"
    assert str(plqlite.Input(160, 0, 1, "BGR", crop_box)) == "160×160 BGR in 0..255, crop_box"
    assert plqlite.Input(112) == plqlite.Input(112, 127.5, 127.5, "RGB", align_arcface)
    with pytest.raises(dataclasses.FrozenInstanceError):
        plqlite.Input(112).size = 160
    with pytest.raises(ValueError, match="channels='rgb': choose RGB or BGR"):
        plqlite.Input(112, channels="rgb")


def test_an_input_normalises():
    images = random_images(2)
    bgr = plqlite.Input(16, [100.0, 110.0, 120.0], [50.0, 60.0, 70.0], "BGR").normalise(images)
    mean, std = (torch.tensor(each)[:, None, None] for each in ([100.0, 110.0, 120.0], [50.0, 60.0, 70.0]))
    torch.testing.assert_close(bgr, (images.flip(1) - mean) / std)


def test_a_plain_function_may_align():
    """It is wrapped, and its crops have the regions of ArcFace's."""

    def corner(photo, face, size):
        return photo[:size, :size]

    model = plqlite.from_module(small(), "8", 16, align=corner, device="cpu")
    assert model.align.__name__ == "corner"
    assert model.align.regions == align_arcface.regions != crop_box.regions
    photo = plqlite.sample_faces()["astronaut"]
    np.testing.assert_array_equal(model.align(photo, None, 16), photo[:16, :16])


# --- photos ---


def test_a_crop_is_what_load_face_returns(model):
    photo = plqlite.sample_faces()["grace_hopper"]
    crop = model.crop(photo, largest_face(photo))
    assert crop.dtype == torch.float32
    assert torch.equal(crop[None], plqlite.load_face(photo, model))


def test_a_mask_is_aligned_as_its_photo(model):
    """White where the mask is, aligned as a photo, and cut at the middle."""
    photo = plqlite.sample_faces()["astronaut"]
    face, mask = largest_face(photo), np.zeros(photo.shape[:2], bool)
    mask[80:130, 180:240] = True
    white = model.align(mask_to_rgb(mask), face, model.size)[..., 0]
    found = model.crop_mask(mask, face)
    assert found.dtype == torch.bool
    assert found.shape == (model.size, model.size)
    np.testing.assert_array_equal(found, white > 127)
    assert 0 < found.float().mean() < 1


def test_two_files_of_one_name_have_two_labels(tmp_path, sface):
    assert sface.label == "sface"
    labels, identities = set(), []
    for seed in (0, 1):
        model = plqlite.from_onnx(export(small(seed=seed), tmp_path / str(seed) / "net.onnx"), device="cpu")
        assert model.label == f"net {model.card['sha256'][:8]}"
        labels.add(model.label)
        identities.append(model.identity)
    assert len(labels) == 2
    assert identities[0] != identities[1]


def test_size_of_the_photo_hardly_matters(model):
    """A large photo is shrunk before the warp, so that no pixel is skipped."""
    small = plqlite.load_face(ASTRONAUT, model)
    large = plqlite.load_face(
        np.asarray(Image.fromarray(ASTRONAUT).resize((3072, 3072), Image.BICUBIC)), model
    )
    assert (model(small) * model(large)).sum() > 0.95


def test_sample_faces_hold_one_face_each(model, recwarn):
    for photo in plqlite.sample_faces().values():
        images = plqlite.load_face(photo, model)
        assert images.shape == (1, 3, model.size, model.size)
        assert 100 < images.max() <= 255
    assert not recwarn.list


def test_largest_of_several_faces(sface):
    model = sface
    group = np.concatenate([plqlite.sample_faces()[f"group_{n}"] for n in (1, 3)], axis=1)
    with pytest.warns(UserWarning, match="Found 2 faces, using the largest"):
        chosen = model(plqlite.load_face(group, model))
    expected = model(plqlite.load_face(plqlite.sample_faces()["group_3"], model))
    areas = [np.prod(face.box[2:] - face.box[:2]) for face in find_faces(group)]
    assert areas == sorted(areas, reverse=True)
    assert (chosen * expected).sum() > 0.9


def test_no_face(model):
    for size in ((1, 1), (19, 300), (30, 20000), (200, 200)):
        with pytest.raises(plqlite.NoFaceFound, match=f"{size[1]}×{size[0]} pixels"):
            plqlite.load_face(np.full((*size, 3), 127, np.uint8), model)


def test_aligned_skips_detection(model):
    crop = np.random.default_rng(0).integers(0, 256, (model.size, model.size, 3), np.uint8)
    images = plqlite.load_face(crop, model, aligned=True)
    np.testing.assert_array_equal(images[0].permute(1, 2, 0).numpy(), crop)
    with pytest.raises(ValueError, match=f"has {model.size}×{model.size} pixels, found 512×512"):
        plqlite.load_face(ASTRONAUT, model, aligned=True)


MEMORY = """
import resource, sys, plqlite, torch

model = plqlite.sface(device="cpu")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(*({}).shape, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20)
"""


def gigabytes(work, *arguments):
    """Do some work in another process; return the shape of its result, and the memory that it took."""
    run = subprocess.run(
        [sys.executable, "-c", MEMORY.format(work), *arguments], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    *shape, taken = run.stdout.split()
    return [int(side) for side in shape], float(taken)


@pytest.mark.slow
def test_60_megapixels_in_bounded_memory(tmp_path):
    Image.fromarray(ASTRONAUT).resize((7746, 7746)).save(tmp_path / "large.jpg")
    shape, taken = gigabytes("plqlite.load_face(sys.argv[1], model)", tmp_path / "large.jpg")
    assert shape == [1, 3, 112, 112]
    assert taken < 1.5  # the decoded photo alone is 0.18


@pytest.mark.slow
def test_many_images_in_bounded_memory():
    """26 MB an image would be 5 GB."""
    shape, taken = gigabytes("plqlite.explain(model, 254 * torch.rand(200, 3, 112, 112) + 1).plq")
    assert shape == [200, 112, 112]
    assert taken < 2.5


@pytest.mark.parametrize("part", ["backbone", "backbone.1"])
def test_a_part_in_training_mode_does_not_reach_the_numbers(tiny, images, part):
    """`train()` of a part does not pass through that of the model."""
    tiny.backbone = torch.nn.Sequential(tiny.backbone, torch.nn.BatchNorm2d(4)).eval()
    before, state = plqlite.explain(tiny, images), copy.deepcopy(tiny.state_dict())
    for use in (plqlite.explain, plqlite.ser_fiq, lambda model, images: model(images)):
        tiny.get_submodule(part).train()
        use(tiny, images)
    assert all(value.equal(state[name]) for name, value in tiny.state_dict().items())
    tiny.get_submodule(part).train()
    after = plqlite.explain(tiny, images)
    assert after.plq.equal(before.plq)
    assert after.quality.equal(before.quality)


def test_autocast_is_refused_as_half_precision_is(tiny, images):
    uses = (plqlite.explain, plqlite.ser_fiq, plqlite.ser_fiq_closed_form)
    for use in uses:
        with torch.autocast("cpu"), pytest.raises(TypeError, match=r"torch\.autocast is on, too coarse"):
            use(tiny, images)
        with torch.autocast("cpu", enabled=False):
            use(tiny, images)


def test_the_caller_s_mode_does_not_matter(tiny, images):
    before = plqlite.explain(tiny, images)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            made_inside = images.clone()
            assert plqlite.explain(tiny, made_inside).plq.equal(before.plq)
        assert plqlite.explain(tiny, made_inside).plq.equal(before.plq)


def test_sparse_images_are_refused(tiny, images):
    with pytest.raises(TypeError, match=r"sparse_coo, .* convert with \.to_dense"):
        plqlite.explain(tiny, images.to_sparse())


def test_the_input_is_scaled_and_its_channels_are_in_order():
    """By hand: red first, or blue first."""
    image = torch.tensor([10.0, 20.0, 30.0]).reshape(1, 3, 1, 1)
    rgb = plqlite.Input(1, mean=(1, 2, 3), std=(2, 4, 8)).normalise(image).flatten()
    bgr = plqlite.Input(1, mean=(1, 2, 3), std=(2, 4, 8), channels="BGR").normalise(image).flatten()
    assert rgb.tolist() == [4.5, 4.5, 3.375]
    assert bgr.tolist() == [14.5, 4.5, 0.875]
