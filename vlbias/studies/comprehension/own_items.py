"""Somebody's own items, one a line of a JSONL file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vlbias.data.text_files import Record, read_records
from vlbias.errors import BadData
from vlbias.studies.comprehension.items import Item

__all__ = ["read_items"]

_KEYS = ("id", "original", "deep", "surface", "answer", "choices", "cluster")


def read_items(path: Path) -> list[Item]:
    """The items of a file.

    A line is an object: "original" and "answer", texts; "deep" and "surface", lists of texts (or one text);
    and, if wanted, "id", "choices" (a list) and "cluster".

    Raises:
        BadData: if the file is missing, no JSONL, or a line is no item; names the line.
    """
    return [_item(path, record) for record in read_records(path)]


def _item(path: Path, record: Record) -> Item:
    values = record.values
    where = f"{path} line {record.number}"
    unknown = sorted(set(values) - set(_KEYS))
    if unknown:
        raise BadData(f"{where}: unknown key {unknown[0]!r}; known keys are {', '.join(_KEYS)}")
    for key in ("original", "answer"):
        if not isinstance(values.get(key), str) or not values[key].strip():
            raise BadData(f"{where}: {key!r} is {values.get(key)!r}, expected a text")
    return Item(
        id=str(values.get("id") or f"line-{record.number}"),
        original=values["original"].strip(),
        deep=_texts(where, "deep", values.get("deep")),
        surface=_texts(where, "surface", values.get("surface")),
        answer=values["answer"].strip(),
        choices=_texts(where, "choices", values.get("choices", [])),
        cluster=str(values.get("cluster") or ""),
    )


def _texts(where: str, key: str, value: Any) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(t, str) and t.strip() for t in texts):
        raise BadData(f"{where}: {key!r} is {value!r}, expected a list of texts")
    return tuple(text.strip() for text in texts)
