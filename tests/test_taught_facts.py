"""The experiment on taught facts: its facts are sound, and teaching that is killed ends as if it were not."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from taught_models import taught_facts
from tiny_language import write_language

from vlbias.data.fact_files import read_facts
from vlbias.models import load_model
from vlbias.studies import lifecycle
from vlbias.studies.knowledge.known import are_answered

sys.path.insert(0, str(Path(__file__).parents[1] / "experiments"))
import taught_facts as experiment


def test_facts_of_invented_people_are_sound(tmp_path: Path) -> None:
    facts = experiment.invented()
    assert Counter(fact.group for fact in facts) == {"forget": 100, "retain": 100, "holdout": 40}
    subjects = {
        group: {f.subject for f in facts if f.group == group} for group in ("forget", "retain")
    }
    assert not subjects["forget"] & subjects["retain"]
    assert experiment.invented() == facts
    path = tmp_path / "facts.jsonl"
    path.write_text(experiment.lines_of(facts))
    assert list(read_facts(path=path).facts) == facts
    for content in experiment.studies_of(tmp_path, 30):
        assert lifecycle.parse_study(content).name == content["name"]


def test_teaching_that_was_killed_ends_with_the_same_weights(tmp_path: Path) -> None:
    raw = str(write_language("gpt2", tmp_path / "raw"))
    facts = taught_facts()

    class Killed(Exception):
        pass

    def kill(step: int, _: float) -> None:
        if step == 7:
            raise Killed

    settings: dict[str, Any] = {"steps": 60, "rate": 1e-2, "save": 3}
    whole: Any = load_model(raw)
    before = {name: p.detach().clone() for name, p in whole.net.named_parameters()}
    experiment.teach(whole, facts, tmp_path / "whole", **settings)
    broken: Any = load_model(raw)
    with pytest.raises(Killed):
        experiment.teach(broken, facts, tmp_path / "broken", told=kill, **settings)
    assert (tmp_path / "broken.state").is_file()
    again: Any = load_model(raw)
    experiment.teach(again, facts, tmp_path / "broken", **settings)
    assert not (tmp_path / "broken.state").exists()
    for name, value in whole.net.named_parameters():
        assert torch.equal(value, again.net.get_parameter(name))
        assert ("wte" in name or "wpe" in name) <= torch.equal(value, before[name])
    known: Any = load_model(str(tmp_path / "whole"))
    assert sum(are_answered(known, [(fact.prompt, fact.answer) for fact in facts])) >= 4
