import numpy as np
import pytest
from PIL import Image

import plqlite
from plqlite import faces
from plqlite.faces import CANONICAL_LANDMARKS, Face, align_arcface, crop_box, find_faces, read_image

ASTRONAUT = plqlite.sample_faces()["astronaut"]


@pytest.fixture
def photo(tmp_path):
    """Write the astronaut in a given mode and format."""

    def write(name, mode="RGB", image=None, **options):
        astronaut = Image.fromarray(ASTRONAUT)
        image = image or (astronaut.quantize() if mode == "P" else astronaut.convert(mode))
        image.save(tmp_path / name, **options)
        return tmp_path / name

    return write


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("a.png", "RGB"),
        ("a.png", "P"),
        ("a.png", "RGBA"),
        ("a.jpg", "CMYK"),
        ("a.bmp", "RGB"),
        ("a.webp", "RGB"),
    ],
)
def test_every_mode_becomes_rgb(photo, name, mode):
    image = read_image(photo(name, mode))
    assert image.dtype == np.uint8
    assert image.shape == ASTRONAUT.shape
    assert np.abs(image.astype(int) - ASTRONAUT).mean() < 12  # JPEG and palettes lose a little


def test_grey_and_16_bit(photo):
    grey = np.array(Image.fromarray(ASTRONAUT).convert("L"))
    wide = Image.fromarray(grey.astype(np.uint16) * 257)
    for path in (photo("l.png", "L"), photo("i.png", image=wide), photo("i.tiff", image=wide)):
        np.testing.assert_array_equal(read_image(path), np.repeat(grey[..., None], 3, axis=2))
    np.testing.assert_array_equal(read_image(grey.astype(np.uint16) * 257)[..., 0], grey)


def test_32_bit_grey(photo):
    grey = np.array(Image.fromarray(ASTRONAUT).convert("L"))
    for mode, dtype in (("I", np.int32), ("F", np.float32)):
        image = Image.fromarray(grey.astype(dtype))
        assert image.mode == mode
        np.testing.assert_array_equal(read_image(photo("w.tiff", image=image))[..., 0], grey)
        with pytest.raises(ValueError, match=r"0\.\.255"):
            read_image(Image.fromarray(grey.astype(dtype) - 1))


def test_transparent_becomes_white(photo):
    image = Image.new("RGBA", (30, 30), (200, 0, 0, 0))
    assert (read_image(photo("t.png", image=image)) == 255).all()


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_exif_rotation_is_honoured(photo, orientation):
    turned = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(ASTRONAUT).transpose(turned[orientation])
    path = photo("turned.png", image=stored, exif=exif)
    np.testing.assert_array_equal(read_image(path), ASTRONAUT)


def test_path_bytes_pil_and_array_are_the_same(photo):
    path = photo("a.png")
    for source in (str(path), path.read_bytes(), Image.open(path), ASTRONAUT, ASTRONAUT.astype(float)):
        np.testing.assert_array_equal(read_image(source), ASTRONAUT)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_truncated_file(photo, share):
    for name in ("a.jpg", "a.png"):
        path = photo(name)
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
        with pytest.raises(faces.UnreadableImage, match="cannot be read as an image"):
            read_image(path)


def test_not_an_image(tmp_path):
    (tmp_path / "a.jpg").write_text("I am a letter")
    with pytest.raises(faces.UnreadableImage, match=r"a\.jpg cannot be read as an image"):
        read_image(tmp_path / "a.jpg")
    with pytest.raises(faces.UnreadableImage, match="uploaded file"):
        read_image(b"")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        read_image(tmp_path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_image(tmp_path / "b.jpg")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 4, 2)), "found \\(4, 4, 2\\)"),
        (np.zeros(4), "must be"),
        (np.zeros((0, 4, 3)), "must be"),
        (ASTRONAUT / 255, r"lie in 0..1 .* multiply by 255"),
        (ASTRONAUT * np.nan, "NaN"),
        (ASTRONAUT + 1.0, "outside 0..255"),
        (ASTRONAUT.astype(int) - 1, "outside 0..255"),
        (ASTRONAUT.astype(np.uint16), "16-bit image holds 0..255"),
    ],
)
def test_bad_arrays(array, message):
    with pytest.raises(ValueError, match=message):
        read_image(array)


