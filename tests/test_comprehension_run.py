"""Runs of comprehension: tiny language models, functions, and a server, whole and resumed."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from chat_server import chat_server
from tiny_language import write_language

from vlbias.errors import BadData, BadStudy, BadTable, UnknownName
from vlbias.store.run_folder import Run
from vlbias.studies import lifecycle
from vlbias.studies.comprehension.asking import ask
from vlbias.studies.comprehension.numbers import numbers
from vlbias.studies.reporting import report


def effects(folder: Path) -> pd.DataFrame:
    return numbers(Run(folder), draws=300).effects.set_index("quantity")


def understands(prompt: str) -> str:
    told, asked = re.findall(r"(\w+) than", prompt)
    return "yes" if told == asked else "no"


def superficial(prompt: str) -> str:
    """Goes by how it is said: half right, and never by what is said."""
    return "yes" if prompt.split()[1] in ("says", "notes", "writes") else "no"


def test_functions_of_known_comprehension(tmp_path: Path) -> None:
    common: dict[str, Any] = {"task": "entailment", "count": 200, "out": tmp_path}
    wise = effects(ask(understands, name="wise", **common).folder)
    shallow = effects(ask(superficial, name="shallow", **common).folder)
    assert wise.loc[["accuracy", "unconditioned", "ADCE"], "estimate"].tolist() == [1, 1, 1]
    assert wise.loc["PN", "estimate"] == wise.loc["PS", "estimate"] == 1
    assert shallow.loc["unconditioned", "hi"] < 0
    page = report([tmp_path / "wise", tmp_path / "shallow"], tmp_path / "page", draws=300)
    text = page.html.read_text()
    assert "changes its answer more often after an edit of the meaning" in text
    assert "does not change its answer more often" in text
    assert "Accuracy and comprehension" in text
    assert "deep less surface" in text
    assert "B of the first minus B of the second" not in text


def test_answers_that_are_none_are_statuses(tmp_path: Path) -> None:
    def moody(prompt: str) -> str:
        if prompt.startswith("Anna"):
            raise TimeoutError("too late")
        return "hm" if prompt.startswith("Peter") else understands(prompt)

    folder = ask(moody, name="moody", task="entailment", count=100, out=tmp_path).folder
    tables = numbers(Run(folder), draws=100)
    assert set(tables.statuses["status"]) == {"ok", "timeout", "unparsable"}
    found = tables.effects.set_index("quantity")
    assert found.loc["unconditioned", "estimate"] == 1
    assert found.loc["accuracy", "items"] < 100
    page = report(folder, draws=100)
    assert "have no answer (timeout" in page.html.read_text()


def test_a_function_that_never_answers(tmp_path: Path) -> None:
    folder = ask(lambda prompt: "hm", name="mute", task="entailment", count=5, out=tmp_path).folder
    with pytest.raises(BadTable, match="no original item has an answer"):
        numbers(Run(folder))


def test_a_function_that_breaks_loses_nothing(tmp_path: Path) -> None:
    asked = []

    def breaks(prompt: str) -> str:
        asked.append(prompt)
        if len(asked) == 300:
            raise RuntimeError("broken")
        return understands(prompt)

    common: dict[str, Any] = {"name": "breaks", "task": "entailment", "count": 100, "out": tmp_path}
    first = ask(breaks, **common)
    assert (first.done, len(first.failed)) == (1, 1)
    second = ask(breaks, **common)
    assert (second.done, second.skipped) == (1, 1)
    whole = ask(understands, **{**common, "name": "whole"})
    pd.testing.assert_frame_equal(effects(second.folder), effects(whole.folder))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_language("gpt2", tmp_path_factory.mktemp("tiny") / "gpt2")


def study(tiny: Path, **changes: Any) -> Any:
    content = {
        "kind": "comprehension", "name": "tiny", "model": str(tiny), "task": "entailment", "count": 60,
        "shard_size": 20,
    }  # fmt: skip
    return lifecycle.parse_study({**content, **changes})


def test_a_subject_that_guesses(tmp_path: Path) -> None:
    """C5: answers that depend on nothing but the text's hash have contrasts within their limits of 0."""

    def guesses(prompt: str) -> str:
        return "yes" if hashlib.sha256(prompt.encode()).digest()[0] % 2 else "no"

    found = effects(ask(guesses, name="guesses", task="entailment", count=400, out=tmp_path).folder)
    for name in ("unconditioned", "ADCE"):
        assert found.loc[name, "lo"] <= 0 <= found.loc[name, "hi"]
    assert found.loc["accuracy", "lo"] <= 0.5 <= found.loc["accuracy", "hi"]


def test_random_weights_are_labelled(tiny: Path, tmp_path: Path) -> None:
    """Random weights are no guesses: tied embeddings repeat letters of the text, which edits change."""
    folder = lifecycle.run(study(tiny, random_weights=1, count=10), tmp_path).folder
    assert "are random" in report(folder, draws=100).html.read_text()


def test_scored_choices_are_the_most_probable_ones(tiny: Path, tmp_path: Path) -> None:
    """Scores against log-probabilities of whole texts, token by token."""
    import torch

    from vlbias.models import load_model
    from vlbias.studies.comprehension.items import Question
    from vlbias.studies.comprehension.subjects.language import ScoringSubject

    model: Any = load_model(str(tiny))
    question = Question("The nurse told the man that", ("he was tired", "she ran"))
    given = ScoringSubject(model).scores([question])[0]
    begun = model.tokens(question.text)
    for choice, score in zip(question.choices, given, strict=True):
        ids = model.tokens(f"{question.text} {choice}")
        each = []
        for place in range(len(begun), len(ids)):
            logits = model.next_token_logits([ids[:place]])[0].double()
            each.append(logits.log_softmax(0)[ids[place]])
        assert float(score) == pytest.approx(float(torch.stack(each).mean()), abs=1e-5)


