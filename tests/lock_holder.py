"""Holds cells of a folder until its standard input closes, with a forked child: used by test_lock."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from vlbias.runs.lock import locked


def main(folder: str, *cells: str) -> None:
    with locked(Path(folder), map(int, cells)):
        child = os.fork()
        if child == 0:
            signal.pause()
        print(child, flush=True)
        sys.stdin.read()
        os.kill(child, signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])
