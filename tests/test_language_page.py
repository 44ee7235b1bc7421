"""What a language model's page shows, on tables made by hand."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from vlbias.analysis.odds import Odds, decomposition, identity_error
from vlbias.studies.language import figures
from vlbias.studies.language.guidance import GUIDANCE
from vlbias.studies.language.numbers.joint_mediators import finest_parts, synergies


def effects_of(values: dict[str, float]) -> pd.DataFrame:
    rows = [
        {"mediator": name, "estimate": value, "lo": value - 1, "hi": value + 1, "p_adjusted": 0.5}
        for name, value in values.items()
    ]
    return pd.DataFrame(rows)


def test_single_sites_have_their_layer_unit_and_position() -> None:
    names = ["lm/mlp.3[17]@word", "lm/embed[2]@word", "lm/head.0", "all lm/head.*", "lm/resid.1@-1"]
    sites = figures.single_sites(effects_of(dict.fromkeys(names, 0.0)))
    assert list(sites["mediator"]) == [n for n in names if not n.startswith("all")]
    assert list(sites["layer"]) == [3, figures.EMBEDDING_LAYER, 0, 1]
    assert sites["unit"].fillna(-9).tolist() == [17, 2, -9, -9]
    assert list(sites["position"]) == ["word", "word", "", "-1"]


def lines_of(figure: Any) -> dict[str, Any]:
    axis = figure.axes[0]
    return {line.get_label(): line for line in axis.lines if not line.get_label().startswith("_")}


def test_neurons_by_layer_are_the_means_of_the_top_share() -> None:
    rng = np.random.default_rng(0)
    values = {f"lm/mlp.{i}[{u}]@word": float(rng.normal()) for i in range(3) for u in range(80)}
    values |= {f"lm/embed[{u}]@word": 10.0 + u for u in range(40)}
    values |= {f"lm/head.0[{u}]": 99.0 for u in range(4)}
    (line,) = lines_of(figures.top_neurons(figures.single_sites(effects_of(values)))).values()
    assert line.get_label() == "mlp at word"
    expected = [49.0] + [
        np.mean(sorted(values[f"lm/mlp.{i}[{u}]@word"] for u in range(80))[-2:]) for i in range(3)
    ]
    assert line.get_xdata().tolist() == [-1, 0, 1, 2]
    np.testing.assert_allclose(line.get_ydata(), expected)


def test_heads_have_their_own_cell_and_mark() -> None:
    values = {f"lm/head.{i}[{u}]": float(10 * i + u) for i in range(3) for u in range(2)}
    effects = effects_of(values)
    effects.loc[effects["mediator"] == "lm/head.2[1]", "p_adjusted"] = 0.01
    axis = figures.effects_by_head(figures.single_sites(effects), "head").axes[0]
    assert np.asarray(axis.collections[0].get_array()).reshape(3, 2).tolist() == [
        [0, 1],
        [10, 11],
        [20, 21],
    ]
    assert [line.get_xydata().tolist() for line in axis.lines] == [[[1.0, 2.0]]]


def test_positions_are_a_panel_for_each_port() -> None:
    values = {
        f"lm/{port}.{i}@{position}": float(i)
        for port in ("attn", "mlp")
        for i in range(4)
        for position in ("word", "-1")
    }
    figure = figures.effects_by_position(figures.single_sites(effects_of(values)))
    panels = [axis for axis in figure.axes if axis.images]
    assert [axis.get_title() for axis in panels] == ["attn", "mlp"]
    assert np.asarray(panels[0].images[0].get_array()).shape == (4, 2)


def test_sparsity_reaches_everything_that_is_positive() -> None:
    values = {"lm/head.0[0]": 3.0, "lm/head.0[1]": 1.0, "lm/head.1[0]": -5.0, "lm/head.1[1]": 0.0}
    (line,) = lines_of(figures.sparsity(figures.single_sites(effects_of(values)))).values()
    assert line.get_ydata().tolist() == [0.75, 1.0, 1.0, 1.0]


def test_random_weights_are_drawn_apart() -> None:
    models = pd.DataFrame(
        [
            {"model": name, "parameters": size, "random": random, "samples": "all",
             "estimate": te, "lo": te - 0.1, "hi": te + 0.1}
            for name, size, random, te in (
                ("small", 1e8, False, 1.0), ("large", 1e9, False, 2.0), ("small-random0", 1e8, True, 0.0))
        ]
    )  # fmt: skip
    axis = figures.effects_by_model_size(models).axes[0]
    labels = axis.get_legend_handles_labels()[1]
    assert labels == ["all", "all, random weights"]
    assert {text.get_text() for text in axis.texts} == {"small", "large"}


def made() -> tuple[Odds, dict[str, Any]]:
    rng = np.random.default_rng(0)
    y00, y11 = rng.normal(size=(2, 30))
    arms = {name: tuple(rng.normal(size=(2, 30))) for name in ("a", "b", "all")}
    return Odds(y00, y11, np.arange(30).astype(str), 20), arms


def test_the_residual_is_what_does_not_add_up() -> None:
    odds, arms = made()
    row = decomposition(odds, arms, {"all": ("a", "b")}).iloc[0]
    te, nie, nde = (np.expm1(arm - odds.y00) for arm in (odds.y11, arms["all"][0], arms["all"][1]))
    assert row["residual"] == pytest.approx((te - nie - nde).mean())
    assert row["r_TE_both"] == pytest.approx(np.corrcoef(te, nie + nde)[0, 1])
    single = sum(np.expm1(arms[part][0] - odds.y00) for part in ("a", "b"))
    assert row["r_TE_parts"] == pytest.approx(np.corrcoef(te, single)[0, 1])
    assert abs(row["residual"]) > 0.01
    assert np.isnan(decomposition(odds, arms, {"all": ()}).iloc[0]["r_TE_parts"])


def test_the_identity_holds_where_no_sum_does() -> None:
    """A3: for every sample and any mediator."""
    odds, arms = made()
    assert identity_error(odds, arms) < 1e-12


def test_the_sum_of_the_smallest_parts_stands_beside_the_sum_of_layers() -> None:
    parts = {"all": ("l0", "l1"), "l0": ("h00", "h01"), "l1": ("h10", "h11")}
    assert finest_parts(parts, "all") == ("h00", "h01", "h10", "h11")
    names = ["all", "l0", "l1", "h00", "h01", "h10", "h11"]
    effects = pd.DataFrame(
        [
            {"mediator": name, "effect": "NIE", "summary": summary, "estimate": float(i)}
            for i, name in enumerate(names)
            for summary in ("mean", "log")
        ]
    )
    table = synergies(effects, parts).set_index(["mediator", "parts"])
    assert table.loc[("all", 2), "sum_of_parts"] == 3
    assert table.loc[("all", 4), "sum_of_parts"] == 18
    assert not any(re.search("total", column) for column in table.columns)


def test_limits_of_texts_speak_of_texts() -> None:
    text = " ".join(GUIDANCE.limits)
    assert "photo" not in text
    assert "person" in text
    assert "random weights" in text
