"""Photos: read them, find and align faces; the sample portraits. Knows pixels, and no recognition network."""

import functools
import io
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
from PIL import Image, ImageOps

from plqlite.files import require_file

if TYPE_CHECKING:
    from facenet_pytorch import MTCNN

LARGEST = 10**8  # pixels of a photo: it is held as RGB, four times at most
# Modes that Pillow converts into no other one.
OTHER_MODES = {"La": "LA", "RGBa": "RGBA", "I;16B": "I", "I;16L": "I", "I;16N": "I"}
HEIF = (".heic", ".heif")
PHOTO_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm")

Photo = str | Path | bytes | np.ndarray | Image.Image  # what `read_image` takes
Box = tuple[float, float, float, float]  # left, top, right, bottom

# Canonical landmarks: where ArcFace-like networks expect left eye, right eye, nose tip and mouth corners in
# 112×112 pixels.
CANONICAL_LANDMARKS = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)

# Parts of a face aligned to these landmarks, in 112×112 pixels. Left is left in the picture.
REGIONS: dict[str, Box] = {
    "forehead": (28, 8, 84, 36),
    "left eye": (20, 36, 52, 60),
    "right eye": (60, 36, 92, 60),
    "nose": (40, 56, 72, 80),
    "left cheek": (12, 60, 40, 96),
    "right cheek": (72, 60, 100, 96),
    "mouth": (36, 80, 76, 100),
    "chin": (28, 100, 84, 120),
}

# The numbers of a `Face` as columns of a table; left as the viewer sees it.
BOX = ("left", "top", "right", "bottom")
LANDMARKS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
FACE_COLUMNS = (*BOX, *(f"{point}_{axis}" for point in LANDMARKS for axis in "xy"))

BOTH_EYES = "both eyes"  # the mean of the two: glasses cover both, and a shadow or hair mostly one

# The same in a crop of the detector's box, where landmarks have no fixed places: scaled and shifted to where
# the parts are on average in 100 LFW photos, which is right within 5 to 10 % of the width.
REGIONS_IN_BOX: dict[str, Box] = {
    name: (1.147 * left - 7.5, 0.803 * top + 5.5, 1.147 * right - 7.5, 0.803 * bottom + 5.5)
    for name, (left, top, right, bottom) in REGIONS.items()
}


class NoFaceFound(ValueError):
    """The detector found no face."""


class UnreadableImage(ValueError):
    """A file is not an image, or a broken one."""


class Face(NamedTuple):
    """A detected face, in pixels of the photo."""

    box: np.ndarray  # (4,): left, top, right, bottom
    landmarks: np.ndarray  # (5, 2): eyes, nose tip, mouth corners, as (x, y)
    score: float = float("nan")  # how sure the detector is, 0..1


class Alignment:
    """How a network was trained to see faces: a crop, and where the parts of a face are in it.

    Called like the function that it wraps.

    Parameters
    ----------
    crop : (photo, face, size) -> (size, size, 3) uint8
    regions : part of the face -> left, top, right, bottom in a crop of 112×112 pixels

    Examples
    --------
    >>> middle = Alignment(lambda photo, face, size: photo[:size, :size])
    >>> middle(np.zeros((300, 300, 3), np.uint8), None, 112).shape
    (112, 112, 3)
    """

    def __init__(
        self, crop: Callable[[np.ndarray, Face, int], np.ndarray], regions: Mapping[str, Box] = REGIONS
    ) -> None:
        self.crop, self.regions = crop, regions
        functools.update_wrapper(self, crop)  # takes over name and docstring

    def __reduce__(self) -> str:
        """Let worker processes find it by its name: pickle would take the function that it wraps for it."""
        if self.name is None:
            raise TypeError("An alignment without a name cannot go to other processes: take workers=0.")
        return self.name

    def __call__(self, photo: np.ndarray, face: Face, *size: int) -> np.ndarray:
        """Return the crop of a face in a photo; without a size, the function's own default."""
        return self.crop(photo, face, *size)

    @property
    def name(self) -> str | None:
        """Name of the function; None if it has none, and so cannot be told from another."""
        name = getattr(self, "__name__", "<lambda>")
        return None if name == "<lambda>" else name


