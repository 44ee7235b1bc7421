from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from vlbias.errors import BadTable, MissingArms, UnknownName
from vlbias.files import write_json
from vlbias.store import cell_writer as store
from vlbias.store.cell_writer import SCHEMA, SCHEMA_VERSION, CellWriter, cell_key
from vlbias.store.run_folder import Run

SAMPLES = [(f"photo/{i}", f"cluster/{i // 2}") for i in range(6)]
TARGETS = ("person", "cup", "dog")
ARMS = [("", "00"), ("", "11"), ("image_encoder", "01"), ("image_encoder", "10")]


def names(mediator: str, arm: str, contrast: str = "null->both") -> dict[str, str]:
    return {"contrast": contrast, "mediator": mediator, "arm": arm, "outcome": "presence"}


def values(seed: int, rows: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, len(TARGETS))).astype(np.float32)


def writer(folder: Path, key: str, samples: list[tuple[str, str]]) -> CellWriter:
    return CellWriter(folder, key, model="tiny", mitigation="none", samples=samples)


def make_run(folder: Path, arms: list[tuple[str, str]] = ARMS, **manifest: Any) -> Path:
    (folder / "cells").mkdir(parents=True)
    for cell, key in enumerate(("one", "two")):
        part = writer(folder, key, SAMPLES[3 * cell : 3 * cell + 3])
        for number, (mediator, arm) in enumerate(arms):
            status = ["ok", "misaligned", "ok"] if mediator else None
            value = values(10 * cell + number)
            value[1] = np.nan if mediator else value[1]
            part.add(names(mediator, arm), [0, 1, 2], TARGETS, value, status=status)
        assert part.close() == 9 * len(arms)
    pd.DataFrame({"sample_id": [s for s, _ in SAMPLES], "cluster": [c for _, c in SAMPLES]}
                 ).to_parquet(folder / "samples.parquet")  # fmt: skip
    pd.DataFrame([("photo/1", "cup"), ("photo/5", "person")], columns=["sample_id", "target"]
                 ).to_parquet(folder / "present.parquet")  # fmt: skip
    content = {"schema": SCHEMA_VERSION, "cells": ["one", "two"], "targets": list(TARGETS)}
    write_json(folder / "manifest.json", {**content, **manifest})
    return folder


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    run = Run(make_run(tmp_path / "run"))
    for number, (mediator, arm) in enumerate(ARMS):
        slab = run.slab("null->both", mediator or "image_encoder", arm)
        expected = np.concatenate([values(number), values(10 + number)])
        if mediator:
            expected[[1, 4]] = np.nan
        np.testing.assert_array_equal(slab, expected)
    frame = run.frame()
    assert list(frame.columns) == SCHEMA.names
    assert len(frame) == 6 * 3 * len(ARMS)
    row = frame[(frame.sample_id == "photo/4") & (frame.arm == "01") & (frame.target == "dog")]
    assert row[["status", "cluster", "model", "mitigation", "cell"]].iloc[0].tolist() == [
        "misaligned", "cluster/2", "tiny", "none", "two",
    ]  # fmt: skip
    assert row["value"].isna().all()
    assert (frame["weight"] == 1).all()


def test_the_run_tells_its_parts(tmp_path: Path) -> None:
    run = Run(make_run(tmp_path / "run"))
    assert run.mediators("null->both") == ["image_encoder"]
    assert [mediator for mediator, _, _ in run.arms("null->both")] == ["image_encoder"]
    assert np.argwhere(run.present).tolist() == [[1, 1], [5, 0]]
    counts = run.statuses.set_index(["mediator", "status"])["count_all"].to_dict()
    assert counts == {
        ("", "ok"): 36,
        ("image_encoder", "ok"): 24,
        ("image_encoder", "misaligned"): 12,
    }
    assert run.missing == []
    (run.folder / "cells" / "two.parquet").unlink()
    assert Run(run.folder).missing == ["two"]


def test_weights_are_kept(tmp_path: Path) -> None:
    (tmp_path / "cells").mkdir()
    part = writer(tmp_path, "key", SAMPLES[:1])
    part.add(names("", "00"), [0], TARGETS, values(0, 1), weight=np.array([[0, 2, 0.5]]))
    part.close()
    assert pq.read_table(part.path)["weight"].to_pylist() == [0, 2, 0.5]


