"""The rule of decision is fixed when a run begins, and a page says where it departs from it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from vlbias.runs.manifest import updated
from vlbias.studies.bias.study import Study
from vlbias.studies.photos.decisions import RULE, departures


def run_with(**manifest: Any) -> Any:
    return SimpleNamespace(manifest=manifest)


def test_a_study_of_photos_names_what_decides() -> None:
    assert Study.parse({"name": "one", "model": "clip-vit-b32"}).decisions == RULE


def test_a_page_says_where_it_departs() -> None:
    assert departures(run_with(decisions=dict(RULE))) == []
    (missing,) = departures(run_with())
    assert missing.claim == "rule-not-fixed"
    (other,) = departures(run_with(decisions={**RULE, "objects": "none", "more": "x"}))
    assert other.endswith("in: objects, more.")


def test_a_folder_keeps_the_rule_that_it_began_with() -> None:
    head = dict.fromkeys(("created", "sessions", "packages", "commit", "machine"), "")
    now = {**head, "decisions": dict(RULE)}
    assert updated({**head, "decisions": {"objects": "old"}}, now)["decisions"] == {
        "objects": "old"
    }
    assert updated(head, now)["decisions"] == {}, (
        "a rule that is written later was not fixed before"
    )
