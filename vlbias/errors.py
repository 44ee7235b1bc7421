"""The mistakes a user can meet; every message says what was given, what was expected, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path

__all__ = [
    "BadData",
    "BadModel",
    "BadOption",
    "BadStudy",
    "BadTable",
    "FolderInUse",
    "Misaligned",
    "MissingArms",
    "MissingExtra",
    "NothingSolved",
    "StageCallError",
    "UnknownName",
    "VlbiasError",
]


class VlbiasError(Exception):
    """Base of all errors that a user can cause or repair; the command line prints it and exits 2."""


class UnknownName(VlbiasError):
    """A name that nothing is registered under.

    Args:
        kind: What was looked up, for example "model" or "mediator".
        given: The name that was given.
        known: The names there are; the nearest ones are suggested.
    """

    def __init__(self, kind: str, given: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(given, names, n=3, cutoff=0.4)
        hint = f"Did you mean {' or '.join(map(repr, near))}? " if near else ""
        listed = ", ".join(names[:20]) + (f", … ({len(names)} in all)" if len(names) > 20 else "")
        super().__init__(f"No {kind} is called {given!r}. {hint}Known: {listed or 'none'}.")
        self.kind, self.given, self.suggestions = kind, given, tuple(near)


class BadStudy(VlbiasError):
    """A study that cannot be run; names the field, the value and what is allowed."""

    def __init__(self, field: str, given: object, expected: str) -> None:
        super().__init__(f"study field {field!r}: got {given!r}, expected {expected}")
        self.field, self.given, self.expected = field, given, expected


class BadOption(BadStudy):
    """An option or argument that cannot be; names it, the value and what is allowed."""

    def __init__(self, name: str, given: object, expected: str) -> None:
        VlbiasError.__init__(self, f"option {name!r}: got {given!r}, expected {expected}")
        self.field, self.given, self.expected = name, given, expected


class BadData(VlbiasError):
    """A data file that is missing, unreadable or contradicts another; names the file or the ids."""


class BadModel(VlbiasError):
    """A model that cannot be loaded or does not keep the adapter contract."""


class BadTable(VlbiasError):
    """A run folder or table that is not what this version writes."""


class FolderInUse(VlbiasError):
    """A folder that another process works on, so that both would do the same."""

    def __init__(self, folder: Path, holder: str) -> None:
        super().__init__(
            f"{folder} is being worked on by {holder}; wait until it ends, or end it and run this again: "
            "what it has finished is kept"
        )
        self.folder, self.holder = folder, holder


class NothingSolved(VlbiasError):
    """A model that solves no task that it is given, so that nothing can be said of how it solves it."""


class StageCallError(VlbiasError):
    """A module that was not called exactly once in a forward pass."""

    def __init__(self, model: str, module: str, times: int) -> None:
        super().__init__(
            f"{model}: module {module!r} ran {times} times in one forward pass, expected exactly once. "
            "Draw the stage or port at a module that the forward pass calls once."
        )
        self.model, self.module, self.times = model, module, times


class Misaligned(VlbiasError):
    """Two worlds whose values cannot be exchanged because their shapes differ."""

    def __init__(self, ids: Sequence[str], key: str, lengths: tuple[object, object]) -> None:
        shown = ", ".join(ids[:5]) + (" …" if len(ids) > 5 else "")
        super().__init__(
            f"{key} differs between the two worlds ({lengths[0]} against {lengths[1]}) for {shown}; "
            "use an intervention that keeps the number of tokens, or leave these rows out."
        )
        self.ids, self.key, self.lengths = tuple(ids), key, lengths


class MissingArms(VlbiasError):
    """An effect was asked for whose potential outcomes are not in the table."""


class MissingExtra(VlbiasError):
    """An optional library is needed that is not installed."""

    def __init__(self, extra: str, library: str) -> None:
        super().__init__(f"{library} is not installed; run: pip install 'vlbias[{extra}]'")
        self.extra, self.library = extra, library
