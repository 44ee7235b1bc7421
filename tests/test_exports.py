"""What leaves a run: tables for spreadsheets and pandas, the model card, and exported models."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from vlbias.errors import BadModel
from vlbias.files import write_texts
from vlbias.mitigations import make_mitigation
from vlbias.models import outline_model
from vlbias.report.csv_files import csv_text, read_table, table_texts
from vlbias.report.export import as_markdown, card_text

NAMES = ["=1+1", "+x", "-cup", "@SUM", "'=x", "'quoted'", "NA", "007", "a,b", "", "\tx", "plain"]


def test_tables_are_safe_and_come_back_equal(tmp_path: Path) -> None:
    count = len(NAMES)
    frame = pd.DataFrame(
        {
            "object": NAMES,
            "gap_=x": -np.arange(count) / 3,
            "=n": np.arange(count) - 3,
            "holds": np.arange(count) % 2 == 0,
            "lo": [np.nan, -np.inf, *np.random.default_rng(0).normal(size=count - 2)],
        }
    )
    tables = {"objects": frame, "none": frame.iloc[:0], "nothing": pd.DataFrame()}
    write_texts(table_texts(tmp_path, tables))
    for name, table in tables.items():
        pd.testing.assert_frame_equal(
            read_table(tmp_path / f"{name}.csv"), table, check_exact=True, check_dtype=True,
            check_index_type=False, check_column_type=False,
        )  # fmt: skip
    plain = pd.read_csv(tmp_path / "objects.csv", keep_default_na=False, dtype=str)
    assert not any(cell.startswith(("=", "+", "-", "@", "\t")) for cell in plain["object"])
    assert not any(head.startswith("=") for head in plain.columns)
    assert plain["gap_=x"][1].startswith("-0.3")
    assert list(pd.read_csv(tmp_path / "nothing.csv").columns) == ["empty"]
    assert list(pd.read_csv(tmp_path / "none.csv").columns) == list(plain.columns)


def test_tables_without_such_names_are_written_as_before(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": ["x", None, "y–z"], "b": [1.5, np.nan, -3e-300], "c": [1, 2, -3]})
    write_texts({tmp_path / "t.csv": csv_text(frame)})
    assert (tmp_path / "t.csv").read_bytes() == frame.to_csv(index=False).encode()


@pytest.mark.parametrize(
    ("text", "card"),
    [
        ("B_lin changes by -1.000 [-2.000, -0.500], p < .001", None),
        ("see [x](http://a.b)", r"see [x\](http://a.b)"),
        ("<script>", r"\<script>"),
        ("**bold** _x_ `c` $m$", r"\*\*bold\*\* \_x\_ \`c\` \$m\$"),
        ("# head\n- item", r"\# head - item"),
        ("1. one", r"1\. one"),
        ("&lt;b&gt;", r"\&lt;b\&gt;"),
    ],
)
def test_names_in_a_card_are_no_markdown(text: str, card: str | None) -> None:
    assert as_markdown(text) == (text if card is None else card)


def test_front_matter_of_a_card_holds_names_as_they_are(tmp_path: Path) -> None:
    name = 'a: "b"\n---\n<i>'
    manifest = {
        "model": {"name": name},
        "study": {"dataset": {"name": name, "splits": ["test"]}},
        "data": {"content_hash": "0", "meta": {"rule": {"name": "given"}}},
    }
    section = SimpleNamespace(metrics=[{"type": name, "value": 1.0}], task="other")
    said = {"name": "x", "headline": name, "readings": [name]}
    run = SimpleNamespace(manifest=manifest)
    card = card_text([(run, None, section, said)], [])  # type: ignore[list-item]
    front, text = card.removeprefix("---\n").split("\n---\n", 1)
    assert yaml.safe_load(front)["model-index"][0]["name"] == name
    assert "\n---\n" not in text
    assert "<i>" not in text.replace(r"\<i>", "")


@pytest.fixture
def exported(
    tmp_path: Path, load: Callable[[str], Any], model_folder: Callable[[str], Path]
) -> Path:
    mitigation = make_mitigation("pixel-blur")
    fitted = mitigation.fit(load("clip"), [], rng=np.random.default_rng(0))
    fitted.export(load("clip"), tmp_path / "inside" / "out", str(model_folder("clip")))
    shutil.copytree(model_folder("clip"), tmp_path / "elsewhere" / "clip")
    return tmp_path / "inside" / "out"


def test_an_exported_model_keeps_to_its_folder(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert outline_model(str(exported)).towers
    about = json.loads((exported / "mitigated.json").read_text())
    (exported / "link").symlink_to(tmp_path / "elsewhere" / "clip")
    for place in ("../../elsewhere/clip", str(tmp_path / "elsewhere/clip"), "elsewhere/clip", ".",
                  "", "link", "model/..", 3, None, ["model"]):  # fmt: skip
        (exported / "mitigated.json").write_text(json.dumps({**about, "model": place}))
        with pytest.raises(BadModel, match=r"mitigated\.json"):
            outline_model(str(exported))
    for strength in (0, 2, "1", None, True, float("nan")):
        (exported / "mitigated.json").write_text(json.dumps({**about, "strength": strength}))
        with pytest.raises(BadModel, match="strength"):
            outline_model(str(exported))
    for content in ("[]", "{}", "{", "7"):
        (exported / "mitigated.json").write_text(content)
        with pytest.raises(BadModel, match=r"mitigated\.json"):
            outline_model(str(exported))
