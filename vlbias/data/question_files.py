"""Facts in the layouts of LUME (SemEval-2025 Task 4) and TOFU, which do not say what a fact is about."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlbias.data.facts import Fact
from vlbias.data.text_files import Record, parse_json, read_records, read_text
from vlbias.errors import BadData

__all__ = ["LAYOUTS", "facts_of_questions", "layout_of_questions", "records_of", "subject_in"]

LAYOUTS: Mapping[str, tuple[str, str]] = {
    "LUME": ("input", "output"),
    "TOFU": ("question", "answer"),
}
"""Layout to its columns of prompts and answers."""
_RUN = re.compile(
    r"\b[A-Z][\w’'.-]*(?:\s+(?:(?:de|da|del|la|van|von|den|der|al|bin|ibn)\s+){0,2}[A-Z][\w’'.-]*)*"
)
_POSSESSIVE = re.compile(r"(?:['’]s|['’])$")


def records_of(path: Path) -> list[Record]:
    """Rows of a CSV, JSONL or JSON file; a file that is named .json may hold one object a line.

    Raises:
        BadData: if it is no such file, or a row is malformed; names file and row.
    """
    if path.suffix != ".json":
        return read_records(path)
    text = read_text(path)
    if text.lstrip().startswith("{"):
        lines = [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
        found = [(n, parse_json(line, f"{path.name} line {n}")) for n, line in lines]
    else:
        whole = parse_json(text, str(path))
        found = list(enumerate(whole if isinstance(whole, list) else [whole], 1))
    for number, values in found:
        if not isinstance(values, dict):
            raise BadData(f"{path.name} line {number}: expected a JSON object")
    return [Record(number, values) for number, values in found]


def layout_of_questions(records: Sequence[Record]) -> str:
    """The layout whose columns the first row has; "" if it is neither."""
    keys = set(records[0].values) if records else set()
    return next((name for name, pair in LAYOUTS.items() if set(pair) <= keys), "")


def facts_of_questions(path: Path, records: Sequence[Record], layout: str) -> tuple[Fact, ...]:
    """The facts of a file of questions.

    The prompt of LUME is its input; that of TOFU is "Question: ...", a new line, and "Answer:". Groups are
    the column `split` without what follows an underscore ("forget_train" is "forget"), or else what the file is
    named before its first digit or underscore ("forget10.json" is "forget"). The subject is the longest run
    of capitalised words; see `subject_in`.

    Args:
        path: The file.
        records: Its rows.
        layout: One of `LAYOUTS`.

    Raises:
        BadData: if a row has no question or answer; names it.
    """
    asked, answered = LAYOUTS[layout]
    named = re.split(r"[\d_]", path.stem)[0]
    facts = []
    for number, values in records:
        where = f"{path.name} line {number}"
        question, answer = (_text(values, key, where) for key in (asked, answered))
        split = str(values.get("split") or named)
        prompt = question if layout == "LUME" else f"Question: {question}\nAnswer:"
        facts.append(
            Fact(
                id=str(values.get("id") or f"{path.stem}/{number}"),
                subject=subject_in(question),
                prompt=prompt,
                answer=answer,
                group=split.partition("_")[0],
            )
        )
    return tuple(facts)


def subject_in(text: str) -> str:
    """The longest run of capitalised words, without that with which the text begins if it is one word.

    All of the text, if there is none.
    """
    runs = []
    for found in _RUN.finditer(text):
        run = found.group()
        if found.start() == 0 and " " in run and run.split()[0] in _OPENERS:
            run = run.split(None, 1)[1]
        elif found.start() == 0 and " " not in run:
            continue
        runs.append(_POSSESSIVE.sub("", run.rstrip(".")))
    return max(runs, key=len, default=text)


_OPENERS = frozenset((
    "What", "Who", "Whom", "Whose", "Which", "Where", "When", "Why", "How", "Is", "Are", "Was", "Were", "Do",
    "Does", "Did", "Can", "Could", "Has", "Have", "In", "On", "At", "The", "A", "An", "For", "To",
))  # fmt: skip


def _text(values: Mapping[str, Any], key: str, where: str) -> str:
    value = values.get(key)
    if not isinstance(value, str) or not value.strip():
        raise BadData(f"{where}: {key} is {value!r}, expected a text")
    return value.strip()
