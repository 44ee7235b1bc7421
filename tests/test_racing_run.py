"""Raced runs of texts: exact in what they run, the same however they are run, and said on the page."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from explained import Heads, unexplained
from tiny_language import write_language
from tiny_photos import write_study

from vlbias.errors import BadStudy, BadTable
from vlbias.runs import rounds
from vlbias.store.run_folder import Run
from vlbias.studies.arms import racing
from vlbias.studies.arms.raced_units import race_of
from vlbias.studies.arms.study import Racing
from vlbias.studies.language.numbers.racing import log_odds_changes
from vlbias.studies.lifecycle import make_plan, parse_study, read_study, run_plan, study_of
from vlbias.studies.reporting import report

CONTRAST, OUTCOME = "null->cf", "log-odds"


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A study of 45 texts whose worlds have as many tokens."""
    folder = tmp_path_factory.mktemp("raced")
    words = ["nurse", "doctor", "clerk", "person", "woman"]
    lines = []
    for first, other, verb in product(words, words[:3], ["told", "ate", "ran"]):
        text = f"The {{}} {verb} the {other} because"
        worlds = {"null": text.format(first), "cf": text.format("man")}
        name = f"{first} {verb} {other}"
        lines.append({"id": name, "worlds": worlds, "candidates": ["he", "she"]})
    path = folder / "texts.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    return {
        "kind": "language",
        "name": "raced",
        "model": str(write_language("gpt2", folder / "gpt2")),
        "contrasts": [CONTRAST],
        "mediators": ["lm/head.*[*]", "lm/mlp.*"],
        "shard_size": 8,
        "dataset": {
            "name": "texts", "path": str(path), "splits": ["test"], "groups": ["all"],
        },
        "racing": {"keep": 1, "rounds": 2, "miss": 0.3},
    }  # fmt: skip


def run(content: dict[str, Any], out: Path, **options: Any) -> Run:
    return Run(run_plan(make_plan(parse_study(content)), out, **options).folder)


def values(run: Run) -> dict[tuple[str, str], Any]:
    return {
        (mediator, arm): pd.DataFrame(run.slab(CONTRAST, mediator, arm, OUTCOME), run.samples["sample_id"])
        for mediator in run.mediators(CONTRAST, OUTCOME)
        for arm in ("01", "10")
    }  # fmt: skip


@pytest.mark.integration
def test_a_raced_run_is_exact_and_is_told(content: dict[str, Any], tmp_path: Path) -> None:
    raced = run(content, tmp_path)
    every = run({**content, "racing": None, "name": "every"}, tmp_path)
    own, whole = values(raced), values(every)
    assert own.keys() == whole.keys()
    late = raced.samples["round"].to_numpy().astype(int) == 2
    page = report(raced.folder, draws=20)
    table = pd.read_csv(page.tables / "raced" / "racing.csv").set_index("mediator")
    left = set(table.index[table["left"] == 1])
    assert 0 < len(left) < 12
    for (mediator, arm), frame in own.items():
        gone = late & (mediator in left)
        assert np.isnan(frame.to_numpy()[gone]).all()
        np.testing.assert_allclose(
            frame[~gone], whole[mediator, arm].loc[frame.index][~gone], atol=1e-5
        )
    assert (table.loc[sorted(left), "n"] == (~late).sum()).all()
    assert Heads(page.html).codes() == set()
    assert unexplained(page.tables) == set()
    assert "Units were raced in 2 rounds" in page.html.read_text()
    effects = pd.read_csv(page.tables / "raced" / "effects.csv")
    rows = effects[(effects["effect"] == "NIE") & (effects["samples"] == "all")]
    units = rows[rows["mediator"].isin(table.index)]
    log = units[units["summary"] == "log"].set_index("mediator")["p_adjusted"]
    np.testing.assert_allclose(log, table["p_adjusted"].reindex(log.index))
    assert units.loc[units["summary"] != "log", "p_adjusted"].isna().all()


