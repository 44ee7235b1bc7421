from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from commands import contents

from vlbias.causal.engine import Arm, Engine
from vlbias.causal.example import Example
from vlbias.errors import BadStudy, BadTable
from vlbias.runs.events import Events
from vlbias.store import cell_writer as store
from vlbias.store.run_folder import Run
from vlbias.studies import lifecycle
from vlbias.studies.lifecycle import run_plan

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[1]
CELLS = 6
StudyFile = Callable[..., Path]


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory,
    model_folder: Callable[[str], Path],
    photos: Path,
) -> Path:
    """A run folder of the tiny study; no test may change it."""
    import tiny_photos

    out = tmp_path_factory.mktemp("whole")
    study = tiny_photos.write_study(out / "study.toml", model_folder("dinov2-bert"), photos)
    return lifecycle.run(study, out).folder


def table(folder: Path) -> pd.DataFrame:
    return Run(folder).frame()


def assert_same_table(one: Path, other: Path) -> None:
    pd.testing.assert_frame_equal(
        table(one).astype({"cell": str}),
        table(other).astype({"cell": str}),
        check_categorical=False,
    )


def test_the_run_folder_holds_what_was_asked(whole: Path) -> None:
    run, study = Run(whole), lifecycle.study_of(whole)
    frame = run.frame()
    assert run.missing == []
    assert len(run.manifest["cells"]) == CELLS
    assert len(frame) == run.manifest["rows"]
    assert set(frame["contrast"]) == set(study.contrasts)
    heads = {f"image_encoder/head.{layer}[{unit}]" for layer in range(3) for unit in range(2)}
    assert heads <= set(run.mediators("null->both"))
    assert "text_encoder/mlp.0" not in run.mediators("null->mask-gender")
    assert not (set(run.mediators("null->replace-gender")) & heads)
    assert run.manifest["mediators"]["image_encoder"]["cut"]
    assert not run.manifest["mediators"]["text_encoder/mlp.1"]["cut"]
    assert run.manifest["model"]["revision"].startswith("sha256:")
    assert run.manifest["paper_unknowns"]["U5 groups"].startswith("read from captions: ")
    assert sorted(run.samples["group"].value_counts().to_dict().items()) == [
        ("feminine", 12), ("masculine", 12),
    ]  # fmt: skip
    assert frame["status"].isin(["ok"]).all()


def test_arms_obey_their_laws_on_the_stored_table(whole: Path) -> None:
    run = Run(whole)
    frame = run.frame(["contrast", "mediator", "arm", "sample_id", "target", "value"])
    null = frame[frame["contrast"] == "null->null"]
    wide = null.pivot_table(
        index=["sample_id", "target"], columns=["mediator", "arm"], values="value", observed=True
    )
    assert wide.shape[1] == 2 + 2 * len(run.manifest["mediators"])
    assert (wide.sub(wide["", "00"], axis=0) == 0).all(axis=None), "null->null is exactly zero"
    for contrast, tower in (("mask-gender", "image"), ("replace-gender", "text")):
        swapped = run.slab("null->both", f"{tower}_encoder", "01")
        np.testing.assert_array_equal(swapped, run.slab(f"null->{contrast}", "", "11"))
    assert (run.slab("null->both", "", "11") != run.slab("null->both", "", "00")).any()


def test_killed_three_times_and_resumed_gives_the_same_table(
    tmp_path: Path, study_file: StudyFile
) -> None:
    script = [sys.executable, str(ROOT / "tests" / "killed_runs.py"), str(study_file())]
    answer = subprocess.run(
        [*script, str(tmp_path / "killed"), str(tmp_path / "whole")],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=environment(),
    )
    assert answer.returncode == 0, answer.stderr[-3000:]
    said = answer.stdout.splitlines()
    assert said[:3] == ["between_cells 1", "inside_a_cell 2", "half_written 2"], said
    assert said[3:5] == [f"done {CELLS - 2} skipped 2", f"done {CELLS} skipped 0"]
    assert said[5:] == ["workers 2 left over 0 True"], "workers outlive a killed run"
    assert_same_table(tmp_path / "killed" / "tiny", tmp_path / "whole" / "tiny")


def environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT)}


def test_two_shards_together_are_one_run(
    tmp_path: Path, study_file: StudyFile, whole: Path
) -> None:
    plan = lifecycle.make_plan(lifecycle.read_study(study_file()))
    first = run_plan(plan, tmp_path, shard=(0, 2))
    assert (first.done, len(Run(first.folder).missing)) == (3, 3)
    second = run_plan(plan, tmp_path, shard=(1, 2))
    assert (second.done, second.skipped) == (3, 0)
    assert_same_table(second.folder, whole)
    again = run_plan(plan, tmp_path)
    assert (again.done, again.skipped) == (0, CELLS)