@pytest.mark.parametrize("scale", [0.7, 1.5, 12.0])
def test_landmarks_fall_on_the_canonical_ones(scale):
    """Bright dots where the landmarks are, on a face that is turned, scaled and shifted."""
    angle = 0.3
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    landmarks = CANONICAL_LANDMARKS @ turn.T + 60 * scale
    rows, columns = np.mgrid[: int(200 * scale), : int(200 * scale)]
    distance = np.min([np.hypot(columns - x, rows - y) for x, y in landmarks], axis=0)
    photo = np.repeat((255 * np.exp(-((distance / (3 * scale)) ** 2)))[..., None], 3, axis=2).astype(np.uint8)
    crop = align_arcface(photo, Face(np.zeros(4), landmarks))
    for x, y in CANONICAL_LANDMARKS:
        patch = crop[round(y) - 6 : round(y) + 7, round(x) - 6 : round(x) + 7, 0].astype(float)
        centre = [(patch * axis).sum() / patch.sum() - 6 for axis in np.mgrid[:13, :13]]
        assert np.hypot(centre[0] + round(y) - y, centre[1] + round(x) - x) < 0.6


def test_alignment_is_the_least_squares_similarity():
    """As insightface does it, for landmarks that fit no face exactly."""
    from insightface.utils.face_align import norm_crop

    face = find_faces(ASTRONAUT)[0]
    ours, theirs = align_arcface(ASTRONAUT, face).astype(int), norm_crop(ASTRONAUT, face.landmarks)
    assert np.abs(ours - theirs).mean() < 1


def test_facenet_s_crop_is_the_box_with_a_margin():
    """A photo whose colours tell where a pixel comes from: the margin is a fifth of the crop."""
    columns, rows = np.meshgrid(np.arange(250), np.arange(250))
    photo = np.stack([columns, rows, 0 * rows], axis=2).astype(np.uint8)
    box = np.array([80.0, 60.0, 144.0, 156.0])  # 64 wide, 96 high: margins of 8 and 12 on each side
    crop = crop_box(photo, Face(box, np.zeros((5, 2)))).astype(float)
    assert crop[80, [0, -1], 0] == pytest.approx([72, 151], abs=1)
    assert crop[[0, -1], 80, 1] == pytest.approx([48, 167], abs=1)


def test_a_face_that_is_cut_off_does_not_count_as_large():
    cut = np.asarray(Image.fromarray(ASTRONAUT).resize((820, 820)))[
        :, 365:
    ]  # a larger head, but only half of it
    scene = np.zeros((820, cut.shape[1] + 512, 3), np.uint8)
    scene[:, : cut.shape[1]], scene[:512, cut.shape[1] :] = cut, ASTRONAUT
    found = find_faces(scene)
    assert found[0].box[0] > cut.shape[1]


@pytest.mark.parametrize("mode", ["La", "RGBa", "I;16B", "1", "P", "PA", "LAB", "YCbCr", "CMYK", "F"])
def test_every_mode_of_pillow_is_read(mode):
    assert read_image(Image.new(mode, (20, 30))).shape == (30, 20, 3)


def test_16_bits_in_either_order_of_bytes():
    values = np.arange(400).reshape(20, 20) * 160
    for mode, kind in (("I;16", "<u2"), ("I;16B", ">u2")):
        image = Image.frombytes(mode, (20, 20), values.astype(kind).tobytes())
        np.testing.assert_allclose(read_image(image)[..., 0], values / 257, atol=0.51)


def test_a_photo_of_too_many_pixels_is_not_decoded(photo):
    """177 million, of one bit: 22 kB on the disk, 1.8 GB in memory."""
    path = photo("large.png", image=Image.new("1", (13300, 13300)))
    assert path.stat().st_size < 1e5
    with pytest.raises(faces.UnreadableImage, match="13300×13300 pixels, more than 100 million"):
        read_image(path)


def test_a_large_photo_is_averaged_and_not_sampled():
    """A chessboard of single pixels, 12 times as large as the crop: grey."""
    rows, columns = np.mgrid[:2400, :2400]
    photo = np.repeat((255 * ((rows + columns) % 2))[..., None], 3, axis=2).astype(np.uint8)
    crop = align_arcface(photo, Face(np.zeros(4), CANONICAL_LANDMARKS * 12.3 + 300))
    assert crop[5:-5, 5:-5].std() < 3
    assert crop[5:-5, 5:-5].mean() == pytest.approx(127.5, abs=2)
