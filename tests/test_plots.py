"""Plots: a frame and an axis in, the axis out; every mark tells its value in the page."""

from __future__ import annotations

import re
from collections.abc import Callable

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vlbias import plots
from vlbias.errors import BadTable
from vlbias.report.drawing import svg
from vlbias.report.told import tell

EFFECTS = pd.DataFrame(
    [{"contrast": contrast, "functional": "B_lin", "effect": "NIE", "mediator": name,
      "estimate": scale * value, "lo": scale * value - 0.1, "hi": scale * value + 0.1,
      "p_adjusted": p, "cut": name == "fusion_encoder"}
     for contrast, scale in (("null->both", 1.0), ("null->placebo-both", 0.1))
     for name, value, p in (
         ("image_encoder", -0.4, 0.01), ("text_encoder", 0.05, 0.6), ("fusion_encoder", -0.5, 0.01),
         ("image_encoder/head.0[0]", -0.3, 0.01), ("image_encoder/head.0[1]", 0.1, 0.7),
         ("image_encoder/head.1[0]", 0.0, 0.9), ("image_encoder/attn.0", -0.2, 0.01),
         ("image_encoder/mlp.0", 0.1, 0.2))]
)  # fmt: skip
ONE = EFFECTS[EFFECTS["contrast"] == "null->both"]
WORLDS = pd.DataFrame(
    {"world": ["null", "mask-gender"], "B_plugin": [0.5, 0.3], "floor": [0.2, 0.2],
     "B_crossfit": [0.4, np.nan], "B_lo": [0.3, 0.0], "B_hi": [0.6, 0.4], "run": ["a", "b"]}
)  # fmt: skip
OBJECTS = pd.DataFrame(
    {"object": ["cup", "tie", "dog"], "status": ["ok", "ok", "insufficient"], "gap": [0.1, -0.3, np.nan],
     "lo": [0.0, -0.4, np.nan], "hi": [0.2, -0.2, np.nan], "p_max_t": [0.4, 0.01, np.nan]}
)  # fmt: skip
CHANGES = pd.DataFrame(
    {"setting": ["none", "blur", "blur", "blur"], "role": ["none", "mitigated", "mitigated", "placebo"],
     "strength": [0.0, 0.5, 1.0, 1.0], "bias": [0.0, -0.1, -0.3, 0.0],
     "performance": [0.0, 0.0, -0.01, -0.02], "front": [False, True, True, False]}
)  # fmt: skip
POINTS = pd.DataFrame({"arm": "null", "fpr": [0.05, 0.1, 0.2], "B_crossfit": [0.1, 0.2, np.nan]})

CASES: dict[str, tuple[Callable[..., Axes], pd.DataFrame, int]] = {
    "heads": (plots.heads, ONE[ONE["mediator"].str.contains("head")], 4),
    "layers": (plots.layers, ONE[ONE["mediator"].str.contains("/")], 2),
    "gaps": (plots.gaps, OBJECTS, 2),
    "worlds": (plots.worlds, WORLDS, 3),
    "ranking": (plots.ranking, WORLDS, 1),
    "pareto": (plots.pareto, CHANGES, 4),
    "operating_points": (plots.operating_points, POINTS, 3),
    "intervals": (plots.intervals, ONE.head(2), 2),
    "model_picture": (plots.model_picture, plots.stage_effects(EFFECTS, "null->both"), 3),
}


@pytest.mark.parametrize("name", CASES)
def test_a_plot_takes_an_axis_and_gives_it_back_with_words_in_every_mark(name: str) -> None:
    plot, frame, told = CASES[name]
    figure = Figure()
    axis = figure.subplots()
    assert plot(frame, axis) is axis
    drawn = svg(figure)
    assert drawn.count("<title>") == told
    assert "ns0:" not in drawn
    assert drawn == svg(figure), "the same figure gives the same bytes"


@pytest.mark.parametrize("name", CASES)
def test_a_missing_column_is_named(name: str) -> None:
    plot, frame, _ = CASES[name]
    column = "stage" if name == "model_picture" else frame.columns[-1]
    needed = {
        "heads": "estimate",
        "layers": "lo",
        "gaps": "p_max_t",
        "worlds": "floor",
        "ranking": "run",
        "pareto": "bias",
        "operating_points": "fpr",
        "intervals": "hi",
    }
    column = needed.get(name, column)
    with pytest.raises(BadTable, match=f"lacks the columns {column}"):
        plot(frame.drop(columns=column), Figure().subplots())


def test_without_an_axis_the_current_one_is_drawn_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "agg")
    mpl.use("agg")
    import matplotlib.pyplot as plt

    plt.close("all")
    assert plots.worlds(WORLDS) is plt.gca()
    plt.close("all")


def test_a_cell_says_where_it_is_what_it_is_and_whether_it_survives() -> None:
    figure = Figure()
    plots.heads(CASES["heads"][1], figure.subplots())
    found = re.findall(r"<title>(.*?)</title>", svg(figure), re.S)
    assert found[0] == "block 0, head 0\n-0.300, 95 % limits -0.400 to -0.200\nsurvives correction"
    assert found[3] == "block 1, head 1\nnot measured"


def test_maps_of_one_run_have_one_scale() -> None:
    figure = Figure()
    axis = plots.heads(CASES["heads"][1], figure.subplots(), limit=2.0)
    assert axis.collections[0].get_clim() == (-2.0, 2.0)


def test_the_picture_has_the_order_of_the_model_its_placebo_and_its_cuts() -> None:
    frame = plots.stage_effects(EFFECTS, "null->both", placebos=["null->placebo-both"])
    assert frame["stage"].tolist() == ["image_encoder", "text_encoder", "fusion_encoder"]
    assert frame["inputs"].tolist() == [["image"], ["text"], []]
    assert frame["placebo"].tolist() == pytest.approx([-0.04, 0.005, -0.05])
    figure = Figure()
    axis = plots.model_picture(frame, figure.subplots())
    words = {text.get_text(): text.get_position() for text in axis.texts}
    image, fusion = (
        next(k for k in words if k.startswith(w)) for w in ("image encoder", "fusion of")
    )
    assert words["photo"][0] < words[image][0] < words[fusion][0] < words["output"][0]
    assert "placebo -0.040" in image
    assert "(cut)" in fusion
    assert "cut: all passes through it by construction" in svg(figure)


def test_stages_of_a_run_are_drawn_as_its_manifest_joins_them() -> None:
    stages = {
        "text_encoder": {"channels": ["text"], "parents": []},
        "image_encoder": {"channels": ["image"], "parents": []},
    }
    frame = plots.stage_effects(EFFECTS, "null->both", stages)
    assert frame["stage"].tolist() == ["text_encoder", "image_encoder"]
    plots.model_picture(frame, Figure().subplots())


def test_marks_and_words_have_to_be_as_many() -> None:
    figure = Figure()
    (line,) = figure.subplots().plot([1, 2, 3], "o")
    tell(line, ["one"])
    with pytest.raises(ValueError, match="3 marks are drawn, and 1 have words"):
        svg(figure)
