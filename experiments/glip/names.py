"""The names and sizes of a checkpoint's weights in few lines."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import product

__all__ = ["lines_of"]


def lines_of(sizes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """One line for all names that differ in numbers only and have one size.

    "layers.{0,1}.bias 96" stands for two names; numbers are all combinations of those in braces.
    """
    groups: dict[tuple[str, tuple[int, ...]], list[tuple[int, ...]]] = {}
    for name, size in sizes.items():
        stem = re.sub(r"(?<=\.)\d+(?=\.|$)", "{}", name)
        groups.setdefault((stem, size), []).append(
            tuple(map(int, re.findall(r"(?<=\.)\d+(?=\.|$)", name)))
        )
    lines = []
    for (stem, size), numbers in groups.items():
        for block in _blocks(numbers):
            places = [
                "{" + ",".join(map(str, one)) + "}" if len(one) > 1 else str(one[0])
                for one in block
            ]
            lines.append(f"{stem.format(*places)} {'x'.join(map(str, size)) or '-'}")
    return lines


def _blocks(numbers: list[tuple[int, ...]]) -> list[list[list[int]]]:
    """All combinations if these are they, or else each by its first number."""
    if not numbers[0]:
        return [[]]
    places = [sorted(set(place)) for place in zip(*numbers, strict=True)]
    if set(product(*places)) == set(numbers):
        return [places]
    found = []
    for first in places[0]:
        rest = [one[1:] for one in numbers if one[0] == first]
        found += [[[first], *block] for block in _blocks(rest)]
    return found
