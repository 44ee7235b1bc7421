"""Studies of mitigations: the planted answer, killed and resumed, and every number of the table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from explained import Heads, unexplained
from PIL import Image
from sklearn.metrics import average_precision_score
from toy_studies import planted_plan

from vlbias.causal.example import Example, Picture
from vlbias.errors import BadData, BadStudy, BadTable, UnknownName
from vlbias.mitigations.base import Fitted
from vlbias.store.run_folder import Run
from vlbias.studies.lifecycle import run_plan
from vlbias.studies.mitigation.numbers import Tables, numbers
from vlbias.studies.mitigation.page import section
from vlbias.studies.mitigation.results import Conditions
from vlbias.studies.mitigation.settings import settings_of
from vlbias.studies.mitigation.splits import refuse_same_photo
from vlbias.studies.mitigation.study import Study
from vlbias.studies.reporting import report

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[1]
SITES = (["image_encoder/neuron"], ["text_encoder/neuron"])
LEACE = {"name": "leace", "vary": {"sites": SITES}}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Runs of LEACE at either encoder, the cue planted in the image and in the text; do not change."""
    out = tmp_path_factory.mktemp("runs")
    return {
        route: Run(
            run_plan(
                planted_plan(
                    [LEACE], route, name=f"planted-{route}", strengths=[1.0], timed=4, photos=9000
                ),
                out,
            ).folder
        )
        for route in ("image", "text")
    }


@pytest.fixture(scope="module")
def tables(runs: dict[str, Run]) -> dict[str, Tables]:
    return {route: numbers(run, draws=200) for route, run in runs.items()}


@pytest.mark.parametrize("route", ["image", "text"])
def test_the_right_encoder_removes_the_planted_bias(route: str, tables: dict[str, Tables]) -> None:
    rows = tables[route].verdicts.set_index("varied")
    right = rows.loc[f"sites={route}_encoder/neuron"]
    wrong = rows.loc[f"sites={'text' if route == 'image' else 'image'}_encoder/neuron"]
    assert right["over_threshold_share"] >= 0.8
    assert right["placebo_share"] <= 0.1
    assert right["bias"] == "reduced"
    assert right["performance_verdict"] == "kept"
    assert wrong["over_threshold_share"] <= 0.1
    assert right["over_threshold_adjusted"] == right["attributable_adjusted"] == "reduced"
    assert wrong["bias"] == wrong["over_threshold_adjusted"] == "not shown"


