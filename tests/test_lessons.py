"""Claims, checks, and words for pictures."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from plqlite.lessons import check, claim, fingerprint


@pytest.mark.parametrize("true", [True, 1, torch.tensor([True]), np.bool_(True)])
def test_a_claim_that_holds(true, capsys):
    claim("It rises", true)
    assert capsys.readouterr().out == "✓ It rises\n"


@pytest.mark.parametrize("false", [False, torch.tensor(False), np.bool_(False), None])
def test_a_claim_that_does_not_hold_raises_nothing(false, capsys):
    claim("It rises", false)
    assert capsys.readouterr().out == "✗ It rises\n"


def said(capsys, *arguments, **named):
    check(*arguments, **named)
    return capsys.readouterr().out[0]


@pytest.mark.parametrize("answer", [2.7, 2.74, 2.6, 2.8, torch.tensor(2.7), np.float32(2.7), [2.7], "2.7"])
def test_right_answers(answer, capsys):
    expected = fingerprint("2.7") if isinstance(answer, str) else fingerprint(2.7)
    assert said(capsys, answer, expected) == "✓"


@pytest.mark.parametrize("answer", [2.5, 2.9, -2.7, 27, math.nan, math.inf, "two", [2.7, 2.7], []])
def test_wrong_answers(answer, capsys):
    assert said(capsys, answer, fingerprint(2.7)) == "✗"


@pytest.mark.parametrize("nothing", [..., None])
def test_no_answer_yet(nothing, capsys):
    assert said(capsys, nothing, fingerprint(2.7)) == "…"


def test_words_are_compared_without_case_and_spaces(capsys):
    assert said(capsys, " Nose ", fingerprint("nose")) == "✓"
    assert said(capsys, "mouth", fingerprint("nose")) == "✗"


def test_lists_are_compared_part_by_part_and_in_order(capsys):
    expected = fingerprint([45, "nose", 0.25], digits=2)
    assert said(capsys, [45.01, "nose", 0.24], expected, digits=2) == "✓"
    assert said(capsys, [45, 0.25, "nose"], expected, digits=2) == "✗"
    assert said(capsys, torch.tensor([1.0, 2.0]), fingerprint((1, 2)), digits=1) == "✓"


def test_digits_count(capsys):
    assert said(capsys, 0.0009, fingerprint(0.0007, digits=3), digits=3) == "✓"
    assert said(capsys, 0.0047, fingerprint(0.0007, digits=3), digits=3) == "✗"
    assert said(capsys, 46, fingerprint(45, digits=0), digits=0) == "✓"
    assert said(capsys, 47, fingerprint(45, digits=0), digits=0) == "✗"


def test_a_list_that_is_too_long_is_refused(capsys):
    with pytest.raises(ValueError, match="up to six parts, this one has 7"):
        check([1] * 7, fingerprint(1))


def test_a_fingerprint_hides_the_answer():
    assert len({fingerprint(number / 10) for number in range(100)}) == 100
    assert all(len(fingerprint(number)) == 12 for number in range(10))


def shown(source):
    """Run a cell in a kernel and return its first output."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    NotebookClient(notebook, timeout=900, startup_timeout=900, kernel_name="python3").execute()
    return notebook.cells[0].outputs[0]


@pytest.mark.slow
@pytest.mark.parametrize(("setting", "kind"), [("", "image/png"), ("compact_pictures()", "image/jpeg")])
@pytest.mark.parametrize("end", ["plt.show()", "plt.close(figure); figure"])
def test_jupyter_stores_the_words_of_a_picture(setting, kind, end):
    source = "import matplotlib.pyplot as plt\nfrom plqlite.figures import describe\n"
    source += "from plqlite.lessons import compact_pictures\n" + setting
    output = shown(f"{source}\nfigure, _ = plt.subplots()\ndescribe(figure, 'Two axes.')\n{end}")
    assert kind in output.data
    assert output.metadata[kind]["alt"] == "Two axes."
    plt.close("all")
