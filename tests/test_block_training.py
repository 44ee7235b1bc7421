"""Constrained training of blocks: published weights, frozen is frozen, resumed, stopped before it diverges."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from taught_models import taught_facts, write_taught
from torch import Tensor

from vlbias.edits.losses import LOSSES, Batch, RetainWeight, adaptive_weight
from vlbias.edits.training import BlockTraining, answer_losses
from vlbias.edits.weights import weight_blocks
from vlbias.errors import BadData, BadStudy
from vlbias.models import load_model

FORGET = [(fact.prompt, fact.answer) for fact in taught_facts()[:3]]
RETAIN = [(fact.prompt, fact.answer) for fact in taught_facts()[3:]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_model(str(write_taught("gpt2", tmp_path_factory.mktemp("gpt2"))))


def settings(**changes: Any) -> BlockTraining:
    given = {"sites": ("lm/mlp.1",), "steps": 6, "batch": 3, "epoch": 2, "check": 2, "rate": 1e-3}
    return BlockTraining(**{**given, **changes})


def weights(model: Any) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.net.named_parameters()}


@pytest.mark.parametrize(
    ("deviation", "paper", "code"),
    [
        (-0.2, 1.2, 1.2), (0.0, 1.2, 1.2), (0.3, 1.31, 1.3), (0.5, 1.53, 1.5), (0.898, 2.30, 2.3),
        (1.059, 2.80, 2.3), (50.0, 2.8, 2.3), (1e9, 2.8, 2.3),
    ],
)  # fmt: skip
def test_the_adaptive_weight_has_the_published_values(
    deviation: float, paper: float, code: float
) -> None:
    """A4, both caps."""
    assert adaptive_weight(deviation) == pytest.approx(paper, abs=5e-3)
    assert adaptive_weight(deviation, cap=2.3, rounded=True) == pytest.approx(code, abs=1e-9)


def test_deviation_is_from_the_mean_of_the_first_epoch() -> None:
    weight = RetainWeight(first=2)
    assert [weight.at(0, 1.0), weight.at(1, 2.0)] == [1.2, 1.2]
    assert weight.at(2, 1.5) == 1.2
    assert weight.at(3, 2.0) == pytest.approx(0.3 * math.sqrt(6) + 0.8)
    assert weight.count == 2  # later losses do not move the mean


def test_losses_are_their_formulas() -> None:
    forget, reference = torch.tensor([1.0, 3.0]), torch.tensor([0.5, 0.5])
    batch = Batch(forget, torch.tensor(0.25), reference, 1.5, 2.0, 0.1)
    assert float(LOSSES["ascent"](batch)) == -2.0
    assert float(LOSSES["difference"](batch)) == -1.75
    assert float(LOSSES["joint"](batch)) == pytest.approx(-2.0 + 1.5 * 0.25)
    assert float(LOSSES["hinge"](batch)) == pytest.approx(0.5 + 1.5 * 0.25)
    by_hand = [-2 / 0.1 * math.log(1 / (1 + math.exp(-0.1 * (x - 0.5)))) for x in (1.0, 3.0)]
    assert float(LOSSES["npo"](batch)) == pytest.approx(sum(by_hand) / 2 + 0.25)


def test_the_loss_of_an_answer_is_the_models_own(model: Any) -> None:
    found = answer_losses(model, [FORGET[2]])  # an answer of several tokens
    prompt, answer = FORGET[2]
    ids = torch.tensor([model.tokens(f"{prompt} {answer}")])
    begun = len(model.tokens(prompt))
    logits = model.net(input_ids=ids).logits[0].log_softmax(1).detach()
    each = [-float(logits[place - 1, ids[0, place]]) for place in range(begun, ids.shape[1])]
    assert float(found.detach()) == pytest.approx(sum(each) / len(each), abs=1e-5)


@pytest.mark.parametrize(
    ("loss", "retain"),
    [*((loss, "answers") for loss in LOSSES), ("hinge", "divergence")],
)
def test_frozen_is_frozen_and_what_is_trained_forgets(model: Any, loss: Any, retain: Any) -> None:
    """A5: the largest change outside the block is exactly 0, also after training."""
    before = weights(model)
    inside = set(weight_blocks(model, ["lm/mlp.1"])[0].names)
    asked: list[set[str]] = []

    def until(trained: Any) -> bool:
        moved = {n for n, p in trained.net.named_parameters() if not torch.equal(p, before[n])}
        asked.append(moved)
        return False

    change = settings(loss=loss, retain=retain, bound=3.0).fit(model, FORGET, RETAIN, until=until)
    assert all(moved <= inside for moved in asked)
    assert asked[-1] == inside == set(change.values)
    assert all(torch.equal(before[n], p) for n, p in model.net.named_parameters())
    assert all(p.requires_grad for p in model.net.parameters())
    plain = answer_losses(model, FORGET).mean()
    with change.applied(model) as trained:
        assert float(answer_losses(trained, FORGET).mean().detach()) > float(plain.detach())


def test_training_that_is_broken_off_ends_with_the_same_weights(model: Any, tmp_path: Path) -> None:
    whole = settings().fit(model, FORGET, RETAIN)
    again = settings().fit(model, FORGET, RETAIN)
    assert whole.key == again.key
    other = settings(seed=1).fit(model, FORGET, RETAIN)
    assert whole.key != other.key
    state, before = tmp_path / "state.pt", weights(model)

    def stop(done: int, of: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        settings().fit(model, FORGET, RETAIN, state=state, told=stop)
    assert all(torch.equal(before[n], p) for n, p in model.net.named_parameters())
    told: list[int] = []
    rest = settings().fit(model, FORGET, RETAIN, state=state, told=lambda d, of: told.append(d))
    assert told == [6]
    assert rest.key == whole.key
    assert rest.notes["weights_of_retain"] == whole.notes["weights_of_retain"]
    # a state of other settings is not taken up
    assert settings(seed=1).fit(model, FORGET, RETAIN, state=state).key == other.key
    state.write_bytes(b"no")
    with pytest.raises(BadData, match="delete the file"):
        settings().fit(model, FORGET, RETAIN, state=state)


def test_training_that_diverges_ends_with_the_last_good_weights(model: Any) -> None:
    change = settings(loss="ascent", rate=1e30, steps=8).fit(model, FORGET, RETAIN)
    assert "diverged at step" in change.notes["stopped"]
    assert all(bool(torch.isfinite(value).all()) for value in change.values.values())
    stopped = settings(steps=8).fit(model, FORGET, RETAIN, until=lambda trained: True)
    assert (stopped.notes["steps"], stopped.notes["stopped"]) == (
        2,
        "what was asked for was reached",
    )


def test_what_cannot_be_trained_is_refused(model: Any, language: Callable[[str], Any]) -> None:
    with pytest.raises(
        BadData, match=r"1 prompts are to be forgotten and to be retained: 'they said"
    ):
        settings().fit(model, FORGET, [*RETAIN, FORGET[0]])
    with pytest.raises(BadData, match="nothing to retain"):
        settings().fit(model, FORGET, [])
    with pytest.raises(BadStudy, match="a layer from 0 to 2"):
        settings(sites=("lm/mlp.3",)).fit(model, FORGET, RETAIN)
    with pytest.raises(BadStudy, match="one of attn, mlp, resid"):
        settings(sites=("lm/head.1",)).fit(model, FORGET, RETAIN)
    with pytest.raises(BadStudy, match="a loss above 0"):
        settings(loss="hinge")
    with pytest.raises(BadStudy, match="one of ascent"):
        settings(loss="descent")