def test_one_number_s_slots_are_not_mixed_up(tmp_path: Path) -> None:
    """Rows may come in any order of samples, contrast by contrast."""
    (tmp_path / "run" / "cells").mkdir(parents=True)
    folder = make_run(tmp_path / "other")
    part = writer(folder, "two", SAMPLES[3:])
    part.add(names("", "00", "null->text"), [2, 0], TARGETS, values(1, 2))
    part.add(names("", "00"), [1, 0, 2], TARGETS, values(2))
    part.close()
    run = Run(folder)
    np.testing.assert_array_equal(run.slab("null->text", "", "00")[[5, 3]], values(1, 2))
    np.testing.assert_array_equal(run.slab("null->both", "", "00")[[4, 3, 5]], values(2))
    assert np.isnan(run.slab("null->text", "", "00")[[0, 1, 2, 4]]).all()


@pytest.mark.parametrize("step", ["write_table", "replace"])
def test_a_cell_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    (tmp_path / "cells").mkdir()
    part = writer(tmp_path, "key", SAMPLES[:3])
    part.add(names("", "00"), [0, 1, 2], TARGETS, values(0))

    def fails(*args: Any, **_: Any) -> None:
        if step == "write_table":
            Path(args[1]).write_bytes(b"PAR1 half of it")
        raise OSError("no space left")

    where: Any = store.pq if step == "write_table" else os
    with monkeypatch.context() as patch:
        patch.setattr(where, step, fails)
        with pytest.raises(OSError, match="no space"):
            part.close()
    assert list((tmp_path / "cells").iterdir()) == []
    assert part.close() == 9
    assert [path.name for path in (tmp_path / "cells").iterdir()] == ["key.parquet"]


def test_a_json_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    write_json(path, {"old": 1})

    class Unwritable:
        def __str__(self) -> str:
            raise RuntimeError("cannot be written")

    with pytest.raises(RuntimeError):
        write_json(path, {"new": Unwritable()})
    assert json.loads(path.read_text()) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["manifest.json"]


@pytest.mark.parametrize("version", [SCHEMA_VERSION + 1, 0, None])
def test_a_table_of_another_version_is_refused(tmp_path: Path, version: int | None) -> None:
    folder = make_run(tmp_path / "run", schema=version)
    with pytest.raises(BadTable, match=str(version)):
        Run(folder)


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadTable, match=r"manifest\.json"):
        Run(tmp_path)
    (tmp_path / "manifest.json").write_text('{"schema": ')
    with pytest.raises(BadTable, match="manifest"):
        Run(tmp_path)


def test_what_is_not_in_the_table_is_said(tmp_path: Path) -> None:
    run = Run(make_run(tmp_path / "run", [*ARMS[:3]]))
    with pytest.raises(UnknownName) as caught:
        run.slab("null->bth", "image_encoder", "01")
    assert caught.value.suggestions == ("null->both",)
    with pytest.raises(UnknownName) as caught:
        run.slab("null->both", "image_encodr", "01")
    assert caught.value.suggestions == ("image_encoder",)
    with pytest.raises(MissingArms, match="10"):
        run.slab("null->both", "image_encoder", "10")
    (run.folder / "cells" / "two.parquet").unlink()
    with pytest.raises(MissingArms, match="resume"):
        Run(run.folder).slab("null->both", "image_encoder", "10")


def test_a_row_takes_fewer_than_ten_bytes(tmp_path: Path) -> None:
    """Random numbers are the worst case: nothing of the values can be compressed away."""
    (tmp_path / "cells").mkdir()
    samples = [(f"coco-val2017/{i}", f"coco-val2017/{i}") for i in range(8)]
    targets = tuple(f"class {i}" for i in range(80))
    rng, part = np.random.default_rng(0), writer(tmp_path, "key", samples)
    for contrast in ("null->both", "null->mask-gender"):
        for mediator in (f"image_encoder/head.{i // 6}[{i % 6}]" for i in range(24)):
            for arm in ("01", "10"):
                value = rng.normal(size=(8, 80)).astype(np.float32)
                part.add(names(mediator, arm, contrast), list(range(8)), targets, value)
    rows = part.close()
    assert rows == 8 * 80 * 24 * 4
    assert part.path.stat().st_size / rows < 10


def test_a_cell_s_key_depends_on_all_that_determines_it() -> None:
    given = {"model": "a", "seed": 0}
    assert cell_key(given) == cell_key({"seed": 0, "model": "a"})
    assert len({cell_key(given), cell_key({**given, "seed": 1}), cell_key({"model": "a"})}) == 3
