"""Files are never half written: what an explanation saves goes through files.py."""

import numpy as np
import pytest

import plqlite
from plqlite.files import write_aside


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
