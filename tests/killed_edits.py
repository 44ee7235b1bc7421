"""Runs a study of editing or unlearning in a child that is killed, goes on with it, and runs it whole.

    python killed_edits.py STUDY.toml FOLDER

Prints both sets of tables as JSON, times left out.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch

from vlbias.edits import training
from vlbias.store.run_folder import Run
from vlbias.studies import kind_named, lifecycle
from vlbias.studies.editing.lifelong import Lifelong

_SAVES = 2


def kill_after_saves() -> None:
    """The process kills itself when training or a sequence has been saved so many times."""
    left = _SAVES

    def counted(save: Any) -> Any:
        def saved(*args: Any) -> None:
            nonlocal left
            save(*args)
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

        return saved

    training.save_state = counted(training.save_state)
    Lifelong._save = counted(Lifelong._save)  # type: ignore[method-assign]


def tables_of(study: Any, folder: Path) -> dict[str, str]:
    tables = kind_named(study.kind).numbers(Run(folder / study.name), draws=50, seed=0)
    return {
        name: frame.drop(columns=[c for c in ("seconds",) if c in frame]).to_json()
        for name, frame in vars(tables).items()
    }


def main(path: Path, out: Path) -> None:
    study = lifecycle.load_study(path)
    child = os.fork()
    if child == 0:
        kill_after_saves()
        lifecycle.run(study, out / "killed")
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the child was not killed"
    assert os.WTERMSIG(status) == signal.SIGKILL
    kept = [*(out / "killed" / study.name).glob("*/*.pt")]
    lifecycle.run(study, out / "killed")
    lifecycle.run(study, out / "whole")
    both = [tables_of(study, out / folder) for folder in ("killed", "whole")]
    print(json.dumps({"kept": len(kept), "killed": both[0], "whole": both[1]}))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