def read_image(source: Photo) -> np.ndarray:
    """Read a photo as upright RGB.

    Rotated as its EXIF data says; grey, palette, CMYK and 16-bit pixels become 8-bit RGB, and
    transparent parts become white.

    Parameters
    ----------
    source : path, bytes of a file, PIL image, or array (H, W), (H, W, 3) or (H, W, 4) in 0..255
        (uint8 or float) or 0..65535 (uint16)

    Returns
    -------
    (H, W, 3) uint8.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, OSError
        There is nothing at the path, a folder, or a pipe or device.
    UnreadableImage
        The file is not an image, is cut off, or has more than 100 million pixels.
    ValueError
        An array of another shape, or with pixels outside 0..255 (or all within 0..1).

    Examples
    --------
    >>> read_image(np.zeros((600, 512))).shape
    (600, 512, 3)
    """
    if isinstance(source, np.ndarray):
        return _array_to_rgb(source)
    if isinstance(source, Image.Image):
        return _pil_to_rgb(source)
    if not isinstance(source, bytes):
        require_file(Path(source))
        _learn_heif(Path(source).suffix.lower())
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            if image.width * image.height > LARGEST:  # known before any pixel is decoded
                raise ValueError(f"{image.width}×{image.height} pixels, more than 100 million")
            return _pil_to_rgb(image)
    # What Pillow raises for broken files differs from format to format.
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        NotImplementedError,
        Image.DecompressionBombError,
    ) as error:
        name = "The uploaded file" if isinstance(source, bytes) else source
        heif = not isinstance(source, bytes) and Path(source).suffix.lower() in HEIF
        what = "run  pip install pillow-heif  or save it" if heif else "save it again"
        message = f"{name} cannot be read as an image ({error}): {what} as PNG or JPEG."
        raise UnreadableImage(message) from error


def _learn_heif(suffix: str) -> None:
    """Have Pillow read what iPhones write, if its plugin for that is installed."""
    if suffix in HEIF and find_spec("pillow_heif"):
        import pillow_heif  # not among our dependencies

        pillow_heif.register_heif_opener()


def _pil_to_rgb(image: Image.Image) -> np.ndarray:
    """Rotate, flatten and reduce a PIL image to (H, W, 3) uint8."""
    image = ImageOps.exif_transpose(image)
    if image.mode in OTHER_MODES:
        image = image.convert(OTHER_MODES[image.mode])
    if image.mode[0] in "IF":  # 16-bit or 32-bit grey, which convert("RGB") would cut off at 255
        low, high = cast(tuple[float, float], image.getextrema())  # one band
        return _array_to_rgb(np.asarray(image, dtype=np.uint16 if 0 <= low and 255 < high < 65536 else float))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))


def _array_to_rgb(array: np.ndarray) -> np.ndarray:
    """Check an array of pixels and convert it to (H, W, 3) uint8."""
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)) or not array.size:
        raise ValueError(f"An image array must be (H, W), (H, W, 3) or (H, W, 4), found {array.shape}.")
    if array.dtype == np.uint16:
        if array.max() <= 255:
            raise ValueError(
                "A 16-bit image holds 0..255 only, nearly black on a scale of 0..65535: convert it to uint8."
            )
        array = array / 257  # 65535 -> 255
    elif array.dtype != np.uint8:
        array = array.astype(float)
        if not np.isfinite(array).all() or array.min() < 0 or array.max() > 255:
            raise ValueError("An image array holds NaN or pixels outside 0..255: the range is 0..255, RGB.")
        if 0 < array.max() <= 1:
            raise ValueError(
                f"Pixels lie in 0..1 (largest {array.max():.2f}): the range is 0..255, multiply by 255."
            )
    return _pil_to_rgb(Image.fromarray(np.uint8(np.round(array))))


def mask_to_rgb(mask: np.ndarray) -> np.ndarray:
    """Turn a mask (H, W) of bool into a picture (H, W, 3) of uint8: white where it is set, else black.

    Examples
    --------
    >>> mask_to_rgb(np.array([[True, False]])).tolist()
    [[[255, 255, 255], [0, 0, 0]]]
    """
    return np.repeat(mask.astype(np.uint8)[..., None] * 255, 3, axis=2)


@functools.cache
def _detector() -> "MTCNN":
    """MTCNN with the weights in facenet-pytorch's wheel; on the CPU, so that every device crops alike."""
    import torch  # both are slow to import
    from facenet_pytorch import MTCNN

    detector = MTCNN(keep_all=True, thresholds=[0.6, 0.7, 0.9], device="cpu").eval()
    return detector.to(memory_format=torch.channels_last)  # a third faster


def find_faces(photo: np.ndarray) -> list[Face]:
    """Detect faces with MTCNN, the largest first.

    Photos with a side above 1024 pixels are searched at that size, which limits memory: a face
    narrower than a fiftieth of such a photo is not found.

    Parameters
    ----------
    photo : (H, W, 3) uint8

    Returns
    -------
    Faces in pixels of the photo; an empty list if there are none.

    Examples
    --------
    >>> find_faces(sample_faces()["astronaut"])[0].box.round()
    array([181.,  62., 268., 172.])
    """
    image = Image.fromarray(photo)
    image.thumbnail((1024, 1024))
    if min(image.size) < 20:  # MTCNN's smallest face
        return []
    scale = photo.shape[1] / image.width
    boxes, scores, landmarks = _detector().detect(image, landmarks=True)
    if boxes is None:
        return []
    boxes, landmarks = boxes.astype(float), landmarks.astype(float)  # MTCNN gives arrays of objects
    found = zip(boxes, landmarks, scores, strict=True)
    faces = [Face(box * scale, points * scale, float(score)) for box, points, score in found]
    return sorted(faces, key=lambda face: -_visible_area(face.box, photo))