@pytest.mark.slow
def test_killed_and_resumed_gives_the_same_cells_and_table(tmp_path: Path) -> None:
    script = [sys.executable, str(ROOT / "tests" / "killed_mitigations.py")]
    answer = subprocess.run(
        [*script, str(tmp_path / "killed"), str(tmp_path / "whole")],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert answer.returncode == 0, answer.stderr[-3000:]
    said = answer.stdout.splitlines()
    assert said[0] == "saving_a_fit 1 0"
    assert said[1:4] == ["between_cells 2 3", "half_written 2 3", "timing 2 10"], said
    assert said[4:] == ["done 0 skipped 10 failed 0", "done 10 skipped 0 failed 0"], said
    one, other = (Run(tmp_path / name / "planted") for name in ("killed", "whole"))
    assert one.manifest["cells"] == other.manifest["cells"]
    for path in one.files:
        assert path.read_bytes() == (other.folder / "cells" / path.name).read_bytes()
    first, second = (numbers(run, draws=50) for run in (one, other))
    pd.testing.assert_frame_equal(first.verdicts, second.verdicts)


def test_the_fit_is_reused_and_another_method_can_be_added(tmp_path: Path) -> None:
    small: dict[str, Any] = {"photos": 600, "strengths": [1.0], "timed": 0}
    image = {"name": "leace", "options": {"sites": list(SITES[0])}}
    first = run_plan(planted_plan([image], **small), tmp_path)
    fits = {p: p.stat().st_mtime_ns for p in first.folder.glob("fits/*/mitigation.json")}
    text = {"name": "inlp", "options": {"sites": list(SITES[1]), "most": 2}}
    both = run_plan(planted_plan([image, text], **small), tmp_path)
    assert (first.done, both.done, both.skipped) == (6, 4, 6)
    assert all(path.stat().st_mtime_ns == before for path, before in fits.items())
    with pytest.raises(BadStudy, match="another study"):
        run_plan(planted_plan([image], seed=1, **small), tmp_path)


def test_a_fit_that_fails_is_recorded_and_its_cells_alone_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vlbias.mitigations.erasure import Leace

    methods = [LEACE]
    plan = planted_plan(methods, photos=600, strengths=[1.0], timed=0)
    learn = Leace.learn

    def fails(self: Leace, *args: Any) -> Any:
        if self.sites == ("text_encoder/neuron",) and not self.control:
            raise RuntimeError("the accelerator fell over")
        return learn(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Leace, "learn", fails)
        result = run_plan(plan, tmp_path)
    assert (result.done, len(result.failed)) == (8, 3)
    errors = [json.loads(p.read_text()) for p in result.folder.glob("cells/*.error.json")]
    assert [e["error"] for e in errors] == ["RuntimeError: the accelerator fell over"]
    with pytest.raises(BadTable, match="missing"):
        numbers(Run(result.folder), draws=50)
    again = run_plan(plan, tmp_path)
    assert (again.done, again.skipped, again.failed) == (2, 8, ())


def test_saved_fits_are_mitigations_that_load(runs: dict[str, Run]) -> None:
    run = runs["image"]
    stored = Conditions(run)
    for key in dict.fromkeys(stored.frame["fit"]):
        if key:
            fitted = Fitted.load(run.folder / "fits" / key)
            assert fitted.mitigation.spec["name"] == "leace"
            seen = set(run.samples.loc[run.samples["split"] == "fit", "cluster"])
            assert set(fitted.seen) == seen


def test_the_table_by_naive_loops(runs: dict[str, Run], tables: dict[str, Tables]) -> None:
    run, found = runs["image"], tables["image"]
    frame = run.frame(["mitigation", "outcome", "sample_id", "target", "value"])
    wide = {
        name: part.pivot(index="sample_id", columns="target", values="value")
        for name, part in frame.groupby("mitigation", observed=True)
    }
    about = run.samples.set_index("sample_id")
    present = pd.DataFrame(run.present, index=about.index, columns=list(run.targets))

    def at(name: str, split: str, target: str) -> pd.DataFrame:
        rows = about.index[about["split"] == split]
        columns = {"score": wide[name].loc[rows, target], "present": present.loc[rows, target]}
        return pd.DataFrame({**columns, "group": about.loc[rows, "group"]})

    def gap(name: str, split: str, target: str) -> float:
        dev = at(name, "dev", target)
        absent = np.sort(dev.loc[~dev["present"], "score"].to_numpy(np.float32))[::-1]
        limit = absent[round(0.1 * len(absent)) - 1]
        part = at(name, split, target)
        part = part[~part["present"]]
        rates = (part["score"] >= limit).groupby(part["group"]).mean()
        return float(rates["masculine"] - rates["feminine"])

    conditions = found.conditions.set_index("name")
    kept = found.retention[found.retention["metric"] == "mAP"].set_index("name")
    assert conditions["n_objects"].eq(len(run.targets)).all()
    signs = {target: np.sign(gap("none", "dev", target)) for target in run.targets}
    for name in wide:
        gaps = {target: gap(name, "test", target) for target in run.targets}
        plugin = sum(map(abs, gaps.values()))
        assert conditions.loc[name, "B_plugin"] == pytest.approx(plugin, abs=1e-6)
        linear = sum(signs[target] * gaps[target] for target in run.targets)
        assert conditions.loc[name, "B_lin"] == pytest.approx(linear, abs=1e-6)
        tests = [at(name, "test", target) for target in run.targets]
        mean = np.mean([average_precision_score(t["present"], t["score"]) for t in tests])
        expected = kept["before"].iloc[0] if name == "none" else kept.loc[name, "after"]
        assert expected == pytest.approx(mean, abs=1e-9)
    changes = found.verdicts.set_index("varied")
    for varied, row in changes.iterrows():
        label = f"leace ({varied}) @ 1"
        change = conditions.loc[label, "B_lin"] - conditions.loc["none", "B_lin"]
        linear = found.changes[
            (found.changes["name"] == label) & (found.changes["functional"] == "B_lin")
        ]
        moved = linear.set_index("effect").loc["intervention - null", "estimate"]
        assert moved == pytest.approx(change, abs=1e-6)
        assert row["attributable"] == pytest.approx(
            row["over_threshold"] - row["placebo"], abs=1e-9
        )
        performance = kept.loc[label, "after"] - kept.loc[label, "before"]
        assert row["performance"] == pytest.approx(performance)


def test_a_bias_that_is_none_is_said_to_be_one(
    runs: dict[str, Run], tables: dict[str, Tables]
) -> None:
    run, found = runs["image"], tables["image"]
    assert "cannot be told from noise" not in " ".join(section(run, found).readings)
    lost = replace(found, conditions=found.conditions.assign(p=0.2))
    assert "cannot be told from noise (B" in section(run, lost).readings[0]


def test_the_page_says_what_the_table_says(runs: dict[str, Run], tmp_path: Path) -> None:
    page = report(runs["image"].folder, tmp_path, draws=100)
    html = page.html.read_text()
    assert "under their placebo with 1 (leace (sites=image_encoder/neuron))." in page.summary
    for title in (
        "Bias against performance",
        "Every method, strength and site",
        "Overhead",
        "Fits",
    ):
        assert title in html
    assert html.count('role="img"') == html.count("<svg") == 3
    assert Heads(page.html).codes() == set()
    assert unexplained(page.tables) == set()
    verdicts = pd.read_csv(page.tables / "planted-image" / "verdicts.csv")
    assert len(verdicts) == 2
    overhead = pd.read_csv(page.tables / "planted-image" / "overhead.csv")
    assert (overhead[["ms a photo", "ms a photo, plain"]] > 0).all(axis=None)


def picture(path: Path, shade: int) -> Picture:
    Image.new("RGB", (8, 8), (shade, 0, 0)).save(path)
    return Picture(path)


def photo(name: str, split: str, picture: Picture, cluster: str = "") -> Example:
    worlds = {"null": {"image": picture, "text": ("a cup",)}}
    return Example(name, cluster or name, worlds, attributes={"group": "a", "split": split})


def test_a_photo_in_two_splits_is_refused_with_its_ids(tmp_path: Path) -> None:
    one, two = picture(tmp_path / "1.png", 1), picture(tmp_path / "2.png", 2)
    copy = picture(tmp_path / "copy.png", 1)
    fine = [photo("a", "fit", one), photo("b", "test", two), photo("c", "fit", one)]
    refuse_same_photo(fine)
    with pytest.raises(BadData, match=r"a \(fit\) = copy \(test\)"):
        refuse_same_photo([fine[0], photo("copy", "test", copy)])
    with pytest.raises(BadData, match=r"a \(fit\) = b \(dev\)"):
        refuse_same_photo([photo("a", "fit", one, "scene"), photo("b", "dev", two, "scene")])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"mitigation": {"methods": []}}, "mitigation.methods"),
        ({"mitigation": {"methods": [{"name": "leace"}], "strengths": [0.0]}}, "mitigation"),
        ({"mitigation": {"methods": [{"name": "leace", "strengths": [1.5]}]}}, "mitigation"),
        ({"mitigation": {"methods": [{"name": "leace"}], "fit": "test"}}, "mitigation"),
        ({"mitigation": {"methods": [{"name": "leace"}], "margins": 1}}, "mitigation.margins"),
        ({"mitigation": {"methods": [{"nam": "leace"}]}}, "mitigation.methods.0.nam"),
        ({"contrasts": ["null->both"]}, "contrasts"),
        ({"mediators": ["image_encoder"]}, "mediators"),
        ({"operating_point": {"min_captions": 2}}, "operating_point.min_captions"),
        ({"dataset": {"splits": ["dev", "test"]}}, "dataset.splits"),
    ],
)
def test_a_study_that_cannot_be(change: dict[str, Any], field: str) -> None:
    content = {
        "name": "x",
        "model": "toy",
        "mitigation": {"methods": [{"name": "leace"}]},
        **change,
    }
    with pytest.raises(BadStudy) as caught:
        Study.parse(content)
    assert caught.value.field == field


def study(*methods: dict[str, Any]) -> Study:
    return Study.parse({"name": "x", "model": "toy", "mitigation": {"methods": list(methods)}})


def test_methods_and_settings_that_do_not_exist() -> None:
    with pytest.raises(UnknownName, match="leace"):
        settings_of(study({"name": "leaze"}).mitigation)
    with pytest.raises(UnknownName, match="sites"):
        settings_of(study({"name": "leace", "options": {"site": ["image_encoder"]}}).mitigation)
    with pytest.raises(BadStudy, match="differ"):
        settings_of(study({"name": "leace"}, {"name": "leace"}).mitigation)
    varied = study({"name": "leace", "vary": {"sites": [["a"], ["b", "c"]], "svd_tol": [0.1, 0.2]}})
    labels = [one.label for one in settings_of(varied.mitigation)]
    assert len(labels) == 4
    assert labels[3] == "leace (sites=b c, svd_tol=0.2)"
