"""Runs of causal tracing: whole, resumed, reported, equal to plain hooks; and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from taught_models import taught_facts, write_facts, write_taught

from vlbias.causal.cloze import Cloze, Completion, Noise
from vlbias.causal.contrast import Contrast
from vlbias.causal.engine import Engine
from vlbias.causal.example import Example
from vlbias.causal.site import Mediator
from vlbias.errors import BadData, BadStudy, UnknownName
from vlbias.models import load_model
from vlbias.store.run_folder import Run
from vlbias.studies import lifecycle
from vlbias.studies.knowledge.restoring import Restorer
from vlbias.studies.knowledge.token_roles import roles_of
from vlbias.studies.knowledge.worlds import noised_example, roles_in, subject_sd
from vlbias.studies.reporting import report
from vlbias.studies.tracing.numbers import numbers

Taught = Callable[[str], Path]


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Taught:
    made: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in made:
            made[kind] = write_taught(kind, tmp_path_factory.mktemp(kind))
        return made[kind]

    return folder


@pytest.fixture
def study(taught: Taught, tmp_path: Path) -> Callable[..., Any]:
    facts = write_facts(tmp_path / "facts.jsonl", taught_facts())

    def made(kind: str = "gpt2", **changes: Any) -> Any:
        content = {
            "kind": "tracing", "name": "where", "model": str(taught(kind)), "draws": 2, "shard_size": 2,
            "facts": {"path": str(facts)}, "compare": ["new", "old"],
        }  # fmt: skip
        return lifecycle.parse_study({**content, **changes})

    return made


def test_a_run_its_page_and_its_resumption(study: Callable[..., Any], tmp_path: Path) -> None:
    first = lifecycle.run(study(), tmp_path / "a")
    assert not first.failed
    before = numbers(Run(first.folder), draws=200)
    assert before.facts["known"].all()
    assert (before.totals["total"] > 0).all()
    assert len(before.contrast) == 3 * 3 * before.contrast["role"].nunique()
    # behind the last block, the last token is all that an answer of one token is read from
    top = before.effects[(before.effects["part"] == "resid") & (before.effects["layer"] == 2)]
    top = top[top["group"] == "new"]
    assert np.allclose(top[top["role"] == "last"]["share"], 1.0, atol=1e-6)
    page = report(first.folder, draws=200).html.read_text()
    for said in ("knows 3 of 3 facts of new", "Contrast", "share of the total effect"):
        assert said in page
    cells = sorted((first.folder / "cells").glob("*.json"))
    for path in cells[::2]:
        path.unlink()
    again = lifecycle.run(study(), tmp_path / "a")
    assert again.done == len(cells[::2])
    for name, frame in vars(numbers(Run(first.folder), draws=200)).items():
        pd.testing.assert_frame_equal(frame, getattr(before, name), obj=name)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize("window", [1, 3])
def test_restoring_is_what_plain_hooks_give(
    study: Callable[..., Any], taught: Taught, kind: str, window: int
) -> None:
    model: Any = load_model(str(taught(kind)))
    facts = taught_facts()[1:3]
    restorer = Restorer(model, study(kind, window=window, noise=2.0), 0, facts)
    sd = 2.0 * subject_sd(model, facts)
    for fact, row in zip(facts, restorer.rows(facts), strict=True):
        example = noised_example(model, fact, sd, 2, 0)
        roles = roles_in(model, fact.prompt, fact.place)
        assert set(row["restored"]) == set(roles)
        for role, part, layer in (
            ("subject_last", "mlp", 1),
            ("last", "attn", 2),
            ("last", "resid", 0),
        ):
            around = (
                [layer]
                if part == "resid"
                else range(layer - window // 2, layer + (window + 1) // 2)
            )
            layers = [number for number in around if 0 <= number < 3]
            found = [
                _by_hand(model, fact, example, draw, part, layers, list(roles[role]))
                for draw in range(2)
            ]
            clean, corrupted, restored = np.mean(found, axis=0)
            assert row["clean"] == pytest.approx(clean, abs=1e-5)
            assert row["corrupted"] == pytest.approx(corrupted, abs=1e-5)
            assert row["restored"][role][part][layer] == pytest.approx(restored, abs=1e-5)


def _by_hand(
    model: Any,
    fact: Any,
    example: Example,
    draw: int,
    part: str,
    layers: list[int],
    tokens: list[int],
) -> tuple[float, float, float]:
    noise = example.worlds[f"corrupted-{draw}"]["text"].noise
    said = model.tokenised(Completion(fact.prompt, (fact.answer,)))
    ids, subject = torch.tensor([said.ids]), fact.place
    spans = model.tokenised(example.worlds["clean"]["text"]).spans["subject"]
    assert subject == fact.place
    width = model.net.get_input_embeddings().weight.shape[1]
    drawn = np.random.default_rng(noise.seed).standard_normal((len(spans), width)) * noise.sd
    added = torch.zeros(1, ids.shape[1], width)
    added[0, list(spans)] = torch.from_numpy(drawn).float()
    port = next(port for port in model.ports if port.name == part)
    modules = {port.path(layer): model.net.get_submodule(port.path(layer)) for layer in layers}
    kept: dict[str, Any] = {}

    def tensor(output: Any) -> Any:
        return output[0] if isinstance(output, tuple) else output

    def run(noised: bool, restore: bool) -> float:
        handles = []
        if noised:
            embed = model.net.get_input_embeddings()
            handles.append(embed.register_forward_hook(lambda *a: a[2] + added))
        for name, module in modules.items():

            def hook(_: Any, __: Any, output: Any, name: str = name) -> Any:
                if not noised:
                    kept[name] = tensor(output).clone()
                if not restore:
                    return None
                new = tensor(output).clone()
                new[:, tokens] = kept[name][:, tokens]
                return (new, *output[1:]) if isinstance(output, tuple) else new

            handles.append(module.register_forward_hook(hook))
        with torch.no_grad():
            logits = model.net(input_ids=ids).logits[0].log_softmax(1)
        for handle in handles:
            handle.remove()
        return float(torch.tensor([logits[at, token] for at, token, _ in said.asked]).sum().exp())

    return run(False, False), run(True, False), run(True, True)


def test_one_way_is_the_same_arm_and_no_other(taught: Taught) -> None:
    model: Any = load_model(str(taught("gpt2")))
    fact = taught_facts()[0]
    example = noised_example(model, fact, 0.5, 1, 0)
    pair, site = Contrast("corrupted-0", "clean"), Mediator.of(["lm/mlp.1@subject_last"])
    altered = {pair: frozenset({"text"})}
    both = {a.arm: a for a in Engine(model, [pair], [site], altered=altered).run([example])}
    one = Engine(model, [pair], [site], altered=altered, one_way=True)
    single = {arm.arm: arm for arm in one.run([example])}
    assert set(both) == {"00", "11", "01", "10"}
    assert set(single) == {"00", "11", "01"}
    for arm, found in single.items():
        want = both[arm].readout["candidate_logprob"]
        assert torch.allclose(found.readout["candidate_logprob"], want, atol=1e-6)


def test_noise_is_a_world_that_leaves_the_model_as_it_is(taught: Taught) -> None:
    model: Any = load_model(str(taught("llama")))
    ids = [model.tokens("they said the nurse ran")]
    before = model.next_token_logits(ids)
    noise = Noise("subject", 1.0, (1, 2))
    text = Completion("they said the nurse ran", ("home",), (("subject", 14, 19),), noise=noise)
    plain = Completion(text.text, text.candidates, text.spans)
    rows = [model.split({"text": one})["lm"][0] for one in (text, plain)]
    batch = model.collate("lm", rows)
    with torch.no_grad():
        noised, clean = model.encode("lm", batch)[:, 0].tolist()
    assert noised != clean
    assert (batch["input_ids"][0] != batch["input_ids"][1]).sum() == 1
    assert torch.equal(model.next_token_logits(ids), before)
    bad = Completion(text.text, text.candidates, text.spans, noise=Noise("subjct", 1.0, (1,)))
    row = model.split({"text": bad})["lm"][0]
    with pytest.raises(UnknownName, match="subjct"):
        model.collate("lm", [row])


def test_other_subjects_are_of_as_many_tokens(study: Callable[..., Any], tmp_path: Path) -> None:
    done = lifecycle.run(study(corruption="other-subject", draws=3), tmp_path / "b")
    assert not done.failed
    found = numbers(Run(done.folder), draws=50)
    assert (found.facts["draws"] == 3).all()
    assert found.facts["left_out"].eq("").all()


@pytest.mark.parametrize(
    ("offsets", "subject", "expected"),
    [
        ([(0, 3), (3, 6), (6, 9), (9, 12), (12, 15)], (3, 9),
         {"subject_first": [1], "subject_last": [2], "after_first": [3], "last": [4]}),
        ([(0, 0), (0, 2), (2, 4), (4, 6), (6, 9), (9, 12), (12, 15)], (0, 6),
         {"subject_first": [1], "subject_middle": [2], "subject_last": [3], "after_first": [4],
          "after_middle": [5], "last": [6]}),
        ([(0, 3), (3, 6)], (3, 6), {"subject_last": [1]}),
        ([(0, 3), (3, 6)], (0, 3), {"subject_last": [0], "last": [1]}),
    ],
)  # fmt: skip
def test_roles_of_tokens(offsets: Any, subject: Any, expected: dict[str, list[int]]) -> None:
    assert {role: list(t) for role, t in roles_of(offsets, subject).items()} == expected


def test_what_cannot_be_traced_is_refused(study: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(BadStudy, match="two groups of facts, or none"):
        study(compare=["new"])
    with pytest.raises(UnknownName, match="subject_last"):
        study(roles=["subject_lst"])
    with pytest.raises(UnknownName, match="fact-world"):
        study(facts={"name": "fact-wrld"})
    with pytest.raises(BadStudy, match="one of 'new', 'old'"):
        lifecycle.make_plan(study(compare=["new", "other"]))
    with pytest.raises(BadStudy, match="either a name or a path"):
        study(facts={})
    path = tmp_path / "bad.jsonl"
    path.write_text('{"subject": "pilot", "prompt": "the nurse ran", "answer": "home"}\n')
    with pytest.raises(BadData, match=r"line 1: .*'pilot' does not stand in the prompt"):
        lifecycle.make_plan(study(facts={"path": str(path)}, compare=[]))
    path.write_text('{"subject": "nurse", "promt": "the nurse ran", "answer": "home"}\n')
    with pytest.raises(BadData, match="unknown key 'promt'"):
        lifecycle.make_plan(study(facts={"path": str(path)}, compare=[]))
    assert Cloze("a b", ("c", "d")) != Completion("a b", ("c", "d"))


def test_a_model_that_knows_nothing_says_so(
    study: Callable[..., Any], language_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    done = lifecycle.run(study(model=str(language_folder("gpt2")), compare=[]), tmp_path / "c")
    page = report(done.folder, draws=50).html.read_text()
    assert "knows none of 6 facts of all" in page
