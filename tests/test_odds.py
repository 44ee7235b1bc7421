from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlbias.analysis.odds import Odds, aligned_filter, odds_effects, synergy
from vlbias.errors import BadTable

Array = Any


def published(folder: Path, name: str) -> list[dict[str, Any]]:
    path = folder / "published" / f"attention_intervention_{name}_dev.json"
    results: list[dict[str, Any]] = json.loads(path.read_text())["results"]
    return results


def odds_of(rows: list[dict[str, Any]], draws: int = 50) -> Odds:
    y00, y11 = (np.log([row[key] for row in rows]) for key in ("odds_base", "odds_alt"))
    return Odds(y00, y11, np.array([str(i) for i in range(len(rows))]), draws)


def mean_of(table: Any, effect: str, mediator: str = "", summary: str = "mean") -> float:
    row = table[
        (table["effect"] == effect)
        & (table["mediator"] == mediator)
        & (table["summary"] == summary)
    ]
    return float(row["estimate"].iloc[0])


def through(rows: list[dict[str, Any]], odds: Odds, name: str, value: Any) -> Any:
    """A mediator's arms from published effects: y01 and y10 relative to y00."""
    nie, nde = (
        np.array([value(row[f"{kind}_effect_{name}"]) for row in rows])
        for kind in ("indirect", "direct")
    )
    return odds.y00 + np.log1p(nie), odds.y00 + np.log1p(nde)


def test_the_filter_gives_the_published_samples(lm_data: Path) -> None:
    """A6: from the unfiltered file to 116 aligned, 87 kept, TE .249."""
    odds = odds_of(published(lm_data, "gpt2_unfiltered"))
    found = aligned_filter(odds.y11 - odds.y00)
    assert (found.aligned, int(found.kept.sum())) == (116, 87)
    assert found.threshold == pytest.approx(1.0497, abs=1e-4)
    assert mean_of(odds_effects(odds), "TE") == pytest.approx(0.1146, abs=1e-3)
    assert mean_of(odds_effects(odds.take(found.kept)), "TE") == pytest.approx(0.249, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "total", "indirect"),
    [
        ("distilgpt2_filtered", 0.118, 0.033),
        ("gpt2_filtered", 0.249, 0.182),
        ("gpt2_random_filtered", 0.066, 0.011),
    ],
)
def test_published_effects_come_out(
    lm_data: Path, name: str, total: float, indirect: float
) -> None:
    """A7 and A9: total effects, and the share that all heads together carry."""
    rows = published(lm_data, name)
    odds = odds_of(rows)
    table = odds_effects(odds, [("all", *through(rows, odds, "model", float))])
    assert mean_of(table, "TE") == pytest.approx(total, abs=1e-3)
    assert mean_of(table, "NIE", "all") == pytest.approx(indirect, abs=1e-3)
    share = mean_of(table, "NIE", "all") / mean_of(table, "TE")
    assert (share < 0.2) == ("random" in name)


@pytest.mark.parametrize(
    ("name", "head", "layer"), [("distilgpt2_filtered", (3, 1), 3), ("gpt2_filtered", (5, 8), 5)]
)
def test_the_published_heads_lead(
    lm_data: Path, name: str, head: tuple[int, int], layer: int
) -> None:
    """A8: the head and the layer with the largest indirect effect; NIE + NDE follows TE over samples."""
    rows = published(lm_data, name)
    odds = odds_of(rows)
    effects = np.array([row["indirect_effect_head"] for row in rows])
    mediators = [
        (f"{i}-{h}", *through(rows, odds, "head", lambda grid, i=i, h=h: grid[i][h]))
        for i in range(effects.shape[1])
        for h in range(effects.shape[2])
    ]
    table = odds_effects(odds, mediators, medians=False)
    means = table[(table["effect"] == "NIE") & (table["summary"] == "mean")]
    assert means.set_index("mediator")["estimate"].idxmax() == f"{head[0]}-{head[1]}"
    layers = np.array([row["indirect_effect_layer"] for row in rows]).mean(0)
    assert int(layers.argmax()) == layer
    both = [row["indirect_effect_model"] + row["direct_effect_model"] for row in rows]
    assert np.corrcoef(both, [row["total_effect"] for row in rows])[0, 1] >= 0.93


