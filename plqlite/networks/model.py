"""A face recognition network, split where dropout acts, and how images enter it."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import normalize

from plqlite.calibration import ReferenceStatistics, Scaling, load_calibration
from plqlite.faces import Alignment, Face, Photo, align_arcface, mask_to_rgb, read_image, require_faces
from plqlite.networks.precision import full_precision

ROUNDING = 1e-3  # grey levels by which interpolation may leave 0..255


class UnusableModel(ValueError):
    """Not a face recognition network, or one that cannot be split into features and head; with the reason."""


@dataclass(frozen=True)
class Input:
    """How images enter a network.

    Parameters
    ----------
    size : height and width of an aligned image in pixels
    mean, std : the network's input is (image − mean)/std, RGB 0..255; one number, or one for each channel
    channels : "RGB", or "BGR" for a network that takes blue first; images stay RGB for everybody else
    align : how the network was trained to see faces, an `Alignment` or a function (photo, face, size) -> crop

    Raises
    ------
    ValueError
        Other channels, or a mean or std that cannot be right.

    Examples
    --------
    >>> print(Input(112))
    112×112 RGB in 0..255, then (x − 127.5)/127.5, align_arcface
    """

    size: int
    mean: float | Sequence[float] = 127.5
    std: float | Sequence[float] = 127.5
    channels: str = "RGB"
    align: Alignment | Callable = align_arcface

    def __post_init__(self) -> None:
        if self.channels not in ("RGB", "BGR"):
            raise ValueError(f"channels={self.channels!r}: choose RGB or BGR.")
        for name in ("mean", "std"):
            object.__setattr__(self, name, _per_channel(name, getattr(self, name)))  # frozen from here on

    @property
    def alignment(self) -> Alignment:
        """The alignment; a plain function becomes one, with ArcFace's regions."""
        return self.align if isinstance(self.align, Alignment) else Alignment(self.align)

    @property
    def scales(self) -> bool:
        """Whether mean and std do anything."""
        return (self.mean, self.std) != (0, 1)

    def __str__(self) -> str:
        scaling = f", then (x − {self.mean})/{self.std}" if self.scales else ""
        crop = self.alignment.name or "an alignment without a name"
        return f"{self.size}×{self.size} {self.channels} in 0..255{scaling}, {crop}"

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """Bring images (B, 3, size, size), RGB 0..255, into the channel order and range of the network."""
        if self.channels == "BGR":
            images = images.flip(1)
        mean, std = (images.new_tensor(each).reshape(-1, 1, 1) for each in (self.mean, self.std))
        return (images - mean) / std

    def as_json(self) -> dict:
        """Return the fields as a JSON file can hold them: two inputs are equal if these are."""
        return {
            "size": self.size,
            "mean": np.asarray(self.mean).tolist(),
            "std": np.asarray(self.std).tolist(),
            "channels": self.channels,
            "align": self.alignment.name,
        }


def _per_channel(name: str, value: float | Sequence[float]) -> float | tuple[float, ...]:
    """Return one number, or three; refuse what could only be a mistake."""
    values = np.asarray(value, dtype=float)
    if (
        values.shape not in ((), (3,))
        or not np.isfinite(values).all()
        or (name == "std" and (values <= 0).any())
    ):
        raise ValueError(f"{name}={value!r}: give one number, or three, one for each channel (std above 0).")
    return float(values) if values.ndim == 0 else tuple(values.tolist())


