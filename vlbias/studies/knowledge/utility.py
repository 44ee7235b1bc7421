"""Prompts and answers of general use, which a change of facts should leave alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from vlbias.data.fact_files import FACTS
from vlbias.data.fact_world import fact_world
from vlbias.data.question_files import LAYOUTS, records_of
from vlbias.errors import BadData

__all__ = ["Items", "utility_of"]

Items = tuple[tuple[str, str], ...]


def utility_of(path: Path | None, name: str) -> Items:
    """Those of a file, or of the world that the facts come from; none where there is neither.

    Args:
        path: A file of prompts and answers: JSONL, JSON or CSV with the columns "prompt" and "answer", or those
            of a layout in `LAYOUTS`.
        name: Of the set of facts; see `FACTS`.

    Raises:
        BadData: if the file is missing, or a line has no prompt or answer.
    """
    if path is None:
        return fact_world(FACTS[name]).utility if name else ()
    return tuple(_pair(path, number, row) for number, row in records_of(path))


def _pair(path: Path, number: int, row: Mapping[str, object]) -> tuple[str, str]:
    for columns in (("prompt", "answer"), *LAYOUTS.values()):
        prompt, answer = (row.get(name) for name in columns)
        if (
            isinstance(prompt, str)
            and isinstance(answer, str)
            and prompt.strip()
            and answer.strip()
        ):
            return prompt.strip(), answer.strip()
    raise BadData(
        f"{path.name} line {number}: expected texts 'prompt' and 'answer', as in "
        '{"prompt": "Two and two are", "answer": "four"}'
    )
