"""Names that are two spellings of one, or none at all: of groups and of classes."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable

from vlbias.cell_texts import misread
from vlbias.errors import BadData

__all__ = ["refuse_spellings"]

_MISSING = {"nan", "<na>", "null", "n/a", "#n/a"}
"""What tables write where there is nothing."""
_PERSON = "person"
_SIGNS = "=+-@'＝＋－＠ \t\r\n"


def refuse_spellings(groups: Iterable[str], classes: Iterable[str]) -> None:
    """Nothing, if every group and class has one name.

    Raises:
        BadData: names groups or classes that differ in capitals, spaces or Unicode form only, groups that
            stand for a missing value, names that pandas, R, DuckDB or a spreadsheet would read as something
            else, and a class of persons that is not called "person".
    """
    counts = Counter(groups)
    missing = [name for name in counts if name.casefold() in _MISSING or name in ("", "None")]
    if missing:
        raise BadData(
            f"{sum(counts[name] for name in missing)} photos have the group {missing[0]!r}, which stands for "
            "a missing value; give them a group, or take them out"
        )
    listed = list(classes)
    wrong = [name for name in listed if _plain(name) == _PERSON and name != _PERSON]
    if wrong:
        raise BadData(
            f"class {wrong[0]!r}: persons must be of class 'person', as worlds look for it"
        )
    for what, names in (("group", list(counts)), ("class", listed)):
        for name in names:
            if taken := misread(name):
                raise BadData(
                    f"{what} {name!r} would be read as {taken} in every exported table; call it otherwise, "
                    f"such as {what + ' ' + name.strip(_SIGNS)!r}"
                )
    for what, names in (("groups", list(counts)), ("classes", listed)):
        alike = defaultdict(list)
        for name in names:
            alike[_plain(name)].append(name)
        for same in alike.values():
            if len(same) > 1:
                shown = ", ".join(
                    f"{n!r} ({counts[n]} photos)" if what == "groups" else repr(n) for n in same
                )
                raise BadData(f"{what} that are spelt in several ways: {shown}; use one spelling")


def _plain(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())
