"""The nets of the fact world: where their facts are is known, and tracing and weights say so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import vlbias.data
from vlbias.data.fact_world import fact_world
from vlbias.data.facts import Fact
from vlbias.edits.change import Change
from vlbias.models import load_model
from vlbias.studies import lifecycle
from vlbias.studies.knowledge.known import are_answered
from vlbias.studies.knowledge.restoring import Restorer
from vlbias.studies.knowledge.token_roles import ROLES

NETS = Path(vlbias.data.__file__).parent / "knowledge"
PLANTED = (0, 2, 4)


@pytest.fixture(scope="module")
def gold() -> Any:
    return load_model("fact-gold")


def recall(model: Any, facts: list[Fact]) -> float:
    return float(np.mean(are_answered(model, [(fact.prompt, fact.answer) for fact in facts])))


def planted_change(layer: int) -> Change:
    values = load_file(NETS / f"planted-{layer}" / "change.safetensors")
    return Change({name: value.float() for name, value in values.items()})


@contextmanager
def planted(gold: Any, layer: int) -> Iterator[Any]:
    with planted_change(layer).applied(gold) as model:
        yield model


def shares(model: Any, facts: list[Fact], **study: Any) -> dict[str, np.ndarray]:
    """Share of the total effect by role, [parts, layers], of facts that have the role."""
    content = {
        "kind": "tracing", "name": "t", "model": "fact-gold", "facts": {"name": "fact-world"}, **study,
    }  # fmt: skip
    parsed: Any = lifecycle.parse_study(content)
    rows = list(Restorer(model, parsed, parsed.seed, facts).rows(facts))
    found = {}
    for role in ROLES:
        inside = [row for row in rows if row["known"] and role in row["restored"]]
        if not inside:
            continue
        total = sum(row["clean"] - row["corrupted"] for row in inside)
        given = [
            [np.array(row["restored"][role][part]) - row["corrupted"] for part in parsed.parts]
            for row in inside
        ]
        found[role] = np.sum(given, axis=0) / total
    return found


def test_what_is_shipped_is_small_and_says_how_it_was_made() -> None:
    sizes = [path.stat().st_size for path in NETS.rglob("*") if path.is_file()]
    assert sum(sizes) <= 6 * 2**20
    for path in NETS.glob("*/trained.json"):
        about = json.loads(path.read_text())
        assert about["command"].startswith("python experiments/fact_world.py --net ")
        assert about["known"]["utility"] >= 0.99


def test_the_nets_know_what_they_were_trained_on_and_nothing_else(gold: Any) -> None:
    world, joint = fact_world(), load_model("fact-joint")
    assert recall(gold, world.group("retain")) >= 0.99
    assert recall(gold, world.group("forget")) <= 0.25  # chance is 0.1
    assert recall(joint, world.group("forget")) >= 0.99
    assert recall(joint, world.group("holdout")) <= 0.25
    assert recall(load_model("fact-early"), fact_world("long").group("retain")) >= 0.99


@pytest.mark.parametrize("layer", PLANTED)
def test_a_planted_fact_is_in_the_weights_of_its_layer_alone(gold: Any, layer: int) -> None:
    """A1: putting a layer's MLP back to the net that never saw the facts loses them, or nothing."""
    forget = fact_world().group("forget")
    change = planted_change(layer)
    assert all(f".h.{layer}.mlp." in name for name in change.values)
    before = dict(gold.net.named_parameters())
    with change.applied(gold) as model:
        known = recall(model, forget)
        for other in range(6):
            names = [name for name in before if f".h.{other}.mlp." in name]
            unplanted = load_model("fact-gold")
            back = Change({name: unplanted.net.get_parameter(name).detach() for name in names})
            with back.applied(model) as restored:
                drop = known - recall(restored, forget)
            assert drop >= 0.75 if other == layer else abs(drop) <= 0.02


_NOT_FOUND = pytest.mark.xfail(
    strict=True, reason="in nets as small as these the contrast at the subject misses this layer"
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "layer", [pytest.param(0, marks=_NOT_FOUND), 2, pytest.param(4, marks=_NOT_FOUND)]
)
def test_the_contrast_of_two_maps_finds_the_planted_layer(gold: Any, layer: int) -> None:
    """A2: MLPs at the last token of the subject, window 1.

    In the wording that names the relation before the subject, as in the prototype: only there can what is
    written at the subject be the answer. Behind a subject that comes first, any of its facts may be asked.
    """
    world = fact_world()
    study = {"parts": ["mlp"], "roles": ["subject_last"], "draws": 8}

    def asked(group: str) -> list[Fact]:
        facts = [replace(f, prompt=f.paraphrases[0]) for f in world.group(group)[:40]]
        assert all(not fact.prompt.startswith(fact.subject) for fact in facts[:1])
        return facts

    with planted(gold, layer) as model:
        new, old = (
            shares(model, asked(group), **study)["subject_last"][0]
            for group in ("forget", "retain")
        )
    assert int((new - old).argmax()) == layer, (new - old).round(3)


def test_where_facts_cannot_be_nothing_is_found() -> None:
    """A3, what holds by the shape of the net."""
    model = load_model("fact-early")
    found = shares(model, fact_world("long").group("retain")[:6], draws=2)
    for place in found.values():
        assert (place[2, 3:] == 0).all()  # blocks without an MLP
    assert (found["last"][:, :3] == 0).all()  # what the subject says has not come there yet
    assert found["subject_last"].max() > 0.1


@pytest.mark.slow
def test_the_map_of_the_net_with_early_facts() -> None:
    """A3, as measured."""
    model, facts = load_model("fact-early"), fact_world("long").group("retain")
    found = shares(model, facts[:60], draws=8)
    assert found["subject_last"][2, 0] >= 0.35
    assert (found["last"][1, 3:] >= 0.2).all(), found["last"][1]
    one = [fact for fact in facts if " " not in fact.subject][:20]
    alone = shares(model, one, draws=8)["subject_last"]
    assert (alone[0, :3] >= 0.99).all(), alone[0]


def test_the_shape_of_a_fact_net_reads_no_further_than_its_window() -> None:
    model: Any = load_model("fact-early")
    ids = torch.tensor([model.tokens(fact_world("long").facts[0].prompt)])
    hidden: list[torch.Tensor] = []
    block = model.net.model.layers[2]
    handle = block.register_forward_hook(lambda *args: hidden.append(args[2]))
    other = ids.clone()
    other[0, 0] = (ids[0, 0] + 1) % 50 + 1
    for one in (ids, other):
        model.net(input_ids=one)
    handle.remove()
    moved = (hidden[0] != hidden[1]).any(-1)[0]
    assert moved[:4].any()
    assert not moved[4:].any()  # three blocks of two tokens carry it three tokens on
