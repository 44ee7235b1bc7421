"""Photos that only set thresholds are run in their worlds, without mediators."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from toy_studies import toy_study

from vlbias.store.run_folder import Run
from vlbias.studies.lifecycle import run_plan

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run]:
    """A run that reports one of its two splits, and the same one with mediators everywhere."""
    plan = toy_study(photos=300)
    out = tmp_path_factory.mktemp("unreported")
    plans = {"reported": plan, "everywhere": replace(plan, mediated=None)}
    reported, everywhere = (Run(run_plan(one, out / name).folder) for name, one in plans.items())
    return reported, everywhere


def test_reported_photos_have_the_same_numbers(runs: tuple[Run, Run]) -> None:
    reported, everywhere = runs
    shown = (reported.samples["split"] == "test").to_numpy()
    assert 0 < shown.sum() < len(shown)
    mediated = 0
    for contrast in reported.manifest["contrasts"]:
        assert reported.mediators(contrast) == everywhere.mediators(contrast)
        for arm in ("00", "11"):
            ours, theirs = (run.slab(contrast, "", arm) for run in runs)
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)
        for mediator in reported.mediators(contrast):
            for arm in ("01", "10"):
                ours, theirs = (run.slab(contrast, mediator, arm) for run in runs)
                np.testing.assert_allclose(ours[shown], theirs[shown], rtol=0, atol=1e-6)
                assert np.isnan(ours[~shown]).all()
                mediated += 1
    assert mediated > 20


def test_the_plan_counts_the_rows_that_are_written(runs: tuple[Run, Run]) -> None:
    counts = [sum(pq.read_metadata(file).num_rows for file in run.files) for run in runs]
    assert counts == [run.manifest["rows"] for run in runs]
    assert counts[0] < 0.8 * counts[1]


def test_without_a_split_of_its_own_for_reports_all_photos_have_mediators() -> None:
    plan = toy_study(photos=60)
    assert {e.attributes["split"] for e in plan.examples if plan.is_mediated(e)} == {"test"}
    assert all(replace(plan, mediated=None).is_mediated(example) for example in plan.examples)
