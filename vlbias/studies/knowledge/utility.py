"""Prompts and answers of general use, which a change of facts should leave alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from vlbias.data.fact_files import FACTS
from vlbias.data.fact_world import fact_world
from vlbias.data.text_files import read_records
from vlbias.errors import BadData

__all__ = ["Items", "utility_of"]

Items = tuple[tuple[str, str], ...]


def utility_of(path: Path | None, name: str) -> Items:
    """Those of a file, or of the world that the facts come from; none where there is neither.

    Args:
        path: A file of JSON objects with "prompt" and "answer", one a line.
        name: Of the set of facts; see `FACTS`.

    Raises:
        BadData: if the file is missing, or a line has no prompt or answer.
    """
    if path is None:
        return fact_world(FACTS[name]).utility if name else ()
    return tuple(_pair(path, number, row) for number, row in read_records(path))


def _pair(path: Path, number: int, row: Mapping[str, object]) -> tuple[str, str]:
    prompt, answer = row.get("prompt"), row.get("answer")
    if not isinstance(prompt, str) or not isinstance(answer, str):
        raise BadData(f"{path.name} line {number}: expected texts 'prompt' and 'answer'")
    return prompt.strip(), answer.strip()
