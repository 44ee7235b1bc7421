"""A study of planted models counts who is right, goes on after a kill, and has a page."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from vlbias import cli
from vlbias.errors import BadStudy, BadTable, UnknownName
from vlbias.runs.events import Events
from vlbias.store.run_folder import Run
from vlbias.studies import lifecycle
from vlbias.studies.planted import benchmark as benchmark_module
from vlbias.studies.planted import work
from vlbias.studies.planted.benchmark import Benchmark, benchmark_planted
from vlbias.studies.planted.numbers import judge, summary
from vlbias.studies.planted.plan import make_plan
from vlbias.studies.planted.plants import FAMILIES
from vlbias.studies.planted.study import Study
from vlbias.studies.reporting import report

SMALL = {"seeds": 2, "photos": 200, "draws": 100}


def written(folder: Path) -> dict[str, int]:
    """Name of every cell file, and when it was written."""
    return {path.name: path.stat().st_mtime_ns for path in (folder / "cells").glob("*.json")}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    """A small benchmark that was killed after two cells and went on."""
    out = tmp_path_factory.mktemp("benchmark")
    steps: list[tuple[int, int]] = []

    def stop(done: int, total: int, _: int) -> None:
        steps.append((done, total))
        if done == 2:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "sched_getaffinity", lambda _: {0})  # one process: two cells are two
        with pytest.raises(KeyboardInterrupt):
            benchmark_planted(out, **SMALL, events=Events(cells=stop))
    assert steps == [(1, 14), (2, 14)]
    before = written(out / "planted-dual")
    assert len(before) == 2
    found = benchmark_planted(out, **SMALL)
    assert before.items() <= written(out / "planted-dual").items()
    return found


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    """The study of the small benchmark as a file."""
    path = tmp_path / "planted.toml"
    keys = {"kind": "planted", "name": "planted-dual", "family": "dual", **SMALL}
    path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items()))
    return path


def test_a_summary_counts_what_is_right_and_shares_what_is_wrong() -> None:
    cells = [
        # plant, seed, change of image and of text, named image and text
        ("image", 0, -0.9, -0.1, True, False),
        ("image", 1, -0.8, 0.2, True, True),
        ("unbiased", 0, 0.0, 0.0, False, False),
        ("unbiased", 1, -0.1, 0.0, True, False),
    ]
    table = pd.DataFrame(
        [
            {
                "method": "m",
                "plant": p,
                "seed": s,
                "encoder": e,
                "printed": 1.0,
                "change": c,
                "named": n,
            }
            for p, s, *rest in cells
            for e, c, n in zip(("image_encoder", "text_encoder"), rest[:2], rest[2:], strict=True)
        ]
    )
    found = summary(judge(table)).set_index("plant")
    assert found.loc["image", ["right", "seeds"]].tolist() == [1, 2]
    assert found.loc["image", "wrong_share"] == pytest.approx(0.15)
    assert found.loc["image", "lo"] == 0.0
    # two shares, .1 and .2, so Student's limits with one degree of freedom
    assert found.loc["image", "hi"] == pytest.approx(0.15 + 12.706 * 0.05, abs=1e-3)
    assert found.loc["unbiased", ["right", "seeds"]].tolist() == [1, 2]
    assert np.isnan(found.loc["unbiased", "wrong_share"])


@pytest.mark.integration
def test_the_benchmark_goes_on_where_it_was(found: Benchmark) -> None:
    assert set(found.table["method"]) == {"effects", "percent change", "gradient"}
    assert len(found.table) == 14 * 3 * 2
    pd.testing.assert_frame_equal(
        pd.read_csv(found.path), found.table, check_dtype=False, rtol=1e-12
    )
    image = found.table[(found.table["plant"] == "image") & (found.table["method"] == "effects")]
    share = image.groupby("encoder")["change"].mean()
    assert share["image_encoder"] < -0.5
    assert abs(share["text_encoder"]) < 0.2 * abs(share["image_encoder"])


@pytest.mark.integration
def test_a_study_file_runs_as_any_other_and_a_lost_cell_is_computed_anew(
    found: Benchmark, study_file: Path
) -> None:
    folder = found.path.parent
    before = written(folder)
    whole = lifecycle.run(study_file, folder.parent)
    assert (whole.folder, whole.done, whole.skipped) == (folder, 0, 14)
    lost = Run(folder).files[3]
    content = lost.read_text()
    lost.unlink()
    assert Run(folder).missing == [lost.stem]
    again = lifecycle.run(study_file, folder.parent)
    assert (again.done, again.skipped, again.failed) == (1, 13, ())
    after = written(folder)
    assert {name for name in after if after[name] != before[name]} == {lost.name}
    said, known = (pd.DataFrame(json.loads(text)) for text in (lost.read_text(), content))
    pd.testing.assert_frame_equal(said, known, rtol=1e-4)  # threads may add up in another order


@pytest.mark.integration
def test_a_model_that_cannot_be_scored_is_said_to_be_one(
    found: Benchmark, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = found.path.parent
    lost = Run(folder).files[0]
    lost.unlink()

    def breaks(_: object) -> None:
        raise ValueError("no slope")

    with monkeypatch.context() as patch:
        patch.setitem(work.METHODS, "gradient", breaks)
        with pytest.raises(BadTable, match=r"1 of 14 cells are missing.*vlbias resume"):
            benchmark_planted(folder.parent, **SMALL)
    error = lost.with_suffix(".error.json")
    about = json.loads(error.read_text())
    assert (about["error"], about["samples"]) == ("ValueError: no slope", ["image/0"])
    benchmark_planted(folder.parent, **SMALL)
    assert lost.is_file()
    assert not error.exists()


@pytest.mark.integration
def test_the_page_says_which_method_names_the_right_encoder(
    found: Benchmark, tmp_path: Path
) -> None:
    page = report(found.path.parent, tmp_path)
    rows = found.summary[found.summary["method"] == "effects"].set_index("plant")
    biased = int(rows.loc[["image", "text", "both"], "right"].sum())
    quiet = int(rows.loc["unbiased", "right"])
    assert f"Effects names exactly the planted encoders in {biased} of 6 sets" in page.summary
    assert f"none in {quiet} of 8 where there is no bias" in page.summary
    text = page.html.read_text()
    for said in (
        "Percent change names exactly",
        "Gradient names exactly",
        "How often each method is right",
        "What is put down to the wrong encoder",
        "their scenes are not photos",
        "<svg",
    ):
        assert said in text
    tables = page.tables / "planted-dual"
    shown = pd.read_csv(tables / "summary.csv")
    pd.testing.assert_frame_equal(shown, found.summary, check_dtype=False, rtol=1e-12)
    assert len(pd.read_csv(tables / "methods.csv")) == len(found.table)


def test_a_folder_takes_more_sets_of_its_family_and_no_other_family(tmp_path: Path) -> None:
    small, large, other = (
        work.Work(make_plan(Study(name="planted", **keys)), tmp_path)
        for keys in ({"seeds": 2}, {"seeds": 3}, {"family": "detector"})
    )
    keys = [{cell.key for cell in one.cells} for one in (small, large, other)]
    assert keys[0] < keys[1]
    assert not keys[1] & keys[2]
    before = small.manifest()
    more = large.resumed(before, large.manifest())
    assert more is not None
    assert (len(more["cells"]), more["created"]) == (3 * 3 + 12, before["created"])
    assert other.resumed(before, other.manifest()) is None


def test_studies_of_different_seeds_have_different_scenes() -> None:
    first, second = (make_plan(Study(name="planted", seed=seed)) for seed in (0, 1))
    assert [part.seed for part in first.parts[:5]] == [0, 1, 2, 3, 4]
    assert not {part.seed for part in first.parts} & {part.seed for part in second.parts}
    assert "20 without bias" in first.funnel


def test_what_cannot_be_scored_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownName, match="dual"):
        benchmark_planted(tmp_path, family="duel")
    with pytest.raises(BadStudy, match="seeds"):
        benchmark_planted(tmp_path, seeds=1)
    with pytest.raises(BadStudy, match="photos"):
        benchmark_planted(tmp_path, photos=20)
    with pytest.raises(BadStudy, match="known keys"):
        lifecycle.parse_study({"kind": "planted", "name": "planted", "photo": 200})
    monkeypatch.setitem(FAMILIES, "promised", "template")
    with pytest.raises(BadStudy, match="there is no planted-promised-image, planted-promised-text"):
        benchmark_planted(tmp_path, family="promised")


def test_the_command_prints_what_was_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    row = {"method": "effects", "plant": "image", "right": 4, "seeds": 5, "printed": 1.25}
    rows = pd.DataFrame([{**row, "wrong_share": 0.012, "lo": 0.0, "hi": 0.031}])
    asked = {}

    def score(out: Path, **options: object) -> Benchmark:
        asked.update(options)
        return Benchmark(rows, rows, out / "benchmark.csv")

    monkeypatch.setattr(benchmark_module, "benchmark_planted", score)
    command = ["benchmark", "planted", "--seeds", "3", "--out", str(tmp_path)]
    printed = CliRunner().invoke(cli.app, command).stdout
    assert (asked["family"], asked["seeds"], asked["photos"]) == ("dual", 3, 1000)
    for said in ("effects", "1.250", "0.012", "0.031", "benchmark.csv"):
        assert said in printed
    wrong = CliRunner().invoke(cli.app, ["benchmark", "plnted"])
    assert wrong.exit_code == 2
    assert "plnted" in wrong.output
