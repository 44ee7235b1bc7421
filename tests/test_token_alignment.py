"""Texts whose worlds have different numbers of tokens: recorded, counted, or reworded by option."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tiny_language import write_language

from vlbias.store.run_folder import Run
from vlbias.studies.language.study import Study
from vlbias.studies.lifecycle import make_plan, run_plan
from vlbias.studies.reporting import report

pytestmark = pytest.mark.integration
CONTRAST = "null->set-gender"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    folder = tmp_path_factory.mktemp("wording")
    model = write_language("gpt2", folder / "gpt2")
    found = {}
    for align in ("record", "wording"):
        study = Study.parse(
            {
                "name": align,
                "model": str(model),
                "align": align,
                "contrasts": [CONTRAST],
                "mediators": ["lm/embed@word", "lm/mlp.1@word"],
                "outcomes": ["log-odds"],
                "shard_size": 50,
                "dataset": {
                    "name": "professions",
                    "options": {"templates": ["The {} said that", "The {} ran home because"]},
                },
            }
        )
        found[align] = Run(run_plan(make_plan(study), folder).folder)
    return found


def effects(run: Run) -> pd.DataFrame:
    arms = {arm: run.slab(CONTRAST, "", arm, "log-odds")[:, 0] for arm in ("00", "11")}
    arms |= {
        arm: run.slab(CONTRAST, "lm/embed@word", arm, "log-odds")[:, 0] for arm in ("01", "10")
    }
    return pd.DataFrame(arms, index=run.samples["sample_id"])


def test_texts_of_other_lengths_are_recorded_and_counted(runs: dict[str, Run]) -> None:
    frame = effects(runs["record"])
    assert frame[["00", "11"]].notna().all(axis=None)
    assert 0 < frame["01"].isna().sum() < len(frame)
    page = report(runs["record"].folder, draws=20)
    row = pd.read_csv(page.tables / "record" / "filters.csv").iloc[0]
    assert row["misaligned"] == frame["01"].isna().sum()
    assert "reworded" not in row


def test_another_wording_of_as_many_tokens_is_taken(runs: dict[str, Run]) -> None:
    before, after = effects(runs["record"]), effects(runs["wording"])
    samples = runs["wording"].samples.set_index("sample_id")
    taken = samples["wording"] != ""
    assert taken.any()
    assert samples.loc[taken, "wording"].str.match(r"set-gender: The .+ (wo)?man (said|ran)").all()
    was, now = before["01"].isna(), after["01"].isna()
    assert not (was & ~now & ~taken).any()
    assert not (now & ~was).any()
    np.testing.assert_allclose(before.loc[~taken], after.loc[~taken], atol=1e-5)
    # the changed words are all that differs: what carries them carries everything
    reworded = after[taken]
    np.testing.assert_allclose(reworded["01"], reworded["11"], atol=1e-5)
    np.testing.assert_allclose(reworded["10"], reworded["00"], atol=1e-5)


def test_the_page_says_how_many_were_reworded(runs: dict[str, Run]) -> None:
    run = runs["wording"]
    page = report(run.folder, draws=20)
    row = pd.read_csv(page.tables / "wording" / "filters.csv").iloc[0]
    assert row["reworded"] == (run.samples["wording"] != "").sum()
    assert run.manifest["wordings"]["of"] == len(run.samples)
    assert not set(run.manifest["cells"]) & set(runs["record"].manifest["cells"])