class FaceModel(torch.nn.Module):
    """One network, one input, one calibration.

    The network is split where dropout acts: `features` is everything before, `head` everything
    after it up to the embedding. It stays in evaluation mode and its weights are constants.

    Parameters
    ----------
    name : short name, such as "sface"
    backbone : normalised images (B, 3, size, size) -> features, flattened to (B, D)
    head : features (..., D) -> embeddings (..., d), not normalised
    input : how images enter the network
    card : what a user should know: source, licence, hash, where the network is split
    scaling : fitted for this model and no other, see `plqlite.calibrate`; None if it has not been fitted
    file : of the weights; the calibration is saved beside it

    Attributes
    ----------
    reference_statistics : how clean faces look to the model; None if that is not known, see
        `plqlite.reference.fit_reference_statistics`

    Examples
    --------
    >>> import plqlite
    >>> model = plqlite.sface()
    >>> model(plqlite.load_face(plqlite.sample_faces()["astronaut"], model)).shape
    torch.Size([1, 128])
    """

    def __init__(
        self,
        name: str,
        backbone: torch.nn.Module,
        head: torch.nn.Module,
        input: Input,
        card: dict[str, str],
        scaling: Scaling | None = None,
        file: Path | None = None,
    ) -> None:
        super().__init__()
        self.name, self.input, self.file = name, input, file
        self.backbone, self.head = backbone, head
        self.scaling = scaling
        self.reference_statistics: ReferenceStatistics | None = None
        self.card = {"input": str(input)} | card
        self.eval().requires_grad_(False)
        for layer in self.modules():
            if isinstance(layer, torch.nn.Conv2d):
                layer.to(memory_format=torch.channels_last)  # as the pixels: the fastest on a CPU

    def train(self, mode: bool = True) -> "FaceModel":
        """Stay in evaluation mode: in training mode BatchNorm would couple images and overwrite itself."""
        return super().train(False)

    @property
    def size(self) -> int:
        """Height and width of an aligned image in pixels."""
        return self.input.size

    @property
    def align(self) -> Alignment:
        """How the network was trained to see faces: (photo, face, size) -> aligned crop."""
        return self.input.alignment

    @property
    def device(self) -> torch.device:
        """Where the weights are, and where images must be."""
        return next(self.parameters()).device

    @property
    def label(self) -> str:
        """Name in a table; two files of one name are two models."""
        return f"{self.name} {self.card['sha256'][:8]}" if self.file else self.name

    @property
    def identity(self) -> dict:
        """What a calibration depends on: weights, input and split."""
        weights, split = self.card.get("sha256", ""), self.card.get("split", "")
        return {"sha256": weights, "input": self.input.as_json(), "split": split}

    @property
    def calibration_file(self) -> Path | None:
        """Where the model's own calibration is kept: beside its weights, if they are a file.

        None, too, for an alignment without a name, such as a lambda: it could not be told from another.
        """
        return self.file.with_suffix(".scaling.json") if self.file and self.align.name else None

    def restore_calibration(self) -> None:
        """Take the calibration that was saved beside the weights, if it was fitted for this very model.

        Raises
        ------
        ValueError
            The file is damaged.
        """
        path = self.calibration_file
        if path is None or not path.exists():
            return
        scaling, reference_statistics, fitted_for = load_calibration(path)
        before_0_2 = self.identity | {"input": _text_before_0_2(self.input)}
        if fitted_for not in (self.identity, before_0_2):
            warnings.warn(f"{path.name} was fitted for another model or input: ignored.", stacklevel=3)
            return
        self.scaling, self.reference_statistics = scaling, reference_statistics

    @full_precision()
    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Compute what dropout acts on: images (B, 3, size, size), RGB 0..255 -> (B, D)."""
        check_images(images, self)
        self.eval()  # whatever was done to a part of it: backbone.train() does not pass through `train`
        normalised = self.input.normalise(images).contiguous(memory_format=torch.channels_last)
        return self.backbone(normalised).flatten(1)

    def features_and_cells(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Compute features (B, D) and the map that they come from (B, C, h, w), in one forward pass.

        The map is the last one whose flattening, or whose mean over its places, are the features of an
        affine head. It is looked for on the way, and compared, so that no network has to say where it is.
        None if there is none: then the features have no places.
        """
        maps: list[torch.Tensor] = []
        width = getattr(self.head, "in_features", 0)

        def collect(_: torch.nn.Module, inputs: tuple, output: object) -> None:
            tensors = (each for each in (*inputs, output) if isinstance(each, torch.Tensor))
            maps.extend(each for each in tensors if _may_give(each, width))

        hooks = [module.register_forward_hook(collect) for module in self.backbone.modules()]
        try:
            features = self.features(images)
        finally:
            for hook in hooks:
                hook.remove()
        return features, next((each for each in reversed(maps) if _gives(each, features)), None)

    def cells(self, images: torch.Tensor) -> torch.Tensor:
        """Compute the last feature map, whose cells lie side by side as the places of the face do.

        Parameters
        ----------
        images : (B, 3, size, size), RGB 0..255

        Returns
        -------
        (B, C, h, w); the features are these, flattened or averaged over the places.

        Raises
        ------
        ValueError
            The features have no places, or the head is not affine.

        Examples
        --------
        >>> import plqlite
        >>> model = plqlite.facenet()
        >>> model.cells(plqlite.load_face(plqlite.sample_faces()["astronaut"], model)).shape
        torch.Size([1, 1792, 3, 3])
        """
        _, cells = self.features_and_cells(images)
        if cells is None:
            raise ValueError(
                f"The features of {self.name} have no places: it would need an affine head that takes a "
                "square map, flattened or averaged."
            )
        return cells

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Compute L2-normalised embeddings: images (B, 3, size, size), RGB 0..255 -> (B, d)."""
        return normalize(self.head(self.features(images)), dim=-1)

    def crop(self, photo: np.ndarray, face: Face) -> torch.Tensor:
        """Align a face of a photo (H, W, 3) for this model: (3, size, size), RGB 0..255, on its device."""
        aligned = torch.from_numpy(self.align(photo, face, self.size))
        return aligned.permute(2, 0, 1).to(next(self.parameters()))

    def crop_mask(self, mask: np.ndarray, face: Face) -> torch.Tensor:
        """Align a mask (H, W) of bool as its photo is: (size, size) of bool, on the model's device."""
        return self.crop(mask_to_rgb(mask), face)[0] > 127


