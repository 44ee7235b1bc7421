"""Run folders whose files were damaged, exchanged or half written: noticed, and made anew by a resume."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from commands import contents
from damaged_runs import mitigations, small_study, tables_of

from vlbias.errors import VlbiasError
from vlbias.files import write_json, write_texts
from vlbias.report.blocks import Section
from vlbias.report.claims import Sentence
from vlbias.report.page import Page, Reported, write_page
from vlbias.report.page_folder import make_folder
from vlbias.store.run_folder import Run
from vlbias.studies.lifecycle import run_plan
from vlbias.studies.reporting import report


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_plan(small_study(), tmp_path_factory.mktemp("small")).folder


@pytest.fixture(scope="module")
def mitigated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_plan(mitigations(), tmp_path_factory.mktemp("mitigated")).folder


def copied(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / folder.name))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def test_a_damaged_cell_is_named_and_made_anew(small: Path, tmp_path: Path) -> None:
    folder, before = copied(small, tmp_path), tables_of(small)
    key = Run(folder).manifest["cells"][0]
    flip(folder / "cells" / f"{key}.parquet")
    assert Run(folder).missing == [key]
    with pytest.raises(VlbiasError, match=rf"cell {key} is damaged.*vlbias resume"):
        report(folder, tmp_path / "page", draws=5)
    result = run_plan(small_study(), tmp_path)
    assert (result.done, result.skipped) == (1, 1)
    assert result.notes[0].startswith(f"cell {key} is damaged")
    assert tables_of(folder) == before
    assert run_plan(small_study(), tmp_path).done == 0


@pytest.mark.parametrize("with_sums", [True, False])
def test_another_cell_under_a_cells_name_is_noticed(
    small: Path, tmp_path: Path, with_sums: bool
) -> None:
    folder = copied(small, tmp_path)
    first, second = Run(folder).manifest["cells"]
    shutil.copy(folder / "cells" / f"{second}.parquet", folder / "cells" / f"{first}.parquet")
    if not with_sums:  # as in version 0.1.0
        manifest = json.loads((folder / "manifest.json").read_text())
        write_json(folder / "manifest.json", {
            k: v for k, v in manifest.items() if k not in ("sums", "checksum")})  # fmt: skip
        for path in (folder / "cells").glob("*.sum"):
            path.unlink()
    assert Run(folder).missing == [first]
    with pytest.raises(VlbiasError, match=first):
        tables_of(folder)


def test_a_damaged_table_and_a_damaged_fit_are_made_anew(mitigated: Path, tmp_path: Path) -> None:
    folder, before = copied(mitigated, tmp_path), tables_of(mitigated)
    damaged = [
        "samples.parquet", "cells/*.parquet", "fits/*/mitigation.safetensors", "fits/*/fit.json",
        "overhead/*.json",
    ]  # fmt: skip
    for pattern in damaged:
        path = next(folder.glob(pattern))
        flip(path)
        with pytest.raises(VlbiasError, match="resume"):
            tables_of(folder)
        flip(path)
    for pattern in damaged:
        flip(next(folder.glob(pattern)))
    run_plan(mitigations(), tmp_path)
    now = tables_of(folder)
    assert all(now[name] == before[name] for name in now if name not in ("fits", "overhead"))


def test_a_damaged_manifest_is_refused_and_can_be_made_anew(small: Path, tmp_path: Path) -> None:
    folder, before = copied(small, tmp_path), tables_of(small)
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace('"value": 0.1', '"value": 0.2'))
    with pytest.raises(VlbiasError, match=r"damaged.*move it away"):
        tables_of(folder)
    with pytest.raises(VlbiasError, match=r"damaged.*move it away"):
        run_plan(small_study(), tmp_path)
    (folder / "manifest.json").unlink()
    assert run_plan(small_study(), tmp_path).done == 0
    assert tables_of(folder) == before


def test_a_cell_without_its_checksum_is_not_done(small: Path, tmp_path: Path) -> None:
    folder = copied(small, tmp_path)
    next((folder / "cells").glob("*.sum")).unlink()
    assert len(Run(folder).missing) == 1
    result = run_plan(small_study(), tmp_path)
    assert (result.done, result.notes) == (1, ())


@dataclass(frozen=True)
class Few:
    """Tables of a page."""

    numbers: pd.DataFrame


def written(folder: Path, target: Path, headline: str) -> Page:
    """A page with little on it."""
    make_folder(target, [Run(folder)])
    tables = Few(pd.DataFrame({"of": [headline]}))
    return write_page(
        target, [Reported(Run(folder), tables, Section(Sentence(headline, "any"), [], []))], [], 5
    )


@pytest.mark.parametrize("call", ["replace", "fsync"])
@pytest.mark.parametrize("nth", [0, 3])
def test_a_page_that_cannot_be_written_leaves_the_old_one(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, nth: int
) -> None:
    page = written(small, tmp_path, "first")
    before = contents(tmp_path)
    real: Callable[..., Any] = getattr(os, call)
    left = nth

    def full(*args: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(VlbiasError, match="No space"):
            written(small, tmp_path, "second")
    now = contents(tmp_path)
    assert now[page.html.name] == before[page.html.name]
    assert now.keys() == before.keys(), "something half written is left"


def test_texts_are_on_the_disk_before_any_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda number: (said.append("sync"), sync(number)))
    monkeypatch.setattr(os, "replace", lambda *names: (said.append("replace"), replace(*names)))
    write_texts({tmp_path / "a": "1", tmp_path / "b": "2"})
    assert said == ["sync", "sync", "replace", "replace", "sync"]


def test_a_page_of_somebody_else_is_not_overwritten(small: Path, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<title>My home</title>")
    with pytest.raises(VlbiasError, match=r"no page of vlbias.*-o"):
        report(small, tmp_path, draws=5)
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]
    (tmp_path / "index.html").unlink()
    written(small, tmp_path, "first")
    make_folder(tmp_path, [Run(small)])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("report.json", '{"mine": 1}'),
        ("model-card.md", "# My model"),
        ("tables/toy/numbers.csv", "mine"),
    ],
)
def test_no_file_of_somebody_else_is_overwritten(
    small: Path, tmp_path: Path, name: str, content: str
) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(content)
    with pytest.raises(VlbiasError, match=r"no page of vlbias.*-o"):
        report(small, tmp_path, draws=5)
    assert contents(tmp_path) == {name: content.encode()}
