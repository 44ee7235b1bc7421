"""Commands killed at random moments, and in the middle of a write: nothing torn, nothing mixed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parent
JOBS = ("run", "mitigate", "report")

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(sys.platform == "win32", reason="processes are forked"),
]


def killed(what: str, kills: int, faults: int, folder: Path) -> dict[str, Any]:
    command = [sys.executable, str(TESTS / "random_kills.py"), what, str(kills), str(faults), "0"]
    answer = subprocess.run(
        [*command, str(folder)], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(TESTS.parent)},
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr[-3000:]
    said: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    print(said)
    return said


@pytest.mark.slow
@pytest.mark.parametrize("what", JOBS)
def test_fifty_kills_leave_nothing_torn(what: str, tmp_path: Path) -> None:
    said = killed(what, 50, 10, tmp_path)
    assert (said["kills"], said["in a write"]) == (50, 10)
    assert len(said["where"]) >= 2, "kills came at one place only"