def test_workers_give_what_one_process_gives(
    tmp_path: Path, study_file: StudyFile, whole: Path
) -> None:
    """Up to rounding: a matrix product depends on the number of threads."""
    seen: list[tuple[int, int, int]] = []
    plan = lifecycle.make_plan(lifecycle.read_study(study_file()))
    events = Events(cells=lambda *state: seen.append(state))
    result = run_plan(plan, tmp_path, workers=2, events=events)
    assert (result.done, result.failed) == (CELLS, ())
    assert [done for done, _, _ in seen] == list(range(1, CELLS + 1))
    one, other = table(result.folder), table(whole)
    names = ["sample_id", "contrast", "mediator", "arm", "target", "status"]
    pd.testing.assert_frame_equal(one[names], other[names], check_categorical=False)
    np.testing.assert_allclose(one["value"], other["value"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("shard", [(2, 2), (-1, 2), (0, 0)])
def test_a_shard_that_is_no_part(
    tmp_path: Path, study_file: StudyFile, shard: tuple[int, int]
) -> None:
    plan = lifecycle.make_plan(lifecycle.read_study(study_file()))
    with pytest.raises(BadStudy) as caught:
        run_plan(plan, tmp_path, shard=shard)
    assert caught.value.field == "shard"


def test_a_cell_that_fails_is_recorded_and_run_again(
    tmp_path: Path, study_file: StudyFile, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = lifecycle.make_plan(lifecycle.read_study(study_file()))
    bad = plan.cells[2][0].id
    run = Engine.run

    def fails(self: Engine, examples: Sequence[Example], **options: bool) -> Iterator[Arm]:
        for number, arm in enumerate(run(self, examples, **options)):
            if examples[0].id == bad and number == 3:
                raise RuntimeError("the accelerator fell over")
            yield arm

    seen: list[tuple[int, int, int]] = []
    with monkeypatch.context() as patch:
        patch.setattr(Engine, "run", fails)
        result = run_plan(plan, tmp_path, events=Events(cells=lambda *state: seen.append(state)))
    assert (result.done, len(result.failed)) == (CELLS - 1, 1)
    assert [done for done, _, _ in seen] == list(range(1, CELLS + 1))
    error = result.folder / "cells" / f"{result.failed[0]}.error.json"
    content = json.loads(error.read_text())
    assert content["error"] == "RuntimeError: the accelerator fell over"
    assert bad in content["samples"]
    assert Run(result.folder).missing == list(result.failed)
    again = run_plan(plan, tmp_path)
    assert (again.done, again.failed) == (1, ())
    assert not error.exists()
    assert_same_table(again.folder, whole)


def test_a_disk_that_fills_up_stops_the_run_and_keeps_its_cells(
    tmp_path: Path, study_file: StudyFile, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = lifecycle.make_plan(lifecycle.read_study(study_file()))
    write = store.pq.write_table
    written: list[Path] = []

    def fills(table: Any, path: Path, **options: Any) -> None:
        written.extend([path] if isinstance(path, Path) else [])  # only cells are written by path
        if len(written) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(table, path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(store.pq, "write_table", fills)
        with pytest.raises(BadTable, match="full"):
            run_plan(plan, tmp_path)
    assert len(list((tmp_path / "tiny" / "cells").glob("[!.]*.parquet"))) == 2
    assert run_plan(plan, tmp_path).done == CELLS - 2
    assert_same_table(tmp_path / "tiny", whole)


def test_another_study_of_the_same_name_is_refused_and_harms_nothing(
    tmp_path: Path, study_file: StudyFile
) -> None:
    folder = lifecycle.run(study_file(('"text_encoder", ', "")), tmp_path).folder
    before = contents(folder)
    with pytest.raises(BadStudy, match="another study") as caught:
        lifecycle.run(study_file(), tmp_path)
    assert caught.value.given == "tiny"
    assert contents(folder) == before


def test_another_operating_point_needs_no_cell_again(tmp_path: Path, study_file: StudyFile) -> None:
    lifecycle.run(study_file(), tmp_path)
    result = lifecycle.run(study_file(("min_negatives = 1", "min_negatives = 3")), tmp_path)
    assert (result.done, result.skipped) == (0, CELLS)
    assert lifecycle.study_of(result.folder).operating_point.min_negatives == 3


def test_what_determines_the_numbers_changes_the_cells(
    whole: Path, study_file: StudyFile, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    import shutil

    from vlbias.studies.bias.work import Work

    def keys_of(path: Path, **overrides: Any) -> list[str]:
        plan = lifecycle.make_plan(lifecycle.read_study(path, **overrides))
        return [cell.key for cell in Work(plan, tmp_path).cells]

    keys = keys_of(study_file())
    assert keys == Run(whole).manifest["cells"]
    other = tmp_path / "dinov2-bert"
    shutil.copytree(model_folder("dinov2-bert"), other)
    processor = other / "preprocessor_config.json"
    content = json.loads(processor.read_text())
    processor.write_text(json.dumps({**content, "image_mean": [0.1, 0.2, 0.3]}))
    assert keys_of(study_file(), model=str(other)) != keys, "pixels are normalised otherwise"
    for change in (("mediator_batch = 32", "mediator_batch = 16"),
                   ("[dataset]", "[dataset.labels]\nheld_out = 0\n[dataset]"),
                   ("shard_size = 4", 'prompt = "custom:{person} {object}"\nshard_size = 4')):  # fmt: skip
        same = set(keys_of(study_file(change))) & set(keys)
        assert not same or "held_out" in change[1]


def test_limit_takes_a_random_part_under_a_name_of_its_own(
    tmp_path: Path, study_file: StudyFile
) -> None:
    study = lifecycle.read_study(study_file(), limit=8)
    result = lifecycle.run(study, tmp_path)
    assert (result.folder.name, result.done) == ("tiny-limit8", 2)
    assert len(Run(result.folder).samples) == 8
