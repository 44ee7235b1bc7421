"""Every family of generative image-text models keeps the contract; minutes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from contract import failed
from image_text_families import EVERY, checked, family_model
from tiny_image_text import sides

from vlbias.causal.conformance_shortcuts import check_shortcuts
from vlbias.causal.conformance_subject import Subject
from vlbias.causal.example import Example, mix
from vlbias.models.image_text.adapter import BEGINS, IDENTITY
from vlbias.models.image_text.families import FAMILIES

pytestmark = pytest.mark.slow
UNKEPT = ("mllama", "paligemma", "paligemma2", "qwen3_5")


@pytest.mark.parametrize("kind", EVERY)
def test_a_family_keeps_the_contract(kind: str) -> None:
    model, findings = checked(kind)
    assert failed(findings) == {}
    assert {port.stage for port in model.ports} >= (
        {"lm"} if kind != "florence2" else {"lm_encoder"}
    )
    if kind in UNKEPT:
        assert model.towers[0].causal is None


def test_every_family_is_tested() -> None:
    assert {family_model(kind).net.config.model_type for kind in EVERY} == set(FAMILIES)


@pytest.mark.parametrize("kind", ["mllama", "paligemma"])
def test_a_prefix_that_may_not_be_kept_is_caught(kind: str) -> None:
    model = family_model(kind)
    base, cf = sides(1)
    worlds = {"base": base[0], "cf": cf[0]}
    worlds |= {f"cf-{channel}": mix(base[0], cf[0], {channel}) for channel in base[0]}
    subject = Subject(model, [Example("0", "0", worlds)], 1e-5)
    model.towers = (replace(model.towers[0], causal=IDENTITY, reads="at", begins=BEGINS),)
    assert not check_shortcuts(subject)[0]
