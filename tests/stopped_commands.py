"""Sends a signal to commands at work, and prints how each ended: used by test_stopped.

One process imports the libraries once and forks a child for every command.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from vlbias import cli
from vlbias.studies import check_study as diagnosis
from vlbias.studies import lifecycle, reporting

folder = Path(sys.argv[1])


def at_work(*_: Any, **__: Any) -> None:
    (folder / "ready").write_text("")
    time.sleep(60)


lifecycle.read_study = lambda *_, **__: SimpleNamespace(name="toy")  # type: ignore[assignment,return-value]
lifecycle.make_plan = reporting.report = diagnosis.diagnose = at_work  # type: ignore[assignment]
found = {}
for command in ("run", "mitigate", "report", "check"):
    for number in (signal.SIGINT, signal.SIGTERM):
        (folder / "ready").unlink(missing_ok=True)
        child = os.fork()
        if child == 0:
            sys.stderr = (folder / "said").open("w", buffering=1)
            sys.argv = ["vlbias", command, "study.toml"]
            sys.argv += ["--out", str(folder)] if command in ("run", "mitigate") else []
            try:
                cli.main()
            except SystemExit as end:
                sys.stderr.flush()
                os._exit(end.code)  # type: ignore[arg-type]
        while not (folder / "ready").exists():
            time.sleep(0.02)
        os.kill(child, number)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        found[f"{command} {number.name}"] = (code, (folder / "said").read_text())
print(json.dumps(found))
