"""Reading a manifest: what it lacks or has of another type is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vlbias.errors import BadTable
from vlbias.files import read_sealed

__all__ = ["MANIFEST", "read_manifest"]

MANIFEST = "manifest"
"""What a manifest is sealed as."""
_TABLES = ("study", "packages", "machine", "data", "model", "contrasts", "mediators")
_LISTS = {"cells": str, "targets": str, "sessions": dict}


def read_manifest(path: Path) -> dict[str, Any]:
    """The content of a manifest; looking up a key that it should have and has not raises `BadTable`.

    Raises:
        BadTable: if it is no JSON object, is not what was written, or has parts of another type.
    """

    class Part(dict[str, Any]):
        def __missing__(self, key: str) -> Any:
            raise BadTable(
                f"{path} does not say {key!r}: it is no manifest of a run, or is damaged"
            )

    content = read_sealed(path, Part, of=MANIFEST)
    for name in _TABLES:
        if not isinstance(content.get(name, {}), dict):
            raise BadTable(f"{path}: {name!r} is {str(content[name])[:80]}, expected a table")
    for name, kind in _LISTS.items():
        given = content.get(name, [])
        if not isinstance(given, list) or not all(isinstance(one, kind) for one in given):
            raise BadTable(
                f"{path}: {name!r} is {str(given)[:80]}, expected a list of type {kind.__name__}"
            )
    return content
