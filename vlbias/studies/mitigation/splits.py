"""The photos of a study of mitigations by split, with no photo in two of them."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from vlbias.causal.example import Example, Picture
from vlbias.errors import BadData
from vlbias.studies.mitigation.study import SPLITS

__all__ = ["by_split", "refuse_lacking_groups", "refuse_same_photo"]


def by_split(examples: Sequence[Example]) -> dict[str, tuple[Example, ...]]:
    """The photos of every split, in their order."""
    found: dict[str, list[Example]] = {name: [] for name in SPLITS}
    for example in examples:
        found[example.attributes["split"]].append(example)
    return {name: tuple(own) for name, own in found.items()}


def refuse_lacking_groups(split: Mapping[str, Sequence[Example]], groups: Sequence[str]) -> None:
    """Nothing, if every split has photos of all groups.

    Raises:
        BadData: names the split and the groups that it lacks.
    """
    for name, examples in split.items():
        counts = Counter(example.attributes["group"] for example in examples)
        lacking = [group for group in groups if counts[group] < 2]
        if lacking:
            raise BadData(
                f"split {name!r} has fewer than 2 photos of {lacking} (all: {dict(counts)}); mitigations "
                "need all groups in fit, dev and test: take more photos"
            )


def refuse_same_photo(examples: Sequence[Example]) -> None:
    """Nothing, if no photo is in two splits: not by its cluster, its file, nor its content.

    Raises:
        BadData: if there are such; names the ids.
    """
    seen: dict[object, list[Example]] = defaultdict(list)
    for example in examples:
        seen["cluster", example.cluster].append(example)
        image = example.worlds["null"].get("image")
        if isinstance(image, Picture):
            seen["content", _content(image)].append(example)
    shared = {
        tuple(sorted(f"{one.id} ({one.attributes['split']})" for one in same))
        for same in seen.values()
        if len({one.attributes["split"] for one in same}) > 1
    }
    if shared:
        shown = "; ".join(" = ".join(pair) for pair in sorted(shared)[:10])
        raise BadData(
            f"{len(shared)} photos are in more than one split, so that what is fitted would be tested on "
            f"itself: {shown}{' …' if len(shared) > 10 else ''}. Give each photo, and all that is taken of "
            "the same scene, to one split"
        )


def _content(image: Picture) -> str:
    source = image.source
    content = source.read_bytes() if isinstance(source, Path) else source.tobytes()
    return hashlib.sha256(content).hexdigest()
