"""Reading a manifest: what it lacks or has of another type is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vlbias.errors import BadTable

__all__ = ["read_manifest"]

_TABLES = ("study", "packages", "machine", "data", "model", "contrasts", "mediators")
_LISTS = {"cells": str, "targets": str, "sessions": dict}


def read_manifest(path: Path) -> dict[str, Any]:
    """The content of a manifest; looking up a key that it should have and has not raises `BadTable`.

    Raises:
        BadTable: if it is no JSON object, or a part of it has another type than is written.
    """

    class Part(dict[str, Any]):
        def __missing__(self, key: str) -> Any:
            raise BadTable(
                f"{path} does not say {key!r}: it is no manifest of a run, or is damaged"
            )

    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_hook=Part)
    except (OSError, ValueError, RecursionError) as error:
        raise BadTable(
            f"{path} is no JSON in UTF-8 ({error}); move the folder away and run the study again"
        ) from error
    if not isinstance(content, Part):
        raise BadTable(
            f"{path} holds a {type(content).__name__}, expected names and values in {{}}"
        )
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
