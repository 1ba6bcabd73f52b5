import pandas as pd
import pytest

from plqlite.experiments.tables import append_rows, open_table, write_table

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


@pytest.mark.parametrize("content", ['{"alpha": 3}', "a,b\n1,2\nprecious last line", ""])
def test_a_file_of_something_else_is_left_alone(tmp_path, content):
    path = tmp_path / "scaling.json"
    path.write_text(content)
    with pytest.raises(ValueError, match="is another table"):
        open_table(path, COLUMNS)
    assert path.read_text() == content


@pytest.mark.parametrize("row", [b"ada,many,1.0\n", b"ada,1,1.0,2.0,3.0\n", b"\xe9,1,1.0\n"])
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
