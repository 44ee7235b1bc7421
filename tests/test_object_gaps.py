"""Gaps of single objects: intervals, tests and their summary against published numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from vlbias.analysis.object_gaps import fisher_exact, newcombe, signed_summary


def test_newcombe_matches_the_published_example():
    # Newcombe (1998), table II, 56/70 against 48/80, method 10
    assert newcombe((56, 48), (70, 80)) == pytest.approx((0.0524, 0.3339), abs=1e-4)


def test_fisher_matches_scipy():
    rng = np.random.default_rng(0)
    for _ in range(50):
        n, m = rng.integers(5, 300, 2)
        x, y = rng.integers(0, n + 1), rng.integers(0, m + 1)
        want = stats.fisher_exact([[x, y], [n - x, m - y]])[1]
        assert fisher_exact((x, y), (n, m)) == pytest.approx(want, rel=1e-6, abs=1e-12)


def test_signed_summary_follows_the_stereotype_and_ignores_insufficient_objects():
    table = pd.DataFrame(
        {
            "object": ["tie", "handbag", "dog", "yeti"],
            "gap": [0.04, -0.02, 0.01, np.nan],
            "status": ["ok", "ok", "ok", "insufficient"],
        }
    )
    found = signed_summary(table, {"tie": 0.3, "handbag": -0.2, "yeti": 0.5}, top=1)
    value = found.set_index("what")["value"]
    assert value["sum"] == pytest.approx(0.03)
    assert value["along the stereotype"] == pytest.approx(0.03)
    assert found["object"].tolist() == ["", "", "tie", "handbag"]
