"""Whatever comes in: a result that can be right, or an error that says what is wrong."""

import contextlib
import io
import string

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

import plqlite
from conftest import tiny_model
from plqlite.calibration import load_calibration
from plqlite.command_line import parse
from plqlite.experiments.tables import append_rows, open_table, write_table
from plqlite.faces import read_image

TINY = tiny_model()

NUMBERS = st_numpy.array_shapes(max_dims=4, max_side=20).flatmap(
    lambda shape: st_numpy.arrays(st.sampled_from(["u1", "u2", "i2", "i8", "f2", "f4", "f8", "?"]), shape)
)


def outcome(function, *arguments):
    """Return what a function returns, and the error that it raises in our own words."""
    try:
        return function(*arguments), None
    except (TypeError, ValueError) as error:
        return None, error


@given(NUMBERS)
def test_an_array_is_a_photo_or_an_error(array):
    photo, error = outcome(read_image, array)
    if error:
        assert str(error).endswith(".")
        return
    assert photo.dtype == np.uint8
    assert photo.shape == (*array.shape[:2], 3)


@given(st.binary(max_size=400))
@example(b"BM" + bytes(50))
@example(b"\x89PNG\r\n\x1a\n" + bytes(50))
def test_bytes_are_a_photo_or_unreadable(content):
    with contextlib.suppress(plqlite.UnreadableImage):
        assert read_image(content).ndim == 3


def images(shape):
    return st_numpy.arrays(np.float32, shape, elements=st.floats(-1e3, 1e3, width=32) | st.just(np.nan))


@settings(max_examples=60)
@given(
    st_numpy.array_shapes(max_dims=5, max_side=3).flatmap(images)
    | images((2, 3, 16, 16))
    | st_numpy.arrays(np.float32, (2, 3, 16, 16), elements=st.floats(0, 255, width=32)),
    st.sampled_from([None, 2, 3, 0, -1, 2.5, "7", np.int32(4)]),
    st.sampled_from([0.5, 0.01, 0.99, 0, 1, np.nan, "1"]),
    st.sampled_from(["signed", "literal", "summed", "loud"]),
)
def test_a_tensor_has_maps_in_range_or_an_error(array, passes, dropout, reading):
    options = passes, 0, reading, dropout
    explanation, error = outcome(plqlite.explain, TINY, torch.from_numpy(array), *options)
    if error:
        assert str(error).endswith(".")  # a sentence of ours
        return
    assert len(explanation.quality) == len(array)
    for values in (explanation.quality, explanation.plq, explanation.pattern):
        assert ((values >= 0) & (values <= 1)).all()


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n"), max_size=20)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(NAMES, st.integers(-9, 9), st.floats(allow_nan=False, allow_infinity=False)), min_size=1
    )
)
@example([("'=1", 0, 0.0), ("", 0, -0.0), ("NaN", 1, 1e-300), (" x ", 2, 0.1), ('"', 3, 5e-324)])
def test_a_table_returns_what_it_was_given(tmp_path, rows):
    path, columns = tmp_path / "table.csv", {"name": str, "count": int, "value": float}
    path.unlink(missing_ok=True)
    open_table(path, columns)
    append_rows(path, columns, [dict(zip(columns, row, strict=True)) for row in rows])
    table = open_table(path, columns)
    assert list(table.itertuples(index=False, name=None)) == rows
    before = path.read_bytes()
    write_table(path, table)
    assert path.read_bytes() == before
    assert not any(line.startswith(tuple("=+-@")) for line in path.read_text("utf-8").split("\n"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.sampled_from('{}[]",:.-+ ' + string.ascii_letters + string.digits), max_size=80))
@example('{"scaling": {"alpha": 1, "r": 1, "gamma": 1, "usual": []}, "model": null}')
@example('{"scaling": {"alpha": 1, "r": 1, "gamma": 1, "reference_statistics": {"maps": {"level": 1}}}}')
def test_a_calibration_is_read_or_damaged(tmp_path, text):
    path = tmp_path / "net.scaling.json"
    path.write_text(text, "utf-8")
    with contextlib.suppress(ValueError):
        assert np.isfinite(load_calibration(path)[0].alpha)


OPTIONS = "--model --passes --seed --reading --device --out --style --advise --json --".split()
WORDS = ["", *"sface a.onnx 0 -1 2 4294967296 1e3 summed cpu x.png nowhere/x paper".split()]


@given(st.lists(st.sampled_from(OPTIONS) | st.sampled_from(WORDS) | st.text(max_size=5), max_size=8))
def test_a_command_line_is_understood_or_refused(arguments):
    with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(io.StringIO()):
        status, options = 0, None
        try:
            options = parse(arguments)
        except SystemExit as end:
            status = end.code
    if options is None:
        assert status == 0 or (status == 2 and "error:" in said.getvalue())
        return
    assert options.passes is None or options.passes >= 2
    assert 0 <= options.seed < 2**32
    assert options.json or options.out.name


def test_the_properties_can_fail():
    """A range that is not checked would be seen."""
    with pytest.raises(ValueError, match=r"0\.\.255"):
        plqlite.explain(TINY, torch.full((1, 3, 16, 16), 300.0))
