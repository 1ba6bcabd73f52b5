"""Find, align and crop faces; the sample portraits."""

import io
import warnings
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import matplotlib.cbook
import numpy as np
import skimage.data
import torch
from facenet_pytorch import MTCNN
from facenet_pytorch.models.utils.detect_face import extract_face
from PIL import Image, ImageOps

if TYPE_CHECKING:
    from plqlite.models import FaceModel

# Where ArcFace-like networks expect left eye, right eye, nose tip and mouth corners in 112×112 pixels.
ARCFACE_TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)

# Parts of a face in that template: left, top, right, bottom. Left is left in the picture.
REGIONS = {
    "forehead": (28, 8, 84, 36),
    "left eye": (20, 36, 52, 60),
    "right eye": (60, 36, 92, 60),
    "nose": (40, 56, 72, 80),
    "left cheek": (12, 60, 40, 96),
    "right cheek": (72, 60, 100, 96),
    "mouth": (36, 80, 76, 100),
    "chin": (28, 100, 84, 120),
}


class NoFaceFound(ValueError):
    """The detector found no face."""


class UnreadableImage(ValueError):
    """A file is no image, or a broken one."""


class Face(NamedTuple):
    """A detected face, in pixels of the photo."""

    box: np.ndarray  # (4,): left, top, right, bottom
    landmarks: np.ndarray  # (5, 2): eyes, nose tip, mouth corners, as (x, y)


def read_image(source: "str | Path | bytes | np.ndarray | Image.Image") -> np.ndarray:
    """Read a photo as upright RGB.

    Turns it as its EXIF data asks; grey, palette, CMYK and 16-bit pixels become 8-bit RGB, and
    transparent parts white.

    Parameters
    ----------
    source : path, bytes of a file, PIL image, or array (H, W), (H, W, 3) or (H, W, 4) in 0..255
        (uint8 or float) or 0..65535 (uint16)

    Returns
    -------
    (H, W, 3) uint8.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        The path leads to nothing, or to a folder.
    UnreadableImage
        The file is no image, or is cut off.
    ValueError
        An array of another shape, or with pixels outside 0..255 (or all within 0..1).

    Examples
    --------
    >>> read_image("photo.jpg").shape
    (600, 512, 3)
    """
    if isinstance(source, np.ndarray):
        return _array_to_rgb(source)
    if isinstance(source, Image.Image):
        return _pil_to_rgb(source)
    if not isinstance(source, bytes):
        path = Path(source)
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a folder: give the path of one image.")
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist: check the path.")
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            return _pil_to_rgb(image)
    # What Pillow raises for broken files differs from format to format.
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        name = "The uploaded file" if isinstance(source, bytes) else source
        raise UnreadableImage(
            f"{name} cannot be read as an image ({error}): save it anew as PNG or JPEG."
        ) from error


def _pil_to_rgb(image: Image.Image) -> np.ndarray:
    """Turn, flatten and reduce a PIL image to (H, W, 3) uint8."""
    image = ImageOps.exif_transpose(image)
    if image.mode[0] in "IF":  # 16-bit or 32-bit grey, which convert("RGB") would cut off at 255
        low, high = image.getextrema()
        return _array_to_rgb(np.asarray(image, dtype=np.uint16 if 0 <= low and 255 < high < 65536 else float))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))


