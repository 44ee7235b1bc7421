"""The page and its numbers, on the toy, whose answer is known."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from toy_studies import toy_study

from vlbias.analysis.disparity import disparity
from vlbias.analysis.functionals import crossfit
from vlbias.analysis.rates import measure_rates
from vlbias.errors import BadTable
from vlbias.report.csv_files import read_table
from vlbias.report.funnel import funnel
from vlbias.store.run_folder import Run
from vlbias.studies.bias import figures
from vlbias.studies.bias.numbers.exactness import exactness
from vlbias.studies.bias.numbers.families import statements
from vlbias.studies.bias.numbers.sensitivity import sensitivity
from vlbias.studies.bias.numbers.strictness import strictness
from vlbias.studies.bias.numbers.worlds import disparity_of
from vlbias.studies.bias.page import funnel_steps
from vlbias.studies.bias.sentences import bias_in_words, floor_in_words
from vlbias.studies.lifecycle import run_plan
from vlbias.studies.photos.scores import PresenceScores, presence_map
from vlbias.studies.reporting import report


@pytest.fixture(scope="module")
def run(toy_folder: Path) -> Run:
    return Run(toy_folder)


@pytest.fixture(scope="module")
def page(run: Run) -> tuple[Path, dict[str, pd.DataFrame]]:
    written = report(run.folder, draws=200)
    tables = {
        path.stem: read_table(path)
        for path in (written.tables / "toy").glob("*.csv")
        if path.stat().st_size > 1
    }
    return written.html, tables


@pytest.mark.integration
def test_page_is_self_contained(page: tuple[Path, dict[str, pd.DataFrame]]) -> None:
    html = page[0].read_text()
    outside = set(re.findall(r"""(?:src|href)=["'](?!#)([^"']+)""", html))
    assert not outside, f"the page asks for {outside}"
    assert page[0].stat().st_size < 3e6
    assert html.count("<h1") == 1
    assert '<th scope="col">' in html
    assert html.count('role="img"') == html.count("<svg")
    assert "{{" not in html


def test_exactness_checks_hold(page: tuple[Path, dict[str, pd.DataFrame]]) -> None:
    checks = page[1]["checks"]
    assert len(checks) == 3
    assert checks["holds"].all(), checks


def test_masking_finds_the_planted_cue(page: tuple[Path, dict[str, pd.DataFrame]]) -> None:
    effects = page[1]["effects"]
    total = effects[(effects["mediator"] == "") & (effects["functional"] == "score_gap_lin")]
    total = total.set_index("contrast")["estimate"]
    assert total["null->mask-gender"] < 2 * abs(total["null->placebo-image"]) * -1
    assert total["null->both"] < total["null->mask-gender"] < total["null->replace-gender"] < 0
    assert total["null->null"] == 0


def test_effects_can_be_recomputed_from_the_table(run: Run) -> None:
    frame = run.frame()
    part = frame[frame["contrast"] == "null->both"]
    wide = part[part["mediator"].isin(["", "image_encoder"])].pivot_table(
        index=["sample_id", "target"], columns="arm", values="value", observed=True
    )
    slab = run.slab("null->both", "image_encoder", "01")
    rows = {name: i for i, name in enumerate(run.samples["sample_id"])}
    columns = {name: i for i, name in enumerate(run.targets)}
    mine = np.array([slab[rows[s], columns[t]] for s, t in wide.index])
    np.testing.assert_array_equal(mine, wide["01"].to_numpy(np.float32))


def test_thresholds_come_from_their_split(run: Run) -> None:
    numbers = PresenceScores(run)
    dev = numbers.whole.index(split="dev")
    null = run.slab(numbers.null_contrast, "", "00")[dev]
    absent = ~numbers.whole.present[dev]
    rate = ((null >= numbers.thresholds) & absent).sum(0) / absent.sum(0)
    np.testing.assert_allclose(rate, 0.1, atol=0.01)
    assert set(numbers.panel.split) == {"test"}


def test_unfinished_runs_are_refused(tmp_path: Path) -> None:
    folder = run_plan(toy_study(photos=300), tmp_path).folder
    next((folder / "cells").glob("*.parquet")).unlink()
    with pytest.raises(BadTable, match="resume"):
        report(folder)


def test_label_rules_are_the_bias_of_fewer_photos(run: Run) -> None:
    votes = np.where(np.arange(len(run.samples)) % 4 == 0, "1", "2")
    numbers = PresenceScores(run, draws=50)
    run.samples["agreeing_captions"] = votes
    table = sensitivity(numbers).set_index("setting")
    assert table.loc["at least 1 agreeing captions", "photos"] == len(numbers.panel)
    kept = np.flatnonzero(votes[numbers.kept] == "2")
    fewer = disparity(
        numbers.panel.take(kept), numbers.null[kept], numbers.thresholds, permutations=50,
        rng=numbers.rng(),
    )  # fmt: skip
    row = table.loc["at least 2 agreeing captions"]
    assert (row["photos"], row["n_objects"]) == (len(kept), fewer.n_objects)
    assert row["B_plugin"] == pytest.approx(fewer.plugin, abs=1e-12)
    del run.samples["agreeing_captions"]


def test_photos_of_weaker_labels_stand_in_the_table_of_rules_only(run: Run) -> None:
    votes = np.where(np.arange(len(run.samples)) % 4 == 0, "1", "2")
    run.samples["agreeing_captions"] = votes
    run.manifest["study"]["operating_point"]["min_captions"] = 2
    numbers, table = PresenceScores(run, draws=50), funnel(run, funnel_steps(run))
    rules = sensitivity(numbers).set_index("setting")
    calibrating = numbers.calibration()
    del run.manifest["study"]["operating_point"]["min_captions"], run.samples["agreeing_captions"]
    everybody = PresenceScores(run, draws=50)
    assert numbers.kept.tolist() == [i for i in everybody.kept if votes[i] == "2"]
    assert set(votes[numbers.reported]) == {"1", "2"}
    assert calibrating is not None
    split = run.samples["split"].to_numpy()
    assert len(calibrating[0]) == ((split == "dev") & (votes == "2")).sum()
    assert not np.array_equal(numbers.thresholds, everybody.thresholds)
    assert rules.loc["at least 1 agreeing captions", "photos"] == len(everybody.kept)
    assert rules.loc["at least 2 agreeing captions", "photos"] == len(numbers.kept)
    assert table.iloc[-1].to_dict() | {"lost": 0} == {
        "step": "measured: at least 2 agreeing captions", "left": len(numbers.kept), "lost": 0,
    }  # fmt: skip


def test_exchanged_labels_shrink_the_bias_and_none_leave_it(run: Run) -> None:
    numbers = PresenceScores(run, draws=50)
    table = sensitivity(numbers)
    flips = table[table["what"] == "wrong labels"].set_index("setting")
    reported = disparity_of(numbers, numbers.null)
    assert flips.loc["0% of the labels exchanged", "B_crossfit"] == pytest.approx(
        float(plain_crossfit(numbers)), abs=1e-12
    )
    assert flips.loc["10% of the labels exchanged", "B_crossfit"] < reported.crossfit


def test_irrelevant_changes_stand_under_the_same_photos_unchanged(run: Run) -> None:
    numbers = PresenceScores(run, draws=50)
    run.manifest["study"]["unmediated"] = ["null->placebo-image"]
    table = sensitivity(numbers)
    del run.manifest["study"]["unmediated"]
    changes = table[table["what"] == "irrelevant change"].set_index("setting")
    reported = disparity_of(numbers, numbers.null)
    assert list(changes.index) == ["the photos of placebo-image, unchanged", "placebo-image"]
    assert changes["B_plugin"].iloc[0] == pytest.approx(reported.plugin, abs=1e-12)
    changed = disparity_of(numbers, numbers.scores("null->placebo-image", "11"))
    assert changes["B_plugin"].iloc[1] == pytest.approx(changed.plugin, abs=1e-12)


def plain_crossfit(numbers: PresenceScores) -> float:
    gaps = measure_rates(
        numbers.panel, numbers.null, "fpr", numbers.thresholds, objects=numbers.objects
    )
    return float(crossfit(gaps.gap, gaps.spread))


def test_words_say_noise_where_it_is_noise() -> None:
    row = pd.Series(
        {"status": "ok", "plugin": 0.3, "floor": 0.29, "p": 0.4, "n_objects": 9,
         "lo": 0.0, "hi": 0.35, "crossfit": 0.01}
    )  # fmt: skip
    assert "cannot be told from noise" in bias_in_words(row)
    assert "cannot be told from noise" not in bias_in_words(pd.Series({**row, "p": 0.001}))
    worlds = pd.DataFrame({"world": ["null", "both"], "within_floor": [False, True]})
    assert "sampling error alone gives: both." in floor_in_words(worlds)
    assert "larger" in floor_in_words(worlds.head(1))


def test_a_stricter_world_is_not_called_less_biased(run: Run) -> None:
    numbers = PresenceScores(run, draws=200)
    mild, shifted = numbers.null, numbers.null - 0.3
    numbers.__dict__["contrasts"] = ["null->both"]
    numbers.scores = lambda contrast, arm, mediator="": mild if arm == "00" else shifted  # type: ignore[method-assign]
    table = strictness(numbers)
    linear = table[table["functional"] == "B_lin"].set_index("effect")["estimate"]
    assert (table["decision"] == "not shown").all()
    assert linear["world - class thresholds"] == pytest.approx(0.0, abs=1e-9)
    assert linear["world - null"] == pytest.approx(linear["class thresholds - null"], abs=1e-9)
    assert linear["world - null"] < -0.01
    assert (table["fpr_world"] < table["fpr_base"]).all()
    assert (statements(table)["said"] == "not shown").all()


def test_the_sum_check_sees_an_effect_that_was_changed(
    run: Run, page: tuple[Path, dict[str, pd.DataFrame]]
) -> None:
    effects = page[1]["effects"].fillna({"mediator": ""})
    first = exactness(PresenceScores(run), effects).iloc[0]
    assert first["holds"]
    row = effects.index[effects["effect"] == "NIE"][0]
    effects.loc[row, "estimate"] += 0.01
    assert exactness(PresenceScores(run), effects).iloc[0]["found"] == pytest.approx(0.01, abs=1e-6)


def test_presence_map_of_a_perfect_and_a_reversed_score() -> None:
    present = np.array([[True], [True], [True], [False], [False], [False]])
    assert presence_map(present, present.astype(float)) == 1.0
    assert presence_map(present, -present.astype(float)) < 0.6


def test_components_of_one_layer_are_read_from_their_names() -> None:
    names = [
        "image_encoder/attn.3+image_encoder/mlp.3",
        "fusion_encoder/text_stream.0",
        "text_encoder/head.1[7]",
        "image_encoder/attn.3+image_encoder/mlp.4",  # not one layer
        "image_encoder",
    ]
    effects = pd.DataFrame({"mediator": names, "contrast": "a->b", "functional": "B_lin"})
    found = figures.sites(effects.assign(effect="NIE"), "a->b", "B_lin")
    assert found["stage"].tolist() == ["image_encoder", "fusion_encoder", "text_encoder"]
    assert found["port"].tolist() == ["attn+mlp", "text_stream", "head"]
    assert found["layer"].tolist() == [3, 0, 1]
    assert found["unit"].isna().tolist() == [True, True, False]