def _may_give(values: torch.Tensor, width: int) -> bool:
    """Tell whether values are a map of several cells, (B, C, h, h), that could give `width` features."""
    if values.ndim != 4:
        return False
    _, channels, height, across = values.shape
    return height == across > 1 and width in (channels, channels * height * height)


def _gives(cells: torch.Tensor, features: torch.Tensor) -> bool:
    """Tell whether features (B, D) are these cells (B, C, h, w), flattened or averaged over the places."""
    averaged = cells.shape[1] == features.shape[1]
    given = cells.mean((2, 3)) if averaged else cells.flatten(1)
    return not ((given - features).abs() > 1e-6 + 1e-4 * features.abs()).any()


def _text_before_0_2(input: Input) -> str:
    """Return what version 0.1 wrote for an input beside the weights: calibrations of users hold it."""
    values = (
        f"{input.channels} (x − {input.mean})/{input.std}" if input.scales else f"{input.channels} 0..255"
    )
    return f"{input.size}×{input.size} {values}, {input.alignment.name}"


def check_images(images: torch.Tensor, model: FaceModel) -> None:
    """Refuse what a network would silently turn into nonsense.

    Raises
    ------
    TypeError
        Not a dense tensor of the model's floating-point type; a model of 16 bits, or autocast.
    ValueError
        Another shape or device, NaN, or values outside 0..255 (or all within 0..1).

    Examples
    --------
    >>> import plqlite
    >>> check_images(torch.ones(1, 3, 112, 112), plqlite.sface(device="cpu"))
    Traceback (most recent call last):
    ValueError: Pixels lie in 0..1 (largest 1.00): the range is 0..255, multiply by 255.
    """
    expected = next(model.parameters())
    if expected.dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"{model.name} is in {expected.dtype}, too coarse for the distances of Eq. 1: use .float()."
        )
    if not expected.is_meta and torch.is_autocast_enabled(expected.device.type):
        raise TypeError("torch.autocast is on, too coarse for the distances of Eq. 1: call it outside.")
    if not isinstance(images, torch.Tensor) or images.dtype != expected.dtype:
        found = images.dtype if isinstance(images, torch.Tensor) else type(images).__name__
        raise TypeError(
            f"Images must be a {expected.dtype} tensor, found {found}: convert with .to({expected.dtype})."
        )
    if images.layout != torch.strided:
        raise TypeError(f"Images are {images.layout}, which has no gradient here: convert with .to_dense().")
    shape = (3, model.size, model.size)
    if images.ndim != 4 or images.shape[1:] != shape or not len(images):
        raise ValueError(
            f"{model.name} takes images of shape (B, {shape[0]}, {shape[1]}, {shape[2]}), found "
            f"{tuple(images.shape)}: load photos with load_face(photo, model)."
        )
    if images.device != expected.device:
        raise ValueError(
            f"Images are on {images.device}, {model.name} is on {expected.device}: "
            "move them with .to(model.device)."
        )
    check_range(images)