def require_faces(photo: np.ndarray) -> list[Face]:
    """Detect faces, the largest first, as `find_faces` does, and refuse a photo without any.

    Raises
    ------
    NoFaceFound
        The detector finds none.

    Examples
    --------
    >>> len(require_faces(sample_faces()["astronaut"]))
    1
    """
    faces = find_faces(photo)
    if not faces:
        raise NoFaceFound(
            f"No face found in an image of {photo.shape[1]}×{photo.shape[0]} pixels: use a photo with "
            "a visible face, or aligned=True for a crop that is aligned already."
        )
    return faces


def largest_face(photo: np.ndarray) -> Face:
    """Return the largest face in a photo, (H, W, 3) uint8.

    Raises
    ------
    NoFaceFound
        The detector finds none.

    Examples
    --------
    >>> largest_face(sample_faces()["astronaut"]).landmarks.shape
    (5, 2)
    """
    return require_faces(photo)[0]


def _visible_area(box: np.ndarray, photo: np.ndarray) -> float:
    """Area of a box inside the photo: a face cut off at the border does not count as large."""
    height, width = photo.shape[:2]
    left, top, right, bottom = box.clip(0, (width, height, width, height))
    return (right - left) * (bottom - top)


@Alignment
def align_arcface(photo: np.ndarray, face: Face, size: int = 112) -> np.ndarray:
    """Rotate, scale and shift a photo so that its landmarks meet the canonical ones of ArcFace.

    Parameters
    ----------
    photo : (H, W, 3) uint8
    face : from `find_faces`
    size : height and width of the crop

    Returns
    -------
    (size, size, 3) uint8; black where the photo ends.

    Examples
    --------
    >>> photo = sample_faces()["astronaut"]
    >>> align_arcface(photo, largest_face(photo)).shape
    (112, 112, 3)
    """
    # Pillow measures from the corner of a pixel, the detector and the canonical landmarks from its middle.
    landmarks = face.landmarks + 0.5
    canonical = CANONICAL_LANDMARKS * size / 112 + 0.5
    image = Image.fromarray(photo)
    shrink = int(np.ptp(landmarks, axis=0).max() / np.ptp(canonical, axis=0).max())
    if shrink > 1:  # a bilinear warp would skip pixels of a large photo
        image, landmarks = image.reduce(shrink), landmarks / shrink
    # A similarity is z ↦ p z + q of complex numbers: p rotates and scales, q shifts; fitted by least squares.
    source, target = landmarks @ [1, 1j], canonical @ [1, 1j]  # (5,) each
    (p, q), *_ = np.linalg.lstsq(np.stack([source, np.ones(5)], axis=1), target, rcond=None)
    turn, shift = 1 / p, -q / p  # and back: Pillow asks where in the photo each pixel of the crop comes from
    to_photo = (turn.real, -turn.imag, shift.real, turn.imag, turn.real, shift.imag)
    return np.array(
        image.transform((size, size), Image.Transform.AFFINE, to_photo, Image.Resampling.BILINEAR)
    )


@functools.partial(Alignment, regions=REGIONS_IN_BOX)
def crop_box(photo: np.ndarray, face: Face, size: int = 160) -> np.ndarray:
    """Cut out the detector's box with a margin, without rotation: how FaceNet was trained to see faces.

    Parameters
    ----------
    photo : (H, W, 3) uint8
    face : from `find_faces`
    size : height and width of the crop; a fifth of it is margin

    Returns
    -------
    (size, size, 3) uint8.

    Examples
    --------
    >>> photo = sample_faces()["astronaut"]
    >>> crop_box(photo, largest_face(photo), 160).shape
    (160, 160, 3)
    """
    from facenet_pytorch.models.utils.detect_face import extract_face  # slow to import

    crop = extract_face(Image.fromarray(photo), face.box, image_size=size, margin=size // 5)
    return crop.byte().permute(1, 2, 0).numpy()


def sample_faces() -> dict[str, np.ndarray]:
    """Photos of nine people that come with the dependencies; nothing is downloaded.

    The astronaut (NASA) and Grace Hopper (US Navy) are in the public domain. The other seven come with
    insightface, and are left out if it is not installed: use them for numbers, and show only the first
    two in what you publish.

    Returns
    -------
    Name -> (H, W, 3) uint8, one face each.

    Examples
    --------
    >>> list(sample_faces())[:2]
    ['astronaut', 'grace_hopper']
    """
    import skimage.data  # slow to import, as is matplotlib
    from matplotlib.cbook import get_sample_data

    hopper = get_sample_data("grace_hopper.jpg", asfileobj=False)
    photos = {"astronaut": skimage.data.astronaut(), "grace_hopper": read_image(hopper)}
    insightface = find_spec("insightface")
    if insightface is None or insightface.origin is None:
        return photos
    images = Path(insightface.origin).parent / "data" / "images"
    photos["actor"] = read_image(images / "Tom_Hanks_54745.png")
    group = read_image(images / "t1.jpg")
    for number, left in enumerate((0, 215, 410, 680, 850, 1075), start=1):  # a strip for each of six people
        photos[f"group_{number}"] = group[:480, left : left + 205]
    return photos