@pytest.mark.integration
def test_shards_and_a_resumed_run_give_the_same(
    content: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = values(run(content, tmp_path / "whole"))
    monkeypatch.setattr(rounds, "SECONDS_WAITED", -1.0)
    with pytest.raises(BadTable, match="other processes"):
        run(content, tmp_path / "two", shard=(0, 2))
    folder = tmp_path / "two" / "raced"
    assert Run(folder).missing, "the second round has not begun"
    run(content, tmp_path / "two", shard=(1, 2))
    again = run_plan(make_plan(study_of(folder)), tmp_path / "two", shard=(0, 2))
    assert again.done > 0
    assert not Run(folder).missing
    for name, frame in values(Run(folder)).items():
        pd.testing.assert_frame_equal(frame, whole[name])
    # what decides who leaves is believed as little as a cell
    (kept,) = (folder / "racing").glob("*.parquet")
    written = kept.read_bytes()
    refused = 0
    for place in range(len(written) // 60, len(written), len(written) // 30):
        kept.write_bytes(written[:place] + bytes([written[place] ^ 1]) + written[place + 1 :])
        try:
            race_of(Run(folder), CONTRAST, log_odds_changes)
        except BadTable:
            refused += 1
    assert refused > 15, "most of 30 flips are in numbers; the others are in names of the writer"


def test_races_that_cannot_be_run(content: dict[str, Any]) -> None:
    for change, match in (
        ({"racing": {"rounds": 4}}, "fewer rounds"),
        ({"mediators": ["lm/mlp.*"]}, "units"),
        ({"screen": 0.5}, "beside"),
        ({"outcomes": ["candidate-logprob"]}, "log-odds"),
    ):
        with pytest.raises(BadStudy, match=match):
            make_plan(parse_study({**content, **change}))
    with pytest.raises(BadStudy, match="keep"):
        parse_study({**content, "racing": {"keep": 0}})


@pytest.mark.integration
def test_raced_photos_choose_nothing(
    model_folder: Callable[[str], Path],
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Photos that set thresholds give the directions of the gaps; the others are raced."""
    monkeypatch.setattr(racing, "_LEAST", 2)
    path = write_study(tmp_path / "study.toml", model_folder("dinov2-bert"), photos)
    study: Any = read_study(path)
    point = study.operating_point.model_copy(update={"report": ("test",)})
    race = Racing(keep=1, rounds=2, miss=0.4)
    heads = {"mediators": ("image_encoder/head.*[*]", "image_encoder"), "racing": race}
    with pytest.raises(BadStudy, match="photos that are not reported"):
        make_plan(study.model_copy(update=heads))
    study = study.model_copy(update={**heads, "operating_point": point})
    raced = Run(run_plan(make_plan(study), tmp_path).folder)
    whole = study.model_copy(update={"racing": None, "name": "whole"})
    every = Run(run_plan(make_plan(whole), tmp_path).folder)
    place = {name: row for row, name in enumerate(every.samples["sample_id"])}
    rows = [place[name] for name in raced.samples["sample_id"]]
    assert raced.samples["round"].eq("0").tolist() == raced.samples["split"].ne("test").tolist()
    page = report(raced.folder, draws=30)
    table = pd.read_csv(page.tables / raced.folder.name / "racing.csv")
    assert (table["left"] == 1).any()
    for contrast, part in table.groupby("contrast"):
        left = dict(zip(part["mediator"], part["left"], strict=True))
        for mediator in raced.mediators(str(contrast)):
            own = raced.slab(str(contrast), mediator, "01")
            there = ~np.isnan(own)
            np.testing.assert_allclose(
                own[there], every.slab(str(contrast), mediator, "01")[rows][there], atol=1e-5
            )
            if left.get(mediator, 0) == 0:
                continue
            late = raced.samples["round"].eq("2").to_numpy()
            assert np.isnan(own[late]).all() or mediator in _running(table)
    assert "Units were raced in 2 rounds" in page.html.read_text()
    assert unexplained(page.tables) == set()


def _running(table: pd.DataFrame) -> set[str]:
    """Units that are left in any contrast: they are run in all."""
    return set(table.loc[table["left"] == 0, "mediator"])
