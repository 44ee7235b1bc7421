from __future__ import annotations

import re
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from explained import Heads, unexplained
from tiny_language import write_language

from vlbias.analysis.odds import Odds, odds_effects
from vlbias.errors import BadData, BadStudy, UnknownName
from vlbias.store.run_folder import Run
from vlbias.studies import lifecycle
from vlbias.studies.language.guidance import GUIDANCE
from vlbias.studies.language.numbers import numbers
from vlbias.studies.language.page import section
from vlbias.studies.language.study import Study
from vlbias.studies.lifecycle import make_plan, read_study, run_plan, study_of
from vlbias.studies.reporting import report

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[1]
STUDY = """
name = "tiny-lm"
model = "{model}"
contrasts = ["null->set-gender", "null->null"]
mediators = ["lm/embed@word", "lm/mlp.*@word", "lm/head.*[*]", "lm/head.*", "all lm/attn.*"]
outcomes = ["log-odds", "candidate-logprob"]
shard_size = 40
[dataset]
name = "professions"
options = {{ templates = ["The {{}} said that", "The {{}} ran because"] }}
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_language("llama", tmp_path_factory.mktemp("model") / "llama")


@pytest.fixture(scope="module")
def run(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("run")
    (folder / "study.toml").write_text(STUDY.format(model=model))
    return Run(lifecycle.run(folder / "study.toml", folder).folder)


def log_odds(run: Run, contrast: str, arm: str, mediator: str = "") -> np.ndarray:
    column = run.targets.index("anti")
    return run.slab(contrast, mediator, arm, "log-odds")[:, column].astype(float)


def test_a_study_of_texts_runs(run: Run) -> None:
    frame = run.frame()
    assert run.missing == []
    assert len(frame) == run.manifest["rows"]
    assert set(frame["outcome"]) == {"log-odds", "candidate-logprob"}
    assert set(run.samples["group"]) == {"masculine", "feminine"}
    assert run.manifest["mediators"]["all lm/attn.*"]["sites"] == [
        "lm/attn.0",
        "lm/attn.1",
        "lm/attn.2",
    ]


def test_log_odds_are_the_difference_of_the_candidates(run: Run) -> None:
    anti, stereo = (
        run.slab("null->set-gender", "", "11", "candidate-logprob")[:, run.targets.index(name)]
        for name in ("anti", "stereo")
    )
    found = log_odds(run, "null->set-gender", "11")
    np.testing.assert_allclose(found, anti - stereo, rtol=1e-4, atol=1e-5)


def test_what_must_be_exact_is(run: Run) -> None:
    """A1 and A2: the embedding of the changed word carries everything, no change carries nothing."""
    y00, y11 = (log_odds(run, "null->set-gender", arm) for arm in ("00", "11"))
    y01, y10 = (log_odds(run, "null->set-gender", arm, "lm/embed@word") for arm in ("01", "10"))
    known = ~np.isnan(y01)
    assert known.any()
    assert not known.all()  # words of several tokens
    odds = Odds(y00[known], y11[known], np.arange(known.sum()).astype(str), 10)
    table = odds_effects(odds, [("m", y01[known], y10[known])]).set_index(["effect", "summary"])
    estimate = table["estimate"]
    assert estimate["NIE", "mean"] == pytest.approx(estimate["TE", "mean"], rel=1e-4)
    assert estimate["NDE", "mean"] == pytest.approx(0, abs=1e-4)
    for mediator in run.mediators("null->null", "log-odds"):
        for arm in ("01", "10"):
            same = log_odds(run, "null->null", arm, mediator)
            assert np.array_equal(same, log_odds(run, "null->null", "00"))


def test_words_of_several_tokens_are_recorded(run: Run) -> None:
    statuses = run.statuses
    skipped = statuses[
        (statuses["status"] == "misaligned") & (statuses["mediator"] == "lm/mlp.0@word")
    ]
    assert int(skipped[skipped["contrast"] == "null->set-gender"]["count_all"].sum()) > 0


def test_the_page_prints_the_sum_beside_the_joint_effect(run: Run, tmp_path: Path) -> None:
    page = report(run.folder, tmp_path, draws=50)
    tables = page.tables / run.folder.name
    joint = pd.read_csv(tables / "synergy.csv")
    assert set(joint["mediator"]) == {"lm/head.0", "lm/head.1", "lm/head.2"}
    assert (joint["parts"] == 4).all()
    assert (joint["joint"] - joint["sum_of_parts"] - joint["synergy"]).abs().max() < 1e-9
    checks = pd.read_csv(tables / "checks.csv")
    assert checks["holds"].all()
    totals = pd.read_csv(tables / "totals.csv")
    assert {"all", "filtered", "feminine", "masculine"} == set(totals["samples"])
    text = page.html.read_text()
    assert "Together against the sum of the parts" in text
    assert "Direct and indirect effects of joint mediators" in text
    assert "captioner" not in text
    assert not re.search(r"sum[^.<]{0,20} total|total[^.<]{0,20} sum", text)
    assert (totals["summary"] == "geometric").any()
    assert Heads(page.html).codes() == set()
    assert unexplained(page.tables) == set()
    assert "total effect on the odds" in page.summary


def test_the_section_has_its_own_guidance_task_and_metrics(run: Run) -> None:
    assert "operating_point" not in run.manifest["study"]  # texts have no keys of photos
    tables = numbers(run, draws=20)
    found = section(run, tables)
    assert (found.task, found.guidance) == ("text-generation", GUIDANCE)
    totals = tables.totals.set_index(["contrast", "samples", "effect", "summary"])["estimate"]
    assert [metric["value"] for metric in found.metrics] == [
        totals[contrast, "all", "TE", "log"] for contrast in run.manifest["contrasts"]
    ]
    assert [part.title for part in found.parts] == [
        "Effects",
        "Exactness",
        "The data and what was left out",
    ]
    assert "different numbers of tokens" in found.parts[-1].blocks[0].text


def test_the_page_says_so_where_no_joint_effect_was_run(model: Path, tmp_path: Path) -> None:
    study = read_study(ROOT / "experiments" / "lm_winobias.toml", limit=2, model=str(model))
    study = study.model_copy(update={"mediators": ("lm/head.*[*]",)})
    page = report(run_plan(make_plan(study), tmp_path).folder, draws=20)
    assert "no mediator whose parts were run on their own" in page.html.read_text()


@pytest.mark.parametrize(
    "name",
    [
        *("lm_professions", "lm_winobias", "lm_winogender"),
        *("lm_sentences", "lm_names", "lm_attributes"),
    ],
)
def test_the_studies_of_the_repository_run(name: str, model: Path, tmp_path: Path) -> None:
    study = read_study(ROOT / "experiments" / f"{name}.toml", limit=4, model=str(model))
    plan = make_plan(study)
    result = run_plan(plan, tmp_path)
    assert not result.failed
    assert report(result.folder, draws=20).html.is_file()
    assert study_of(result.folder) == study


def test_random_weights_are_a_study_of_their_own(model: Path, tmp_path: Path) -> None:
    study = read_study(ROOT / "experiments" / "lm_winobias.toml", limit=2, model=str(model))
    trained, random = (
        run_plan(make_plan(one), tmp_path)
        for one in (study, study.model_copy(update={"random_weights": 0, "name": "random"}))
    )
    names = [Run(result.folder).manifest["model"]["name"] for result in (trained, random)]
    assert names == ["llama", "llama-random0"]


@pytest.mark.parametrize(
    ("old", "new", "error", "match"),
    [
        ("null->null", "null->moon", UnknownName, "moon"),
        ('"professions"', '"professionals"', UnknownName, "professions"),
        ("templates", "tmplates", UnknownName, "templates"),
        ("The {} said", "The said", BadData, "place"),
        ('["log-odds", "candidate-logprob"]', '["presence"]', BadStudy, "outcomes"),
        ("[dataset]", "[operating_point]\nmin_captions = 2\n[dataset]", BadStudy, "min_captions"),
    ],
)
def test_mistakes_are_named(
    model: Path, tmp_path: Path, old: str, new: str, error: type[Exception], match: str
) -> None:
    text = STUDY.format(model=model)
    assert old in text
    with pytest.raises(error, match=match):
        make_plan(Study.parse(tomllib.loads(text.replace(old, new))))