def test_mediators_of_both_arms(tiny: Path, tmp_path: Path) -> None:
    """On words that are one token each: all of the text passes the embeddings, which carry the total change."""
    lines = [
        {
            "id": f"{who}-{what}",
            "original": f"The {who} said that he was {what} because",
            "deep": [f"The {who} said that she was {what} because"],
            "surface": [f"The person said that he was {what} because"],
            "answer": "he",
            "choices": ["he", "she"],
        }
        for who in ("nurse", "doctor", "clerk", "man", "woman")
        for what in ("tired", "happy")
    ]
    path = tmp_path / "items.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    asked = study(
        tiny, task="own", path=str(path), count=None, mediators=("lm/embed", "lm/head.1[*]@-1"),
    )  # fmt: skip
    folder = lifecycle.run(asked, tmp_path).folder
    tables = numbers(Run(folder), draws=100)
    rows = tables.mediators.set_index("mediator")
    assert len(rows) == 5
    assert (rows["items"] == 10).all()
    cells = [json.loads(path.read_text()) for path in Run(folder).files]
    for cell in cells:
        if cell["step"] == "mediators":
            for arm in ("deep", "surface"):
                assert cell[arm]["indirect"][0] == pytest.approx(cell[arm]["total"], abs=1e-5)
    page = report(folder, draws=100).html.read_text()
    assert "Mediators of both arms" in page


def test_mediators_of_texts_that_do_not_line_up(tiny: Path, tmp_path: Path) -> None:
    """The tiny vocabulary spells the words of this task: no edit has as many tokens."""
    asked = study(tiny, count=4, mediators=("lm/head.1[*]@-1",))
    page = report(lifecycle.run(asked, tmp_path).folder, draws=50).html.read_text()
    assert "No mediator is measured" in page


def test_a_written_answer_and_its_parser(tiny: Path, tmp_path: Path) -> None:
    folder = lifecycle.run(
        study(tiny, answers="written", parser="first-word", count=4), tmp_path
    ).folder
    answers = numbers(Run(folder), draws=10).answers
    assert len(answers) == 20
    assert set(answers["status"]) <= {"ok", "unparsable"}


def server_study(url: str, **changes: Any) -> Any:
    content = {
        "kind": "comprehension", "name": "served", "model": "some/model", "task": "entailment",
        "count": 12, "answers": "written", "shard_size": 6,
        "endpoint": {"base_url": url, "timeout": 0.3, "retries": 0},
    }  # fmt: skip
    return lifecycle.parse_study({**content, **changes})


def test_a_server_is_asked_once_for_each_text(tmp_path: Path) -> None:
    with chat_server(understands) as (url, asked):
        plan = lifecycle.make_plan(server_study(url))
        lines = list(lifecycle.estimate(plan))
        assert "calls 60" in lines[1]
        folder = lifecycle.run_plan(plan, tmp_path, workers=1).folder
        assert len(asked) == len(set(asked)) == 60
        for path in (folder / "cells").glob("*.*"):
            path.unlink()
        lifecycle.run(server_study(url), tmp_path)
        assert len(asked) == 60  # a kill loses no answer
    assert effects(folder).loc["unconditioned", "estimate"] == 1


@pytest.mark.integration
def test_a_server_that_is_late_fails_or_talks_nonsense(tmp_path: Path) -> None:
    def reply(prompt: str) -> Any:
        first = prompt.split()[0]
        odd = {"Anna": "sleep", "Peter": 500, "Maria": b"<html>", "Thomas": "perhaps"}
        return odd.get(first) or understands(prompt)

    with chat_server(reply) as (url, _):
        folder = lifecycle.run(server_study(url, count=40), tmp_path).folder
    tables = numbers(Run(folder), draws=50)
    assert set(tables.statuses["status"]) == {"ok", "timeout", "error", "unparsable"}
    assert tables.effects.set_index("quantity").loc["unconditioned", "estimate"] == 1


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    result = lifecycle.run(server_study("http://127.0.0.1:9/v1"), tmp_path)
    assert len(result.failed) == 2
    error = next((result.folder / "cells").glob("*.error.json")).read_text()
    assert "cannot be reached" in error


def test_what_is_refused_before_anything_runs(tiny: Path, tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    path.write_text('{"original": "a b", "deep": ["a b"], "surface": ["c b"], "answer": "x"}')
    with pytest.raises(BadData, match="equals the original"):
        lifecycle.make_plan(study(tiny, task="own", path=str(path), count=None))
    with pytest.raises(BadStudy, match="a language model"):
        lifecycle.make_plan(study(tiny, model="planted-dual-text"))
    with pytest.raises(UnknownName):
        lifecycle.make_plan(study(tiny, mediators=("lm/heads.0",)))


def test_a_function_that_gives_no_text(tmp_path: Path) -> None:
    result = ask(lambda prompt: 3, name="three", count=2, out=tmp_path)  # type: ignore[arg-type, return-value]
    error = (result.folder / "cells" / f"{result.failed[0]}.error.json").read_text()
    assert "gave int 3, expected a text" in error