def made(n: int = 40) -> tuple[Odds, Array, Array]:
    rng = np.random.default_rng(0)
    y00, y11, y01, y10 = rng.normal(size=(4, n))
    return Odds(y00, y11, np.repeat(np.arange(n // 2), 2).astype(str), 200), y01, y10


def test_one_plus_effects_multiply_for_every_sample() -> None:
    """A3, and no sum of effects does."""
    odds, y01, y10 = made(1_000)
    for i in range(5):
        one = Odds(odds.y00[[i]], odds.y11[[i]], odds.cluster[[i]], 1)
        table = odds_effects(one, [("m", y01[[i]], y10[[i]])])
        total = 1 + mean_of(table, "TE")
        assert (1 + mean_of(table, "NDE", "m")) * (
            1 + mean_of(table, "NIE*", "m")
        ) == pytest.approx(total)
        assert (1 + mean_of(table, "NIE", "m")) * (
            1 + mean_of(table, "NDE*", "m")
        ) == pytest.approx(total)
        assert mean_of(table, "NDE", "m") + mean_of(table, "NIE", "m") != pytest.approx(total - 1)


def test_nothing_and_everything_as_mediator() -> None:
    """A1 and A2: a mediator that is all there is, and one that is nothing."""
    odds, _, _ = made()
    table = odds_effects(odds, [("all", odds.y11, odds.y00), ("none", odds.y00, odds.y11)])
    total = mean_of(table, "TE")
    assert mean_of(table, "NIE", "all") == total
    assert mean_of(table, "NDE", "all") == 0
    assert mean_of(table, "NIE", "none") == 0
    assert mean_of(table, "NDE", "none") == total


def test_summaries_are_what_they_are_called() -> None:
    odds, _, _ = made()
    ratio = np.exp(odds.y11 - odds.y00)
    table = odds_effects(odds)
    assert mean_of(table, "TE") == pytest.approx(ratio.mean() - 1)
    assert mean_of(table, "TE", summary="median") == pytest.approx(np.median(ratio) - 1)
    assert mean_of(table, "TE", summary="geometric") == pytest.approx(
        np.exp(np.log(ratio).mean()) - 1
    )
    assert mean_of(table, "TE", summary="log") == pytest.approx((odds.y11 - odds.y00).mean())
    difference = np.exp(odds.y11) - np.exp(odds.y00)
    assert mean_of(table, "TE", summary="difference") == pytest.approx(difference.mean())
    some = table[table["summary"] != "mean"]
    assert ((some["lo"] <= some["estimate"]) & (some["estimate"] <= some["hi"])).all()


def test_a_mean_of_very_skewed_ratios_has_no_limits() -> None:
    odds, _, _ = made(200)
    half = Odds(odds.y00, odds.y00 + 0.3 * (odds.y11 - odds.y00), odds.cluster, 500)
    heavy = Odds(odds.y00, odds.y00 + 3 * (odds.y11 - odds.y00), odds.cluster, 500)
    has, lacks = (odds_effects(one).set_index("summary") for one in (half, heavy))
    assert has.loc["mean", "lo"] < has.loc["mean", "estimate"] < has.loc["mean", "hi"]
    # skewed to the right, and so are the limits
    assert has.loc["mean", ["lo", "hi"]].sum() / 2 > has.loc["mean", "estimate"]
    assert lacks.loc["mean", ["lo", "hi", "p"]].isna().all()
    assert lacks.loc[["median", "geometric", "log"], ["lo", "hi"]].notna().all(axis=None)


def test_medians_of_draws_are_those_of_the_drawn_samples() -> None:
    from vlbias.analysis.inference import cluster_weights

    odds, _, _ = made(12)
    ratio = np.expm1(odds.y11 - odds.y00)
    row = odds_effects(odds).set_index("summary").loc["median"]
    weights = cluster_weights(6, odds.draws, np.random.default_rng(0)).astype(int)
    clusters = np.unique(odds.cluster, return_inverse=True)[1]
    drawn = [np.median(np.repeat(ratio, weight[clusters])) for weight in weights]
    assert row["lo"] == pytest.approx(np.quantile(drawn, 0.025))
    assert row["hi"] == pytest.approx(np.quantile(drawn, 0.975))


def test_intervals_hold_clusters_together() -> None:
    odds, _, _ = made(200)
    twin = Odds(np.repeat(odds.y00, 5), np.repeat(odds.y11, 5), np.repeat(odds.cluster, 5), 500)
    loose = Odds(twin.y00, twin.y11, np.arange(1000).astype(str), 500)
    widths = [
        (rows := odds_effects(one).set_index("summary").loc["log"])["hi"] - rows["lo"]
        for one in (twin, loose)
    ]
    assert widths[0] > 1.8 * widths[1]


def test_rows_that_are_misaligned_are_left_out_and_counted() -> None:
    odds, y01, y10 = made()
    y01[:10], y10[:10] = np.nan, np.nan
    table = odds_effects(odds, [("m", y01, y10)]).set_index(["mediator", "effect", "summary"])
    assert table.loc[("", "TE", "mean"), "n"] == 40
    assert table.loc[("m", "NIE", "mean"), "n"] == 30
    assert table.loc[("m", "NIE", "mean"), "n_clusters"] == 15


def test_a_sum_is_never_the_joint_effect() -> None:
    """A13: single effects that overlap add up to more than what they do together."""
    odds, _, _ = made()
    step = odds.y11 - odds.y00
    arms = [
        (name, odds.y00 + part * step, odds.y11)
        for name, part in (("a", 0.9), ("b", 0.9), ("ab", 1))
    ]
    row = synergy(odds_effects(odds, arms), {"ab": ("a", "b")}).iloc[0]
    assert row["joint_log"] == pytest.approx(step.mean())
    assert row["sum_of_parts_log"] == pytest.approx(1.8 * step.mean())
    assert row["synergy_log"] == pytest.approx(-0.8 * step.mean())
    with pytest.raises(BadTable, match="'c'"):
        synergy(odds_effects(odds, arms), {"ab": ("a", "c")})


def test_no_sample_is_an_error() -> None:
    odds, _, _ = made()
    with pytest.raises(BadTable, match="odds ratio above 1"):
        aligned_filter(np.full(4, -1.0))
    with pytest.raises(BadTable, match="no sample"):
        odds_effects(odds.take(np.zeros(40, bool)))


def test_one_cluster_gives_no_limits_to_any_summary() -> None:
    odds = Odds(np.zeros(3), np.array([0.1, 0.4, 0.2]), np.array(["nurse"] * 3), 200)
    table = odds_effects(odds)
    total = table[table["effect"] == "TE"]
    assert set(total["summary"]) == {"mean", "median", "geometric", "log", "difference"}
    assert not np.isfinite(total["hi"]).any()
    assert (total["p"] == 1).all()
