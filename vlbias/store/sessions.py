"""What the sessions of a run did: a file each, so that machines which share a folder overwrite nothing."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vlbias.files import write_json

__all__ = ["SESSIONS", "read_sessions", "write_session"]

SESSIONS = "sessions"
"""Folder in a run folder."""
_NUMBERS = ("workers", "cells", "failed", "seconds", "peak_memory_mib")


def write_session(
    folder: Path, *, workers: int, cells: int, failed: int, seconds: float, peak_mib: float
) -> Path:
    """Note what a session did that ended by itself; gives the file.

    Args:
        folder: The run folder.
        workers: Processes that computed cells.
        cells: Cells that it was to compute.
        failed: Those of them that failed.
        seconds: How long it took.
        peak_mib: Largest memory of its processes together, in MiB.
    """
    ended = datetime.now(UTC)
    host = "".join(letter for letter in socket.gethostname() if letter.isalnum())[:40]
    path = folder / SESSIONS / f"{ended:%Y%m%dT%H%M%S%f}-{host}-{os.getpid()}.json"
    path.parent.mkdir(exist_ok=True)
    write_json(
        path,
        {
            "ended": ended.isoformat(timespec="seconds"),
            "host": socket.gethostname(),
            "workers": workers,
            "cells": cells,
            "failed": failed,
            "seconds": round(seconds, 1),
            "peak_memory_mib": round(peak_mib),
        },
    )
    return path


def read_sessions(folder: Path) -> list[dict[str, Any]]:
    """What `write_session` wrote, the earliest first.

    Files that hold no session are left out: no number of a run is read from them.
    """
    found = []
    for path in sorted((folder / SESSIONS).glob("*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if _is_session(content):
            found.append(content)
    return found


def _is_session(content: Any) -> bool:
    return isinstance(content, Mapping) and all(
        isinstance(content.get(name), int | float) for name in _NUMBERS
    )
