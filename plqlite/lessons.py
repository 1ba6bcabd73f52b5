"""What a lesson needs besides the method: claims that a reader may break, answers that check themselves."""

import hashlib
import itertools
import math
from collections.abc import Sequence

import torch

torch.backends.cudnn.allow_tf32 = False  # lessons compute gradients themselves: see `full_precision`


def claim(sentence: str, holds: object) -> None:
    """Print whether what a lesson says is so: ✓ or ✗, and the sentence.

    Nothing is raised, so that a reader can change a function and run all cells again. The tests run each
    notebook and compare what it prints, so that a claim that turns false is found there.

    Parameters
    ----------
    sentence : what the reader sees
    holds : true or false; a tensor or an array of one element will do

    Examples
    --------
    >>> claim("A blurred photo has a lower quality", 0.86 < 0.90)
    ✓ A blurred photo has a lower quality
    """
    print("✓" if bool(holds) else "✗", sentence)


def check(answer: object, expected: str, digits: int = 1) -> None:
    """Print whether the answer to an exercise is right, without giving it away: only its hash is known.

    Parameters
    ----------
    answer : a number, a text, or a list of up to six of these; `...` or None stands for no answer yet
    expected : from `fingerprint`
    digits : numbers count as equal if they differ by one in this place behind the point, or less

    Raises
    ------
    ValueError
        The list is longer than six.

    Examples
    --------
    >>> check(2.72, fingerprint(2.7))
    ✓ right
    >>> check(..., fingerprint(2.7))
    … not answered yet
    """
    if answer is None or answer is ...:
        print("… not answered yet")
        return
    right = any(_hash(each) == expected for each in _nearby(answer, digits))
    print("✓ right" if right else "✗ not yet: think again, or unfold the hint")


def fingerprint(answer: object, digits: int = 1) -> str:
    """Return what `check` compares an answer with, for those who write exercises.

    Examples
    --------
    >>> fingerprint([0.5, "nose"])
    '8db3f132be0f'
    """
    return _hash([_written(part, digits, 0) for part in _parts(answer)])


def compact_pictures() -> None:
    """Have Jupyter store figures as JPEG from here on: maps are noisy, and large as PNG."""
    from matplotlib_inline.backend_inline import set_matplotlib_formats  # only a notebook has it

    set_matplotlib_formats("jpeg", pil_kwargs={"quality": 85})


def _parts(answer: object) -> list:
    """Return the parts of an answer, as numbers and texts."""
    values = answer.tolist() if hasattr(answer, "tolist") else answer  # of torch or NumPy
    parts = list(values) if isinstance(values, Sequence) and not isinstance(values, str) else [values]
    if len(parts) > 6:
        raise ValueError(f"An answer has up to six parts, this one has {len(parts)}.")
    return [part.item() if hasattr(part, "item") else part for part in parts]


def _written(part: object, digits: int, units: int) -> str:
    """Write a number in units of its last place, so many of them higher; a text in small letters."""
    if isinstance(part, int | float) and math.isfinite(part):
        return str(round(part * 10**digits) + units)
    return str(part).strip().lower()


def _nearby(answer: object, digits: int) -> itertools.product:
    """Return the answer with each of its numbers one unit lower, as it is, and one unit higher."""
    parts = [{_written(part, digits, units) for units in (-1, 0, 1)} for part in _parts(answer)]
    return itertools.product(*parts)


def _hash(written: Sequence[str]) -> str:
    """Hash the parts of an answer."""
    return hashlib.sha256("\n".join(written).encode()).hexdigest()[:12]
