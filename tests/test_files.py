"""Files are never half written: what an explanation saves goes through files.py."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import plqlite
from plqlite.calibration import load_calibration
from plqlite.files import require_file, write_aside
from plqlite.networks.onnx_graph import read_onnx


def test_a_failed_save_leaves_the_old_file(tiny, images, tmp_path, monkeypatch):
    def fail(file, **_):
        file.write(b"half")
        raise OSError("disk full")

    (tmp_path / "plq.npz").write_bytes(b"old")
    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(OSError, match="disk full"):
        plqlite.explain(tiny, images).save(tmp_path / "plq.npz")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


@pytest.mark.parametrize("path", ["folder", ".", "/dev/null"])
def test_save_replaces_nothing_but_files(tiny, images, tmp_path, path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="is not a regular file"):
        plqlite.explain(tiny, images).save(path)
    assert [found.name for found in tmp_path.iterdir()] == ["folder"]


def test_save_refuses_a_folder_that_is_not_there(tiny, images, tmp_path):
    with pytest.raises(FileNotFoundError):
        plqlite.explain(tiny, images).save(tmp_path / "nowhere" / "plq.npz")


def test_a_link_stays_and_what_it_points_to_is_replaced(tmp_path):
    (tmp_path / "file.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("file.txt")
    write_aside(tmp_path / "link.txt", lambda file: file.write(b"new"))
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "file.txt").read_text() == "new"


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    """The second begins and ends while the first is at work; whoever ends last wins, as a whole."""
    path = tmp_path / "file.txt"

    def first(file):
        file.write(b"first, ")
        write_aside(path, lambda other: other.write(b"second"))
        assert path.read_bytes() == b"second"
        file.write(b"whole")

    write_aside(path, first)
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"first, whole"]


def test_who_reads_the_old_file_keeps_it(tmp_path):
    """It is replaced as a whole, not overwritten."""
    (tmp_path / "file.txt").write_bytes(b"old")
    with (tmp_path / "file.txt").open("rb") as reader:
        write_aside(tmp_path / "file.txt", lambda file: file.write(b"new"))
        assert reader.read() == b"old"


def test_a_name_may_be_as_long_as_any(tmp_path):
    path = tmp_path / ("ä" * 125 + ".txt")  # 254 bytes
    write_aside(path, lambda file: file.write(b"x"))
    assert path.read_bytes() == b"x"


def test_what_is_printed_is_not_replaced(tmp_path):
    """`--out /dev/stdout > file`, and `--out file > file`."""
    program = "import sys; from plqlite.files import write_aside; print('text', flush=True); "
    program += "write_aside(sys.argv[1], lambda file: file.write(b'picture'))"
    for name in ("/dev/stdout", str(tmp_path / "a.txt")):
        with (tmp_path / "a.txt").open("w") as out:
            run = subprocess.run(
                [sys.executable, "-c", program, name], stdout=out, stderr=subprocess.PIPE, text=True
            )
        assert run.returncode == 1
        assert "is the file that this program prints into" in run.stderr
        assert (tmp_path / "a.txt").read_text() == "text\n"


def test_a_circle_of_links_is_named(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="circle of links"):
        write_aside(tmp_path / "a", lambda file: file.write(b"x"))


@pytest.fixture
def pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    return tmp_path / "pipe.jpg"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="other systems have no such pipes")
@pytest.mark.parametrize("read", [require_file, plqlite.faces.read_image, read_onnx, load_calibration])
def test_a_pipe_is_not_waited_for(pipe, read):
    for path in (pipe, Path("/dev/zero")):
        with pytest.raises(OSError, match="is a pipe or a device"):
            read(path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read(pipe.with_name("nowhere"))
    with pytest.raises(IsADirectoryError, match="is a folder"):
        read(pipe.parent)
