import os
import subprocess
import sys

import pandas as pd
import pytest

from plqlite.experiments.tables import append_rows, open_table, read_table, write_table
from plqlite.locks import InUse, lock_of, locked

COLUMNS = {"name": str, "count": int, "value": float}
ROWS = [
    {"name": "None", "count": 1, "value": 0.1 + 0.2},
    {"name": "00012", "count": 2, "value": float("nan")},
    {"name": 'a "quoted", comma', "count": 3, "value": 1e-17},
]


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "new folder" / "table.csv"
    open_table(path, COLUMNS)
    append_rows(path, COLUMNS, ROWS[:2])
    append_rows(path, COLUMNS, pd.DataFrame(ROWS[2:]))
    return path


def test_what_was_appended_comes_back_exactly(table):
    """Names that look like numbers or like nothing stay names; floats keep every digit."""
    pd.testing.assert_frame_equal(open_table(table, COLUMNS), pd.DataFrame(ROWS), check_exact=True)


def test_a_new_table_is_empty_and_typed(tmp_path):
    table = open_table(tmp_path / "table.csv", COLUMNS)
    assert len(table) == 0
    assert [table[name].dtype.kind for name in ("count", "value")] == ["i", "f"]


@pytest.mark.parametrize("cut", [1, 2, 10, 24])
def test_a_row_that_was_cut_off_is_removed_from_the_file_too(table, cut):
    whole = table.read_bytes()
    table.write_bytes(whole[:-cut])
    assert len(open_table(table, COLUMNS)) == 2
    append_rows(table, COLUMNS, ROWS[2:])
    assert table.read_bytes() == whole


def test_line_breaks_within_a_text_become_spaces(table):
    append_rows(table, COLUMNS, [{"name": "two\r\nlines", "count": 4, "value": 0.0}])
    assert open_table(table, COLUMNS)["name"].iloc[-1] == "two lines"


def test_another_table_is_refused_and_left_alone(table):
    before = table.read_bytes()
    with pytest.raises(ValueError, match=r"is another table \(its columns: name, count, value\)"):
        open_table(table, {"name": str, "age": int})
    assert table.read_bytes() == before


@pytest.mark.parametrize(
    "content", ['{"alpha": 3}', "a,b\n1,2\nprecious last line", "", "name,count,value\t\n"]
)
def test_a_file_of_something_else_is_left_alone(tmp_path, content):
    path = tmp_path / "scaling.json"
    path.write_text(content)
    with pytest.raises(ValueError, match="is another table"):
        open_table(path, COLUMNS)
    assert path.read_text() == content


@pytest.mark.parametrize("row", [b"ada,many,1.0\n", b"ada,1,1.0,2.0,3.0\n", b"\xe9,1,1.0\n", b"\0da,1,1.0\n"])
def test_a_damaged_table_is_named(table, row):
    table.write_bytes(table.read_bytes() + row)
    with pytest.raises(ValueError, match=r"table\.csv is damaged"):
        open_table(table, COLUMNS)


def test_a_row_without_a_column_is_refused(table):
    with pytest.raises(KeyError, match="count"):
        append_rows(table, COLUMNS, [{"name": "ada", "value": 1.0}])


def test_a_table_that_stands_there_is_not_written_again(table):
    before = table.stat().st_mtime_ns
    write_table(table, open_table(table, COLUMNS))
    assert table.stat().st_mtime_ns == before
    write_table(table, open_table(table, COLUMNS).iloc[::-1])
    assert open_table(table, COLUMNS)["count"].tolist() == [3, 2, 1]


@pytest.mark.parametrize("name", ["=1+1", "+49", "-a.jpg", "@sum", "'=1", "'plain'", "a=b"])
def test_what_a_spreadsheet_would_compute_is_written_as_text(table, name):
    append_rows(table, COLUMNS, [{"name": name, "count": 4, "value": -1.0}])
    last = table.read_text("utf-8").splitlines()[-1]
    assert not last.startswith(tuple("=+-@"))
    assert last.endswith(",-1.0")  # a number is no formula
    rows = open_table(table, COLUMNS)
    assert rows["name"].iloc[-1] == name
    before = table.read_bytes()
    write_table(table, rows)
    assert table.read_bytes() == before


def test_a_row_that_lacks_cells_is_damage(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("count,name\n1\n")
    with pytest.raises(ValueError, match=r"table\.csv is damaged \(a row lacks cells\)"):
        open_table(path, {"count": int, "name": str})


def test_reading_leaves_a_row_that_is_being_written(table):
    with table.open("ab") as file:
        file.write(b"half,4")
    before = table.read_bytes()
    assert len(read_table(table, COLUMNS)) == 3
    assert table.read_bytes() == before


HOLD = """
import sys, time
from pathlib import Path
from plqlite.locks import locked

with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    for folder in ("file", "file/below"):
        table = tmp_path / folder / "a.csv"
        with pytest.raises(NotADirectoryError, match="is no folder: name one"), locked(table):
            pass


def test_one_program_at_a_time_writes_a_table(tmp_path):
    """The lock names its holder, and ends with it, however that ends."""
    path = tmp_path / "new" / "table.csv"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(InUse, match=rf"table\.csv is being written by process {holder.pid} on "),
            locked(path),
        ):
            pass
    finally:
        holder.kill()
        holder.communicate()
    (path.parent / ".table.maps.csv.0123.part").touch()  # of the killed one
    (path.parent / ".other.csv.0123.part").touch()  # of somebody else
    with locked(path):
        assert f"process {os.getpid()} " in path.with_name(".table.csv.holder").read_text("utf-8")
    assert {each.name for each in path.parent.iterdir()} == {lock_of(path).name, ".other.csv.0123.part"}
