"""Edits of facts by name and settings, as a study gives them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from vlbias.edits.loss_names import Loss
from vlbias.edits.memit import Memit
from vlbias.edits.rank_one import RankOne
from vlbias.edits.training import BlockTraining
from vlbias.edits.values import ValueSearch
from vlbias.errors import BadStudy, UnknownName

__all__ = ["METHODS", "method_of", "training_of"]

METHODS: dict[str, type[RankOne] | type[Memit]] = {"rank-one": RankOne, "memit": Memit}
"""Name to settings."""


def method_of(
    name: str, options: Mapping[str, Any], search: Mapping[str, Any] | None = None
) -> RankOne | Memit:
    """The edit of a name; lists, as TOML has them, become tuples.

    Args:
        name: One of `METHODS`.
        options: Its settings beside `search`.
        search: Settings of the search for a value, in place of the method's own.

    Raises:
        UnknownName: if there is no such method, with suggestions.
        BadStudy: if it has no such setting, or a value is of another type.
    """
    if name not in METHODS:
        raise UnknownName("method of editing", name, METHODS)
    kind = METHODS[name]
    known = {field.name for field in dataclasses.fields(kind)} - {"search"}
    given = {key: _value(key, value, known) for key, value in options.items()}
    if "sites" not in given:
        raise BadStudy("sites", None, "a list such as ['lm/mlp.5']: this key is required")
    plain = kind(**given)
    numbers = {field.name: field.type for field in dataclasses.fields(ValueSearch)}
    for key, value in (search or {}).items():
        is_text = key == "essence"
        fits = isinstance(value, str) if is_text else _is_number(value)
        if key not in numbers or not fits:
            raise BadStudy(f"search.{key}", value, f"numbers for {', '.join(sorted(numbers))}")
    if not search:
        return plain
    return dataclasses.replace(plain, search=dataclasses.replace(plain.search, **search))


def training_of(
    sites: Sequence[str], loss: Loss, options: Mapping[str, Any], *, bound: float, seed: int = 0
) -> BlockTraining:
    """Training of blocks with settings as a study gives them.

    Args:
        sites: Blocks.
        loss: What is minimised.
        options: Further settings.
        bound: For "hinge", where the options give none.
        seed: Of the batches.

    Raises:
        BadStudy: if there is no such setting, or a value is of another type.
    """
    apart = {"sites", "loss", "seed"}
    defaults = {
        field.name: field.default
        for field in dataclasses.fields(BlockTraining)
        if field.name not in apart
    }
    for key, value in options.items():
        if key not in defaults:
            raise BadStudy(f"options.{key}", value, f"one of {', '.join(sorted(defaults))}")
        kind = type(defaults[key])
        fits = type(value) is kind or (kind is float and type(value) is int)
        if not fits or (kind in (int, float) and value < 0):
            raise BadStudy(f"options.{key}", value, f"a value such as {defaults[key]!r}")
    given = {"bound": bound, **options}
    if given.get("retain", "answers") not in ("answers", "divergence"):
        raise BadStudy("options.retain", given["retain"], '"answers" or "divergence"')
    return BlockTraining(tuple(sites), loss, seed=seed, **given)


_CHOICES = {
    "rule": ("fixed", "random", "smallest-cost", "traced"),
    "keys": ("mixed", "one"),
}


def _value(key: str, value: Any, known: set[str]) -> Any:
    if key not in known:
        raise BadStudy(key, value, f"one of the settings {', '.join(sorted(known))}")
    if key == "sites":
        if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
            raise BadStudy(key, value, "a list of sites such as ['lm/mlp.5']")
        return tuple(value)
    if key == "effects":
        if not isinstance(value, list | tuple) or not all(map(_is_number, value)):
            raise BadStudy(key, value, "a list of numbers, one for each site")
        return tuple(map(float, value))
    if key in _CHOICES:
        if value not in _CHOICES[key]:
            raise BadStudy(key, value, f"one of {', '.join(_CHOICES[key])}")
        return value
    if not _is_number(value) or value < 0:
        raise BadStudy(key, value, "a number, 0 or more")
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