def _array_to_rgb(array: np.ndarray) -> np.ndarray:
    """Check an array of pixels and bring it to (H, W, 3) uint8."""
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)) or not array.size:
        raise ValueError(f"An image array must be (H, W), (H, W, 3) or (H, W, 4), found {array.shape}.")
    if array.dtype == np.uint16:
        if array.max() <= 255:
            raise ValueError(
                "A 16-bit image holds 0..255 alone, nearly black as 0..65535: convert it to uint8."
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


@lru_cache(maxsize=1)
def _detector() -> MTCNN:
    """MTCNN with the weights in facenet-pytorch's wheel; on the CPU, so that every device crops alike."""
    return MTCNN(keep_all=True, thresholds=[0.6, 0.7, 0.9], device="cpu").eval()


def find_faces(photo: np.ndarray) -> list[Face]:
    """Detect faces with MTCNN, the largest first.

    Photos with a side above 1024 pixels are searched at that size, which bounds memory: a face
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
    boxes, _, landmarks = _detector().detect(image, landmarks=True)
    if boxes is None:
        return []
    boxes, landmarks = boxes.astype(float), landmarks.astype(float)  # MTCNN gives arrays of objects
    faces = [Face(box * scale, points * scale) for box, points in zip(boxes, landmarks, strict=True)]
    return sorted(faces, key=lambda face: -_visible_area(face.box, photo))


def _visible_area(box: np.ndarray, photo: np.ndarray) -> float:
    """Area of a box inside the photo: a face cut off at the border does not count as large."""
    height, width = photo.shape[:2]
    left, top, right, bottom = box.clip(0, (width, height, width, height))
    return (right - left) * (bottom - top)


def align_arcface(photo: np.ndarray, face: Face, size: int = 112) -> np.ndarray:
    """Turn, scale and shift a photo so that the landmarks fall on ArcFace's template.

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
    >>> align_arcface(photo, find_faces(photo)[0]).shape
    (112, 112, 3)
    """
    # Pillow measures from the corner of a pixel, detector and template from its middle.
    landmarks = face.landmarks + 0.5
    template = ARCFACE_TEMPLATE * size / 112 + 0.5
    image = Image.fromarray(photo)
    shrink = int(np.ptp(landmarks, axis=0).max() / np.ptp(template, axis=0).max())
    if shrink > 1:  # a bilinear warp would skip pixels of a large photo
        image, landmarks = image.reduce(shrink), landmarks / shrink
    # A similarity is z ↦ p z + q of complex numbers: p turns and scales, q shifts; fitted by least squares.
    source, target = landmarks @ [1, 1j], template @ [1, 1j]  # (5,) each
    (p, q), *_ = np.linalg.lstsq(np.stack([source, np.ones(5)], axis=1), target, rcond=None)
    turn, shift = 1 / p, -q / p  # and back, since Pillow asks where in the photo each pixel of the crop lies
    to_photo = (turn.real, -turn.imag, shift.real, turn.imag, turn.real, shift.imag)
    return np.array(
        image.transform((size, size), Image.Transform.AFFINE, to_photo, Image.Resampling.BILINEAR)
    )


def crop_box(photo: np.ndarray, face: Face, size: int = 160) -> np.ndarray:
    """Cut out the detector's box with a margin, as FaceNet was trained on: no rotation.

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
    >>> crop_box(photo, find_faces(photo)[0]).shape
    (160, 160, 3)
    """
    crop = extract_face(Image.fromarray(photo), face.box, image_size=size, margin=size // 5)
    return crop.byte().permute(1, 2, 0).numpy()


def face_regions(model: "FaceModel") -> torch.Tensor:
    """Mark where forehead, eyes, nose, cheeks, mouth and chin lie in the aligned images of a model.

    In a crop of `crop_box` landmarks do not lie in fixed places: the regions lie where they are on the
    average of 100 LFW photos, within 5 to 10 % of the width. Any other alignment counts as ArcFace's.

    Parameters
    ----------
    model : its size and alignment count

    Returns
    -------
    (8, size, size) of bool, in the order of REGIONS.

    Examples
    --------
    >>> face_regions(plqlite.sface()).shape
    torch.Size([8, 112, 112])
    """
    boxes = np.array(list(REGIONS.values()), dtype=float)  # (8, 4)
    if model.align is crop_box:
        boxes = boxes * (1.147, 0.803, 1.147, 0.803) + (-7.5, 5.5, -7.5, 5.5)
    masks = torch.zeros(len(boxes), model.size, model.size, dtype=torch.bool)
    for mask, box in zip(masks, (boxes * model.size / 112).round().astype(int).clip(0), strict=True):
        left, top, right, bottom = box
        mask[top:bottom, left:right] = True
    return masks


def load_face(
    source: "str | Path | bytes | np.ndarray | Image.Image", model: "FaceModel", aligned: bool = False
) -> torch.Tensor:
    """Read a photo, find its largest face and align it for a model.

    Parameters
    ----------
    source : see `read_image`
    model : chooses size and alignment
    aligned : the image is a crop of the model's size already

    Returns
    -------
    (1, 3, size, size) float RGB 0..255 on the model's device.

    Raises
    ------
    NoFaceFound
        The detector finds no face.
    ValueError
        `aligned`, but of another size.
    FileNotFoundError, IsADirectoryError, UnreadableImage
        See `read_image`.

    Examples
    --------
    >>> images = load_face("photo.jpg", plqlite.sface())
    >>> images.shape
    torch.Size([1, 3, 112, 112])
    """
    photo = read_image(source)
    if aligned:
        crop = photo
        if crop.shape[:2] != (model.size, model.size):
            raise ValueError(
                f"An aligned image for {model.name} has {model.size}×{model.size} pixels, found "
                f"{crop.shape[1]}×{crop.shape[0]}: leave out aligned=True to detect and align."
            )
    else:
        found = find_faces(photo)
        if not found:
            raise NoFaceFound(
                f"No face found in an image of {photo.shape[1]}×{photo.shape[0]} pixels: use a photo with "
                "a visible face, or aligned=True for a crop that is aligned already."
            )
        if len(found) > 1:
            warnings.warn(
                f"Found {len(found)} faces, using the largest: crop the photo to choose another.",
                stacklevel=2,
            )
        crop = model.align(photo, found[0], model.size)
    return torch.from_numpy(crop).permute(2, 0, 1)[None].to(next(model.parameters()))


def sample_faces() -> dict[str, np.ndarray]:
    """Photos of nine people that come with the dependencies; nothing is downloaded.

    The astronaut (NASA) and Grace Hopper (US Navy) are in the public domain. The others ship with
    insightface: let them enter numbers, and show only the first two in what you publish.

    Returns
    -------
    Name -> (H, W, 3) uint8, one face each.

    Examples
    --------
    >>> list(sample_faces())[:2]
    ['astronaut', 'grace_hopper']
    """
    insightface = Path(find_spec("insightface").submodule_search_locations[0], "data", "images")
    hopper = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    photos = {"astronaut": skimage.data.astronaut(), "grace_hopper": read_image(hopper)}
    photos["actor"] = read_image(insightface / "Tom_Hanks_54745.png")
    group = read_image(insightface / "t1.jpg")
    for number, left in enumerate((0, 215, 410, 680, 850, 1075), start=1):  # a strip for each of six people
        photos[f"group_{number}"] = group[:480, left : left + 205]
    return photos
