from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from explained import Heads, unexplained
from scipy.stats import norm
from tiny_language import write_language
from tiny_photos import write_study

from vlbias.analysis.corrections import benjamini_hochberg
from vlbias.analysis.preselection import preselect, screening_quality
from vlbias.analysis.score_gap import score_gap_weights
from vlbias.errors import BadStudy
from vlbias.store.run_folder import Run
from vlbias.studies.lifecycle import make_plan, read_study, run_plan, study_of
from vlbias.studies.reporting import report

ROOT = Path(__file__).resolve().parents[1]


def test_weights_of_the_score_gap() -> None:
    """Against the gaps taken one by one; a sure gap counts whole, an unsure one by its certainty."""
    rng = np.random.default_rng(0)
    scores, present = rng.normal(size=(60, 3)), rng.random((60, 3)) < 0.3
    group = np.array(["x", "y"] * 30)
    scores[group == "y", 0] += 50.0
    present[:, 2] = True
    weights = score_gap_weights(scores, present, group)
    assert (weights[present] == 0).all()
    assert (weights[:, 2] == 0).all(), "an object without free samples"
    expected = 0.0
    for k in (0, 1):
        free = ~present[:, k]
        one, other = (scores[free & (group == name), k] for name in ("x", "y"))
        error = np.sqrt(one.var(ddof=1) / len(one) + other.var(ddof=1) / len(other))
        gap = one.mean() - other.mean()
        expected += abs(gap) * (2 * norm.cdf(abs(gap) / error) - 1)
    assert (weights * scores).sum() == pytest.approx(expected, rel=1e-9)


def test_the_largest_are_chosen_and_controls_are_drawn_from_the_rest() -> None:
    rng = np.random.default_rng(0)
    means = rng.normal(size=(2, 200))
    part = preselect(means, 0.1, seed=0)
    size = np.abs(means).max(0)
    assert (part == "chosen").sum() == 20
    assert size[part == "chosen"].min() >= size[part != "chosen"].max()
    assert (part == "control").sum() == 20
    assert np.array_equal(part, preselect(means, 0.1, seed=0))
    assert not np.array_equal(part, preselect(means, 0.1, seed=1))
    assert (preselect(means[:, :10], 0.5, seed=0) != "skipped").all()
    with pytest.raises(BadStudy, match="screen"):
        preselect(means, 1.0, seed=0)


def test_quality_is_measured_on_controls_too() -> None:
    names = [str(i) for i in range(60)]
    part = np.repeat(["chosen", "control", "skipped"], 20)
    rng = np.random.default_rng(0)
    approximate = rng.normal(size=60)
    exact = pd.Series(dict(zip(names[:40], approximate[:40], strict=True)))
    exact[names[20:40]] = rng.normal(size=20)  # the approximation says nothing of these
    exact["25"] = 9.0
    table = pd.DataFrame(
        {"contrast": "x", "mediator": names, "approximate": approximate, "part": part}
    )
    row = screening_quality(table, exact).iloc[0]
    assert (row["chosen"], row["control"], row["skipped"]) == (20, 20, 20)
    assert row["pearson_controls"] == pytest.approx(
        np.corrcoef(approximate[20:40], exact[names[20:40]])[0, 1]
    )
    assert row["pearson"] > row["pearson_controls"]
    assert (row["largest_missed"], row["largest_control"]) == ("25", 9.0)


@pytest.mark.integration
def test_a_screened_run_is_exact_in_what_it_runs(tmp_path: Path) -> None:
    model = write_language("gpt2", tmp_path / "gpt2")
    study = read_study(ROOT / "experiments" / "lm_winobias.toml", model=str(model), screen=0.25)
    study = study.model_copy(update={"mediators": ("lm/mlp.*[*]", "lm/mlp.*", "all lm/mlp.*")})
    whole = study.model_copy(update={"screen": None, "name": "whole"})
    run, every = (Run(run_plan(make_plan(one), tmp_path).folder) for one in (study, whole))
    about = run.manifest["screen"]
    assert (about["chosen"], about["control"], about["skipped"]) == (12, 20, 16)
    assert run.folder.name == "lm-winobias-screen0.25"
    contrast = "null->swap-gender"
    there = run.mediators(contrast, "log-odds")
    assert len(there) == 12 + 20 + 3 + 1
    for mediator in there:
        for arm in ("01", "10"):
            one, other = (r.slab(contrast, mediator, arm, "log-odds") for r in (run, every))
            np.testing.assert_allclose(one, other, atol=1e-5)
    again = run_plan(make_plan(study_of(run.folder)), tmp_path)
    assert (again.done, again.failed) == (0, ())
    page = report(run.folder, draws=20)
    assert Heads(page.html).codes() == set()
    assert unexplained(page.tables) == set()
    text = page.html.read_text()
    assert "Approximate" in text
    quality = pd.read_csv(page.tables / run.folder.name / "screening.csv").iloc[0]
    assert quality["skipped"] == 16
    effects = pd.read_csv(page.tables / run.folder.name / "effects.csv")
    rows = effects[(effects["mediator"] != "") & (effects["samples"] == "all")]
    own = rows[(rows["effect"] == "NIE") & (rows["summary"] == "mean")].dropna(subset=["p"])
    expected = benjamini_hochberg(np.r_[own["p"], np.ones(16)])[: len(own)]
    np.testing.assert_allclose(own["p_adjusted"], expected)
    assert -1 <= quality["pearson_controls"] <= 1


@pytest.mark.integration
def test_screening_needs_units(tmp_path: Path) -> None:
    model = write_language("gpt2", tmp_path / "gpt2")
    study = read_study(ROOT / "experiments" / "lm_winobias.toml", model=str(model), screen=0.5)
    study = study.model_copy(update={"mediators": ("lm/mlp.*",)})
    with pytest.raises(BadStudy, match="units"):
        run_plan(make_plan(study), tmp_path)


@pytest.mark.integration
def test_screened_photos_are_chosen_by_others(
    model_folder: Callable[[str], Path], photos: Path, tmp_path: Path
) -> None:
    path = write_study(tmp_path / "study.toml", model_folder("dinov2-bert"), photos)
    study: Any = read_study(path, screen=0.2)
    heads = {"mediators": ("image_encoder/head.*[*]", "image_encoder/neuron.*[*]")}
    with pytest.raises(BadStudy, match="photos that are not reported"):
        make_plan(study.model_copy(update=heads))
    point = study.operating_point.model_copy(update={"report": ("test",)})
    study = study.model_copy(update={**heads, "operating_point": point})
    whole = study.model_copy(update={"screen": None, "name": "whole"})
    run, every = (Run(run_plan(make_plan(one), tmp_path).folder) for one in (study, whole))
    about = run.manifest["screen"]
    contrast = "null->mask-gender"
    there = run.mediators(contrast)
    assert about["skipped"] > 0
    assert len(there) == about["chosen"] + about["control"]
    tested = run.samples["split"] == "test"
    for mediator in there:
        one, other = (r.slab(contrast, mediator, "01")[tested] for r in (run, every))
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert run_plan(make_plan(study_of(run.folder)), tmp_path).done == 0
    page = report(run.folder, draws=50)
    assert Heads(page.html).codes() == set()
    assert unexplained(page.tables) == set()
    assert "one backward pass a photo" in page.html.read_text()
    quality = pd.read_csv(page.tables / run.folder.name / "screening.csv")
    assert set(quality["contrast"]) == set(study.contrasts)
