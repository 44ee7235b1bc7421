"""Sequences of edits and trainings that are killed by SIGKILL end with the same tables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from study_texts import toml_of
from taught_models import taught_facts, write_facts, write_taught

TESTS = Path(__file__).parent
_RANK_ONE = {"label": "one", "options": {"sites": ["lm/mlp.1"], "ridge": 0.1}}
_JOINT = {
    "label": "joint", "sites": ["lm/mlp.0"], "options": {"steps": 12, "batch": 4, "check": 3, "rate": 0.01},
}  # fmt: skip
STUDIES: dict[str, dict[str, Any]] = {
    "editing": {"edits": 3, "probes": 3, "methods": [_RANK_ONE]},
    "unlearning": {
        "forget": "new",
        "retain": "old",
        "methods": [_JOINT],
        "level": 0.0,
        "relearn": 0,
    },
}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="processes are forked")
@pytest.mark.parametrize("kind", STUDIES)
def test_what_was_killed_ends_with_the_same_tables(kind: str, tmp_path: Path) -> None:
    model = write_taught("gpt2", tmp_path)
    facts = write_facts(tmp_path / "facts.jsonl", taught_facts())
    study = {"kind": kind, "name": "s", "model": str(model), "facts": {"path": str(facts)}}
    (tmp_path / "study.toml").write_text(toml_of({**study, **STUDIES[kind]}))
    answer = subprocess.run(
        [sys.executable, str(TESTS / "killed_edits.py"), str(tmp_path / "study.toml"), str(tmp_path)],
        capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(TESTS.parent)},
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr[-3000:]
    said = json.loads(answer.stdout.splitlines()[-1])
    assert said["kept"] == 1
    assert said["killed"] == said["whole"]
