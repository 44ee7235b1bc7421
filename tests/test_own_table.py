"""Tables of own photos that are nearly right: read rightly, or refused by file, row and column."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from vlbias.data.own_photos import COLUMNS, read_own
from vlbias.data.table import SPLITS, Dataset
from vlbias.errors import BadData
from vlbias.studies.bias.init import recognise


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("own")
    for i in range(4):
        pixels = np.full((48, 64, 3), 40 * i, np.uint8)
        Image.fromarray(pixels).save(root / f"{i}.png")
    return root


def csv_of(folder: Path, text: str, **options: Any) -> Dataset:
    (folder / "p.csv").write_text(text, encoding="utf-8")
    return read_own(folder / "p.csv", **options)


def jsonl_of(folder: Path, *rows: dict[str, Any], ascii: bool = True) -> Dataset:
    lines = [json.dumps(row, ensure_ascii=ascii) for row in rows]
    (folder / "p.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return read_own(folder / "p.jsonl")


def photo(i: int = 0, **more: Any) -> dict[str, Any]:
    return {"image": f"{i}.png", "group": "f", "labels": ["cup"], **more}


def test_zero_is_an_id_a_cluster_and_a_group(folder: Path) -> None:
    rows = [photo(i, id=i, cluster=i // 2, group=i % 2) for i in range(4)]
    frame = jsonl_of(folder, *rows).frame
    assert list(frame["id"]) == ["0", "1", "2", "3"]
    assert list(frame["cluster"]) == ["0", "0", "1", "1"]
    assert list(frame["group"]) == ["0", "1", "0", "1"]
    empty = jsonl_of(folder, photo(id=None, cluster="", split=" ", licence=0)).frame.iloc[0]
    assert (empty["id"], empty["cluster"], empty["licence"]) == ("0.png", "0.png", "0")
    assert empty["split"] in SPLITS


@pytest.mark.parametrize("sign", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1e"])
def test_only_a_newline_ends_a_line(folder: Path, sign: str) -> None:
    text = f"a{sign}b"
    row = jsonl_of(folder, photo(text=text), photo(1, text=text), ascii=False).frame.iloc[0]
    assert row["captions"] == [text]
    frame = csv_of(folder, f"image,group,labels,text\n0.png,f,cup,{text}\n1.png,f,cup,x\n").frame
    assert frame.iloc[0]["captions"] == [text]


@pytest.mark.parametrize(
    ("cell", "classes"),
    [('"[""cup"", ""dog""]"', ["cup", "dog"]), ("cup; dog", ["cup", "dog"]),
     ('"[""tench, Tinca""]"', ["tench, Tinca"])],
)  # fmt: skip
def test_labels_between_semicolons_or_as_json(folder: Path, cell: str, classes: list[str]) -> None:
    assert csv_of(folder, f"image,group,labels\n0.png,f,{cell}\n").classes == tuple(classes)


def test_a_class_with_a_comma_is_read_where_it_is_listed(folder: Path) -> None:
    text = 'image,group,labels\n0.png,f,"tench, Tinca"\n'
    assert csv_of(folder, text, classes=["tench, Tinca"]).classes == ("tench, Tinca",)


def test_an_index_that_pandas_wrote_is_left_alone(folder: Path) -> None:
    dataset = csv_of(folder, ",image,group,labels\n0,0.png,f,cup\n1,1.png,m,cup\n")
    assert list(dataset.frame["group"]) == ["f", "m"]
    assert dataset.meta["unread"] == []


BOXES = "image,group,labels,boxes\n0.png,f,cup,"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('image,group,labels\n0.png,f,"cup, dog"\n', r"row 1, labels.*comma"),
        ("image,group,labels\n0.png,f,[cup\n", r"row 1, labels is no JSON"),
        ("image,group,labels,group\n0.png,f,cup,m\n", r"columns that repeat: 'group'"),
        ('image,group,labels\n0.png,f,"big" cup\n', r"p.csv line 2.*quotes"),
        ('image,group,labels\n0.png,f,"big cup\n', r"p.csv line .*quotes"),
        ("image,group,labels\n0.png,f,c\0up\n", r"line 2 holds a NUL"),
        (f"image,group,labels\n0.png,f,{'x' * 131073}\n", r"line 2: field larger"),
        (BOXES + "5\n", r"row 1: 'boxes': got 5, expected a list"),
        (BOXES + '"{""a"": 1}"\n', r"'boxes'.*expected a list"),
        (BOXES + '"[[""person"",0.1,0.2,0.5,0.9]]"\n', r"row 1.*shares of width and height"),
        (BOXES + '"[[""person"",0,0,NaN,9]]"\n', r"row 1: 'boxes', item 1.*finite"),
        (BOXES + '"[[""person"",0,0,true,9]]"\n', r"row 1: 'boxes', item 1.*number"),
        (BOXES + '"[[""Person"",1,2,30,40]]"\n', r"class 'Person'"),
        (BOXES + "[" * 5000 + "\n", r"row 1, boxes is no JSON"),
        ("image,group,labels\n0.png,nan,cup\n", r"group 'nan'"),
        ("image,group,labels\n0.png,Feminine,cup\n1.png,feminine,cup\n", r"'Feminine' \(1 photos\)"),
        ("image,group,labels\n0.png,f,Cup\n1.png,f,cup\n", r"classes.*'Cup', 'cup'"),
        ("image,group,labels\n0.png,f,\n", r"no photo has a class"),
        ('image,group,labels,text\n0.png,f,cup,"[""a"", ""b""]"\n', r"'text'.*column captions"),
        ('image,group,labels,captions\n0.png,f,cup,"[1, 2]"\n', r"'captions', item 1.*a text"),
    ],
)  # fmt: skip
def test_what_is_no_table_of_photos(folder: Path, text: str, named: str) -> None:
    with pytest.raises(BadData, match=named):
        csv_of(folder, text)


@pytest.mark.parametrize(
    ("row", "named"),
    [
        (photo(group=float("nan")), r"line 1: 'group': got nan"),
        (photo(group=["f"]), r"line 1: 'group'"),
        (photo(text=["a", "b"]), r"line 1: 'text'.*column captions"),
        (photo(text=0), r"line 1: 'text'"),
        (photo(id=float("inf")), r"line 1: 'id'"),
        (photo(image=0.5), r"not found"),
        (photo(labels=["cup", ""]), r"line 1: 'labels', item 2"),
        (photo(labels=[["cup"]]), r"line 1: 'labels', item 1"),
        (photo(labels=5), r"line 1: 'labels'"),
        (photo(captions="a man"), r"line 1, captions is no JSON"),
        (photo(boxes=[["cup", 1, 2, 3]]), r"'boxes', item 1.*expected .class"),
        (photo(split=0), r"splits that are none"),
        (photo(licence="\ud800"), r"line 1: 'licence'"),
        (photo(**{"\ud800": 1}), r"line 1 is no JSON"),
        (photo(image="a\0b"), r"line 1: 'image'.*NUL"),
    ],
)
def test_what_is_no_line(folder: Path, row: dict[str, Any], named: str) -> None:
    with pytest.raises(BadData, match=named):
        jsonl_of(folder, row)


def test_a_key_given_twice_is_refused(folder: Path) -> None:
    (folder / "p.jsonl").write_text('{"image":"0.png","group":"f","group":"m","labels":["cup"]}\n')
    with pytest.raises(BadData, match=r"line 1.*repeat.*group"):
        read_own(folder / "p.jsonl")


def test_other_encodings_and_foreign_tables(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "foreign.csv").write_bytes("größe\n1\n".encode("latin-1"))
    with pytest.raises(BadData, match=r"foreign\.csv is not UTF-8"):
        recognise(tmp_path)
    (tmp_path / "mine.csv").write_text("image,group,labels\n")
    assert recognise(tmp_path) == ("own", tmp_path / "mine.csv")
    with pytest.raises(BadData, match="not UTF-8"):
        read_own(tmp_path / "foreign.csv")
    (folder / "p.csv").write_bytes(b"\xef\xbb\xbfimage,group,labels\n0.png,f,cup\n")
    assert len(read_own(folder / "p.csv").frame) == 1


SIGNS = st.sampled_from(list('",;[]{}\\\n\r\t \0\u2028\x85\x0b\x0c\ufeff0e-N/.') + list("aé漢😀"))
CELLS = st.one_of(
    st.text(SIGNS, max_size=12),
    st.text(max_size=8),
    st.sampled_from(["", "0", "nan", "None", "0.png", "1.png", "test", "f", "cup", "[]", "[1", "NaN",
                     '["cup"]', '[["person",1,2,3,4]]', "../0.png", "/dev/zero", "1e999"]),
)  # fmt: skip
VALUES = st.recursive(
    st.one_of(CELLS, st.none(), st.booleans(), st.integers(), st.floats()),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(CELLS, inner, max_size=2),
    max_leaves=8,
)


def read_or_named(path: Path) -> None:
    """A right example, or an error that names the file, a row or what is wrong with a name."""
    try:
        dataset = read_own(path)
    except BadData as error:
        said = str(error)
        said.encode("utf-8", "backslashreplace")
        return
    row = dataset.frame.iloc[0]
    assert row["image"] in {f"{i}.png" for i in range(4)} | {f"./{i}.png" for i in range(4)}
    assert row["split"] in SPLITS
    assert all(isinstance(row[name], str) and row[name] for name in ("id", "cluster", "group"))
    assert row["present"]
    assert set(row["present"]) <= set(dataset.classes)
    for box in row["objects"]:
        assert 0 <= box["x0"] <= box["x1"] <= 64
        assert 0 <= box["y0"] <= box["y1"] <= 48
    assert dataset.content_hash.encode()


def any_cell(folder: Path, column: str, cell: str) -> None:
    cells = {"image": "0.png", "group": "f", "labels": "cup", column: cell}
    quoted = ['"' + value.replace('"', '""') + '"' for value in cells.values()]
    path = folder / "any.csv"
    path.write_bytes(f"{','.join(cells)}\n{','.join(quoted)}\n".encode("utf-8", "surrogatepass"))
    read_or_named(path)


def any_raw_cell(folder: Path, column: str, cell: str) -> None:
    cells = {"image": "0.png", "group": "f", "labels": "cup", column: cell}
    path = folder / "raw.csv"
    text = f"{','.join(cells)}\n{','.join(cells.values())}\n"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    read_or_named(path)


def any_value(folder: Path, column: str, value: Any) -> None:
    path = folder / "any.jsonl"
    path.write_text(json.dumps(photo(**{column: value})) + "\n")
    read_or_named(path)


NAMES = st.sampled_from(COLUMNS)
FEW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
MANY = settings(FEW, max_examples=2000)


@FEW
@given(column=NAMES, cell=CELLS, value=VALUES)
def test_any_cell_is_read_rightly_or_refused_by_name(
    folder: Path, column: str, cell: str, value: Any
) -> None:
    any_cell(folder, column, cell)
    any_raw_cell(folder, column, cell)
    any_value(folder, column, value)


@pytest.mark.slow
@MANY
@given(column=NAMES, cell=CELLS, value=VALUES)
def test_any_of_many_cells_is_read_rightly_or_refused_by_name(
    folder: Path, column: str, cell: str, value: Any
) -> None:
    any_cell(folder, column, cell)
    any_raw_cell(folder, column, cell)
    any_value(folder, column, value)