def check_range(images: torch.Tensor) -> None:
    """Refuse images (B, 3, H, W) whose pixels cannot be RGB in 0..255, with a ValueError.

    Examples
    --------
    >>> check_range(torch.full((1, 3, 2, 2), 200.0))
    """
    lowest, highest = images.detach().flatten(1).aminmax(dim=1)  # (B,) each; NaN if one pixel is
    if (~lowest.isfinite() | ~highest.isfinite()).any():
        raise ValueError("Images hold NaN or infinite pixels: the range is 0..255.")
    if (lowest < -ROUNDING).any() or (highest > 255 + ROUNDING).any():
        raise ValueError(
            f"Pixels reach from {lowest.min():.7g} to {highest.max():.7g}: the range is 0..255, RGB."
        )
    small = (highest > 0) & (highest <= 1)  # an image that is black throughout is no mistake of range
    if small.any():
        raise ValueError(
            f"Pixels lie in 0..1 (largest {highest[small].max():.2f}): the range is 0..255, multiply by 255."
        )


def load_face(source: Photo, model: FaceModel, aligned: bool = False) -> torch.Tensor:
    """Read a photo, find its largest face and align it for a model.

    Parameters
    ----------
    source : see `plqlite.faces.read_image`
    model : decides on size and alignment
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
        See `plqlite.faces.read_image`.

    Warns
    -----
    UserWarning
        There are several faces.

    Examples
    --------
    >>> import plqlite
    >>> load_face(plqlite.sample_faces()["astronaut"], plqlite.sface()).shape
    torch.Size([1, 3, 112, 112])
    """
    photo = read_image(source)
    if aligned:
        if photo.shape[:2] != (model.size, model.size):
            raise ValueError(
                f"An aligned image for {model.name} has {model.size}×{model.size} pixels, found "
                f"{photo.shape[1]}×{photo.shape[0]}: leave out aligned=True to detect and align."
            )
        return torch.from_numpy(photo).permute(2, 0, 1)[None].to(next(model.parameters()))
    face, *others = require_faces(photo)
    if others:
        warnings.warn(
            f"Found {1 + len(others)} faces, using the largest: crop the photo to choose another.",
            stacklevel=2,
        )
    return model.crop(photo, face)[None]


def pick_device(device: str) -> torch.device:
    """Resolve "auto" to the best device that this machine has; refuse one that it lacks.

    Examples
    --------
    >>> pick_device("cpu")
    device(type='cpu')
    """
    device = str(device)
    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    available = [name for name, here in found.items() if here]
    if device == "auto":
        return torch.device(available[0])
    if device.split(":")[0] not in available:
        raise ValueError(
            f"Device {device!r} is not available here: choose from {', '.join(available)}, or auto."
        )
    return torch.device(device)
