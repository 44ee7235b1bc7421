"""Pictures of models: layers of a language model, and a model before and after mitigations."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from vlbias import plots
from vlbias.errors import BadTable
from vlbias.report.drawing import svg
from vlbias.studies.language.model_block import layers_of_model
from vlbias.studies.mitigation.page.pictures import picture_blocks, pictured

EFFECTS = pd.DataFrame(
    [{"contrast": contrast, "effect": "NIE", "summary": summary, "mediator": name,
      "estimate": scale * value, "lo": scale * value - 0.1, "hi": scale * value + 0.1, "p_adjusted": p}
     for contrast, scale in (("null->set-gender", 1.0), ("null->person", 0.1))
     for summary in ("mean", "median")
     for name, value, p in (
         ("lm/attn.0", 0.4, 0.01), ("lm/attn.1", -0.1, 0.6), ("lm/mlp.0@word", 0.05, 0.6),
         ("lm/mlp.0@-1", 0.9, 0.6), ("lm/mlp.1@word", 2.0, 0.001), ("lm/resid.1", 2.2, 0.001),
         ("lm/head.0[0]", 0.3, 0.01), ("all lm/attn.*", 0.3, 0.01), ("lm", 3.0, 0.01))]
)  # fmt: skip
STAGES = {
    "image_encoder": {"channels": ["image"], "parents": []},
    "text_encoder": {"channels": ["text"], "parents": []},
}
ROWS = pd.DataFrame(
    [{"name": name, "changed": changed, "estimate": value, "lo": value - 0.1, "hi": value + 0.1,
      "placebo": placebo}
     for name, changed, value, placebo in (
         ("as it is", [], 0.8, np.nan), ("leace @ 1", ["image_encoder"], 0.2, 0.75),
         ("pixel-blur @ 1", ["image"], 0.4, 0.7))]
)  # fmt: skip


def test_layers_are_whole_ones_of_one_summary_and_one_position() -> None:
    frame = plots.layer_effects(EFFECTS, "null->set-gender")
    found = [tuple(row) for row in frame[["port", "layer", "position"]].to_numpy()]
    assert found == [
        ("attn", 0, ""), ("attn", 1, ""), ("mlp", 0, "word"), ("mlp", 1, "word"), ("resid", 1, "")
    ]  # fmt: skip
    assert frame["estimate"].tolist() == [0.4, -0.1, 0.05, 2.0, 2.2]
    assert plots.layer_effects(EFFECTS, "null->null").empty


def test_the_picture_of_layers_has_the_order_of_the_model_and_tells_every_box() -> None:
    figure = Figure()
    frame = plots.layer_effects(EFFECTS, "null->set-gender")
    total = {"estimate": 3.0, "lo": 2.0, "hi": 4.0}
    axis = plots.layer_picture(frame, figure.subplots(), total=total, ends=("words", "odds"))
    places = {text.get_text(): text.get_position() for text in axis.texts}
    end = next(name for name in places if name.startswith("odds"))
    assert "[+2.000, +4.000]" in end
    assert places["words"][0] < places["+0.40"][0] < places["+2.00"][0] < places[end][0]
    assert places["+0.40"][1] > places["words"][1] > places["+2.00"][1]
    told = re.findall(r"<title>(.*?)</title>", svg(figure), re.S)
    assert len(told) == 5
    assert (
        "MLP, layer 1, at word\n+2.000, 95 % limits +1.900 to +2.100\nsurvives correction" in told
    )
    with pytest.raises(BadTable, match="lacks the columns port"):
        plots.layer_picture(frame.drop(columns="port"), Figure().subplots())


def test_many_layers_are_coloured_in_place_of_numbers() -> None:
    frame = pd.DataFrame({"port": "attn", "layer": range(30), "estimate": 0.5, "p_adjusted": 0.5})
    axis = plots.layer_picture(frame.assign(lo=0.4, hi=0.6), Figure().subplots(), limit=1.0)
    assert "+0.50" not in {text.get_text() for text in axis.texts}
    faces = {tuple(np.round(one.get_facecolor(), 3)) for one in axis.patches[2::2]}
    assert len(faces) == 1, "the same effect has the same colour"


def test_contrasts_of_one_run_are_drawn_in_one_scale() -> None:
    drawn = {
        name: plots.layer_effects(EFFECTS, name) for name in ("null->set-gender", "null->person")
    }
    total = pd.Series({"estimate": 1.0, "lo": 0.5, "hi": 1.5})
    figure = layers_of_model(drawn, [total, total])
    widths = [max(patch.get_linewidth() for patch in axis.patches) for axis in figure.axes]
    assert widths[0] > 2 * widths[1], "a placebo's arrows are as thin as its effects are small"


def test_what_a_mitigation_changes_and_what_is_left_stand_in_its_row() -> None:
    figure = Figure()
    axis = plots.before_and_after(ROWS, STAGES, figure.subplots())
    words = [text.get_text() for text in axis.texts]
    assert words.count("image encoder\nchanged") == 1
    assert words.count("photo\nchanged") == 1
    assert [w for w in words if w.startswith("0.")] == [
        "0.800\n[0.700, 0.900]", "0.200\n[0.100, 0.300]\nplacebo 0.750",
        "0.400\n[0.300, 0.500]\nplacebo 0.700",
    ]  # fmt: skip
    told = re.findall(r"<title>(.*?)</title>", svg(figure), re.S)
    assert [one.partition("\n")[0] for one in told] == ROWS["name"].tolist()
    with pytest.raises(BadTable, match="lacks the columns changed"):
        plots.before_and_after(ROWS.drop(columns="changed"), STAGES, Figure().subplots())


def test_settings_are_pictured_at_their_chosen_strength_with_the_least_b_first() -> None:
    conditions = pd.DataFrame(
        [{"name": name, "setting": setting, "role": role, "strength": strength, "B_crossfit": value,
          "B_lo": value - 0.1, "B_hi": value + 0.1, "n_objects": 3}
         for name, setting, role, strength, value in (
             ("none", "none", "none", 0.0, 0.8), ("inlp @ 1", "inlp", "mitigated", 1.0, 0.5),
             ("leace @ 0.5", "leace", "mitigated", 0.5, 0.4), ("leace @ 1", "leace", "mitigated", 1.0, 0.2),
             ("placebo 1 of leace @ 1", "leace", "placebo", 1.0, 0.7),
             ("placebo 2 of leace @ 1", "leace", "placebo", 1.0, 0.9))]
    )  # fmt: skip
    verdicts = pd.DataFrame(
        {"setting": ["inlp", "leace", "leace"], "strength": [1.0, 0.5, 1.0],
         "chosen": [True, False, True]}
    )  # fmt: skip
    settings = {"leace": {"changes": ["image_encoder"]}, "inlp": {"changes": ["text_encoder"]}}
    run: Any = SimpleNamespace(manifest={"settings": settings, "stages": STAGES})
    tables: Any = SimpleNamespace(conditions=conditions, verdicts=verdicts)
    rows = pictured(run, tables)
    assert rows["name"].tolist() == ["as it is", "leace @ 1", "inlp @ 1"]
    assert rows["changed"].tolist() == [[], ["image_encoder"], ["text_encoder"]]
    assert rows["placebo"].tolist()[1] == pytest.approx(0.8)
    (block,) = picture_blocks(run, tables)
    assert "leace @ 1, which changes image encoder: B 0.200 [0.100, 0.300]" in block.alt
    old: Any = SimpleNamespace(manifest={"settings": settings})
    assert list(picture_blocks(old, tables)) == [], "runs of 0.1.0 do not say how stages are joined"
