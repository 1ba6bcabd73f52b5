"""How programs print and end."""

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import ROOT, press_ctrl_c
from plqlite.console import printable, run

SCRIPTS = sorted(path.stem for path in (ROOT / "data_scripts").glob("*.py"))


@given(st.text())
def test_what_is_printed_stays_in_its_line_and_can_be_read_back(text):
    shown = printable(text)
    assert shown.isprintable()
    assert "\n" not in shown
    if text.isprintable():
        assert shown == text
    elif "\\" not in text:
        assert shown.encode("latin-1", "backslashreplace").decode("unicode_escape") == text


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (OSError(28, "No space left on device"), 1, "error: [Errno 28] No space left on device"),
        (ValueError("bad \x1b[2J name"), 1, r"error: bad \x1b[2J name"),
    ],
)
def test_a_program_ends_with_one_line(raised, status, said, capsys):
    def main():
        print("so far")
        raise raised

    with pytest.raises(SystemExit) as end:
        run(main)
    assert end.value.code == status
    assert capsys.readouterr() == ("so far\n", said + "\n")


def test_a_mistake_of_our_own_shows_its_traceback():
    with pytest.raises(ZeroDivisionError):
        run(lambda: 1 // 0)
    with pytest.raises(SystemExit, match="3"):
        run(lambda: 3)
    run(lambda: None)


PROGRAM = "from plqlite.console import run\nrun(lambda: print('Q\u0302 ' * 9))"


def start(program, **options):
    return subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True, **options)


def test_nobody_reads_what_is_printed():
    reading, writing = os.pipe()
    os.close(reading)
    ended = start(PROGRAM, stdout=writing)
    assert (ended.returncode, ended.stderr) == (1, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="other systems have no full device")
def test_a_full_disk_is_one_line():
    with open("/dev/full", "w") as full:
        ended = start(PROGRAM, stdout=full)
    assert (ended.returncode, ended.stderr) == (1, "error: [Errno 28] No space left on device\n")


@pytest.mark.skipif(os.name != "posix", reason="of shells that can close standard output")
def test_standard_output_may_be_closed():
    ended = start(PROGRAM, preexec_fn=lambda: os.close(1))
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.skipif(os.name != "posix", reason="Windows has other signals")
def test_ctrl_c_is_one_line():
    program = "import time\nfrom plqlite.console import run\n"
    program += "run(lambda: [print('ready', flush=True), time.sleep(600)])"
    assert press_ctrl_c(program, when="ready") == (130, "interrupted\n")


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_help_is_printed_on_a_console_without_greek(script):
    """As a Windows console or LANG=C has it."""
    for encoding in ("ascii", "cp1252"):
        ended = subprocess.run(
            [sys.executable, ROOT / "data_scripts" / f"{script}.py", "--help"],
            env=os.environ | {"PYTHONIOENCODING": encoding},
            capture_output=True,
        )
        assert ended.returncode == 0, ended.stderr
        assert b"usage:" in ended.stdout
        assert ended.stderr == b""


def test_every_script_ends_through_run():
    for script in SCRIPTS:
        source = (ROOT / "data_scripts" / f"{script}.py").read_text("utf-8")
        assert source.endswith('if __name__ == "__main__":\n    run(main)\n'), script
    assert json.dumps("\x1b") == r'"\u001b"'  # why --json needs no `printable`
