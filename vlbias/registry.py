"""One table of names per kind of part; a name is resolved, and its module imported, only when asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Generic, TypeVar

from vlbias.errors import UnknownName

T = TypeVar("T")

__all__ = ["Entry", "Registry"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One registered part: where its code is, with which fixed arguments, and one line about it."""

    target: str  # "package.module:attribute"
    about: str
    options: tuple[tuple[str, Any], ...] = ()


class Registry(Generic[T]):
    """Names of one kind of part, as lazy "module:attribute" strings.

    Args:
        kind: What the names stand for, used in error messages.
        entries: Name to entry; printing the names imports nothing.
    """

    def __init__(self, kind: str, entries: Mapping[str, Entry]) -> None:
        self.kind, self._entries = kind, dict(entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._entries  # a file may hold anything

    def entry(self, name: str) -> Entry:
        """The entry behind a name.

        Raises:
            UnknownName: with suggestions, if there is no such name.
        """
        if name not in self._entries:
            raise UnknownName(self.kind, name, self._entries)
        return self._entries[name]

    def load(self, name: str) -> T:
        """The part itself; imports its module now.

        Raises:
            UnknownName: with suggestions, if there is no such name.
        """
        module, _, attribute = self.entry(name).target.partition(":")
        part: T = getattr(import_module(module), attribute)
        return part
