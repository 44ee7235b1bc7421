"""What stands first on a page: few short answers with numbers, and a mark that promises nothing."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from vlbias.report.blocks import Glance, Section
from vlbias.report.claims import Sentence
from vlbias.report.glance import stories
from vlbias.report.names import contrast_in_words, method_in_words, part_in_words, quantity_in_words
from vlbias.studies import KINDS
from vlbias.studies.bias.glance import at_a_glance
from vlbias.studies.bias.page.columns import group_columns
from vlbias.studies.mitigation import glance as of_mitigations
from vlbias.studies.mitigation.other_gaps import told_apart
from vlbias.studies.photos.glance import how_much

ROW = {"world": "null", "p": 0.001, "B_crossfit": 0.24, "B_lo": 0.12, "B_hi": 0.48, "n_objects": 12,
       "photos": 400}  # fmt: skip
GROUPS = ("masculine", "feminine")
CODES = re.compile(r"->|B_lin|NIE|null|mask-gender|image_encoder|p =")


def _run(**about: Any) -> Any:
    study = {"name": "s", "dataset": {"groups": GROUPS}, "mitigation": {"report": "test"}}
    manifest = {
        "study": study,
        "model": {"name": "m", "revision": "1"},
        "data": {"content_hash": "h"},
    }
    samples = pd.DataFrame({"split": ["test"] * 7})
    return SimpleNamespace(manifest={**manifest, **about}, folder=Path("s"), samples=samples)


def _tables(effects: list[dict[str, Any]], statements: list[dict[str, Any]], **row: Any) -> Any:
    return SimpleNamespace(
        conditions=pd.DataFrame([{**ROW, **row}]), effects=pd.DataFrame(effects),
        statements=pd.DataFrame(statements),
    )  # fmt: skip


def _effect(
    mediator: str, estimate: float, p: float, contrast: str = "null->both"
) -> dict[str, Any]:
    return {"contrast": contrast, "mediator": mediator, "effect": "NIE", "functional": "B_lin",
            "estimate": estimate, "lo": estimate - 0.06, "hi": estimate + 0.06, "p_adjusted": p,
            "n_objects": 12, "cut": False}  # fmt: skip


def _statement(contrast: str, said: str, estimate: float) -> dict[str, Any]:
    return {"contrast": contrast, "statement": "beyond strictness", "said": said,
            "estimate": estimate, "lo": estimate - 0.06, "hi": estimate + 0.06}  # fmt: skip


def test_how_much_where_and_what_helps_with_numbers_and_without_codes() -> None:
    tables = _tables(
        [_effect("image_encoder", -0.24, 0.001), _effect("text_encoder", -0.12, 0.3),
         {**_effect("", -0.30, 0.001), "effect": "TE"}],
        [_statement("null->mask-gender", "reduced", -0.36), _statement("null->both", "reduced", -0.18),
         _statement("null->placebo-image", "reduced", -0.9)],
    )  # fmt: skip
    answers = at_a_glance(_run(), tables)
    assert [one.asked for one in answers] == ["How much?", "Where?", "What helps?"]
    assert [one.verdict for one in answers] == ["shown", "exploratory", "shown"]
    assert (
        "2.0 percentage points per object on average (95 % limits 1.0 to 4.0)" in answers[0].number
    )
    assert "image encoder" in answers[1].said
    assert answers[1].number.startswith("2.0 (95 % limits 1.5 to 2.5) of the 2.5 percentage points")
    assert "the persons in the photo are blurred" in answers[2].said
    assert "3.0 percentage points" in answers[2].number
    for one in answers:
        assert not CODES.search(one.said.removeprefix("Exploratory: "))
        assert len(one.said.split()) <= 32
        assert one.said.claim in {claim.name for claim in KINDS["bias"].claims}


def test_what_is_not_shown_stands_alone_and_says_what_is_left_open() -> None:
    (one,) = at_a_glance(_run(), _tables([], [], p=0.2))
    assert (one.verdict, one.said.claim) == ("not shown", "glance-bias-not-shown")
    assert "does not mean that it makes none" in one.said
    assert "at most 4.0 percentage points" in one.number
    (one,) = at_a_glance(_run(), _tables([], [], p=float("nan"), n_objects=0))
    assert (one.verdict, one.number) == ("too little data", "")


def test_a_change_that_does_not_survive_is_not_said_to_help() -> None:
    tables = _tables(
        [_effect("image_encoder", -0.24, 0.2)], [_statement("null->both", "not shown", -0.2)]
    )
    _, where, helps = at_a_glance(_run(), tables)
    assert (where.verdict, helps.verdict) == ("not shown", "not shown")
    assert helps.said.startswith("None of what was tried is shown")


def test_a_world_that_makes_b_larger_is_not_said_to_help() -> None:
    tables = _tables(
        [_effect("image_encoder", -0.24, 0.2)], [_statement("null->both", "reduced", -0.2)]
    )
    assert at_a_glance(_run(), tables)[2].verdict == "shown"
    larger = {**ROW, "world": "both", "B_crossfit": 0.5}
    tables.conditions = pd.concat([tables.conditions, pd.DataFrame([larger])], ignore_index=True)
    assert at_a_glance(_run(), tables)[2].verdict == "not shown"


@pytest.mark.parametrize(
    ("adjusted", "performance", "crossfit", "said", "verdict"),
    [
        ("reduced", "kept", 1.0, "glance-helps", "shown"),
        ("reduced", "not shown", 1.0, "glance-helps-at-a-cost", "shown"),
        ("reduced", "kept", 3.4, "glance-nothing-helps", "not shown"),  # others opened
        ("not shown", "kept", 1.0, "glance-nothing-helps", "not shown"),
    ],
)
def test_what_helps_has_to_beat_its_placebo(
    adjusted: str, performance: str, crossfit: float, said: str, verdict: str
) -> None:
    verdicts = pd.DataFrame(
        [{"chosen": True, "setting": "feature-blur", "attributable_adjusted": adjusted,
          "B_crossfit_null": 1.7, "B_crossfit": crossfit,
          "performance_verdict": performance, "attributable": -0.24, "attributable_lo": -0.36,
          "attributable_hi": -0.12}]
    )  # fmt: skip
    tables: Any = SimpleNamespace(
        conditions=pd.DataFrame([{**ROW, "role": "none"}]), verdicts=verdicts
    )
    answers = of_mitigations.at_a_glance(_run(), tables)
    assert (answers[1].said.claim, answers[1].verdict) == (said, verdict)
    expected = "reduced, B larger" if crossfit > 1.7 else adjusted
    assert told_apart(verdicts, "attributable_adjusted").tolist() == [expected]


def _section(*answers: Glance) -> Section:
    return Section(Sentence("The headline.", "bias-shown"), [], [], glance=answers)


def test_runs_of_one_model_and_data_are_one_story() -> None:
    amount = how_much(ROW, GROUPS)
    first, last = (
        Glance("What helps?", Sentence(text, "glance-helps"), "", "shown") for text in ("a", "b")
    )
    mitigations = _run(study={"name": "mitigations"})
    (story,) = stories([(_run(), _section(amount, first)), (mitigations, _section(amount, last))])
    assert story.name == "s and mitigations: m"
    assert [one.said for one in story.glances] == [amount.said, "b"], "the run made for it answers"
    other = _run(model={"name": "other", "revision": "2"})
    assert len(stories([(_run(), _section(amount)), (other, _section(amount))])) == 2


def test_a_kind_without_answers_says_its_headline() -> None:
    (story,) = stories([(_run(), _section())])
    assert [(one.said, one.verdict) for one in story.glances] == [("The headline.", "see below")]


def test_no_mark_is_green() -> None:
    folder = Path(__file__).resolve().parents[1] / "vlbias" / "report" / "templates"
    style = (folder / "page.css.j2").read_text()
    marks = re.findall(r"\.mark[^{]*\{([^}]*)\}", style)
    assert len(marks) >= 5
    used = set(re.findall(r"var\((--[a-z0-9-]+)\)", " ".join(marks)))
    assert used == {"--series-1"}, "orange for what is shown, ink for all else"


def test_names_are_translated_in_one_table() -> None:
    assert contrast_in_words("null->mask-gender") == "when the persons in the photo are blurred"
    assert contrast_in_words("null->own") == "when the world is 'own'"
    assert part_in_words("image_encoder/head.3[5]") == "image encoder, block 3, head 5"
    assert part_in_words("image_encoder/attn.3+text_encoder") == (
        "image encoder, attention of block 3 and text encoder"
    )
    assert part_in_words("lm/mlp.2@word") == "language model, MLP of block 2, at word"
    assert method_in_words("own-method") == "own-method"
    assert method_in_words("pixel-blur (region=head)").startswith(
        "the persons in the photo blurred (pixel"
    )
    assert quantity_in_words("B_lin") == "the differences that the model had"


def test_heads_of_three_groups_are_told_apart() -> None:
    groups = ("a", "b", "c")
    pairs = [("a", "b"), ("a", "c"), ("b", "c")]
    frame = pd.DataFrame([{f"superiority_gap_{x}_{y}": 0.0 for x, y in pairs}])
    heads = list(group_columns(frame, groups))
    assert heads == ["superiority, a over b", "superiority, a over c", "superiority, b over c"]
    assert list(group_columns(frame.iloc[:, :1], ("a", "b"))) == ["superiority, a"]
