"""Examples in several worlds: photo and text as they are, and as interventions leave them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from vlbias.causal.example import Example, Inputs
from vlbias.causal.region import Region, mask_of
from vlbias.data.counterfactual_images import PhotoPictures, seed_of
from vlbias.data.counterfactual_texts import PhotoTexts
from vlbias.data.gender_labels import GenderRule, agreeing_captions
from vlbias.data.prompts import Prompt, prompt_named
from vlbias.data.table import SPLITS, Dataset
from vlbias.data.world import WORLDS, World, WorldAbsent, channels_changed
from vlbias.errors import BadData, BadStudy, UnknownName

__all__ = ["WORLDS", "World", "channels_changed", "make_examples"]


def make_examples(
    dataset: Dataset,
    worlds: Mapping[str, World],
    prompt: str | Prompt = "template",
    *,
    splits: Sequence[str] = SPLITS,
    groups: Sequence[str] = ("masculine", "feminine"),
    seed: int = 0,
    limit: int | None = None,
    regions: Sequence[Mapping[str, Region]] = (),
    several: str = "",
) -> list[Example]:
    """One example per photo of the asked splits and groups, sorted by id.

    Inputs that are equal between worlds are the same objects. A world that cannot be made for a
    photo is in `Example.absent` with the reason and not in `Example.worlds`.

    Args:
        dataset: The table.
        worlds: Name to world; see `WORLDS`.
        prompt: Name of a prompt, or a prompt with words of its own.
        splits: Of "fit", "dev" and "test".
        groups: Values of the group column.
        seed: Chooses placebo regions, together with each id, and what `limit` keeps.
        limit: Keep a random choice of this many photos; a smaller one is part of a larger.
        regions: Id to region, for worlds that fill another one than the person boxes.
        several: "nearest" keeps photos of other groups as well, where a person of one of the groups stands
            nearest to an object.

    Returns:
        Examples with targets "present" (frozenset of class names), "objects", "size" and "nearest" (frozenset
        of pairs of a class and the group of the person nearest to it), and with
        attributes "group", "split", "masked_share", "words_changed", "placebo_how",
        "placebo_overlap" and "agreeing_captions".

    Raises:
        UnknownName: for a split or prompt that is not there.
        BadData: if a group has no photo in the splits; names the groups there are.
    """
    chosen = prompt_named(prompt) if isinstance(prompt, str) else prompt
    frame = _select(dataset.frame, splits, groups, nearest=several == "nearest")
    if limit is not None:
        if limit < 1:
            raise BadStudy("limit", limit, "1 or more")
        order = frame["id"].map(lambda name: seed_of(seed, name)).sort_values().index
        frame = frame.loc[order[:limit]].sort_values("id")
    texts: dict[str, Any] = {}
    return [
        _example(
            row,
            worlds,
            PhotoPictures(row, dataset.image_root / row["image"], _regions_of(row, regions), seed),
            PhotoTexts(row, chosen, dataset.classes, texts),
            dataset.meta.get("rule", {}),
        )
        for row in map(dict, frame.to_dict("records"))
    ]


def _select(
    frame: pd.DataFrame, splits: Sequence[str], groups: Sequence[str], *, nearest: bool
) -> pd.DataFrame:
    for split in splits:
        if split not in SPLITS:
            raise UnknownName("split", split, SPLITS)
    frame = frame[frame["split"].isin(list(splits))]
    there = frame["group"].value_counts().to_dict()
    empty = [group for group in groups if not there.get(group)]
    if empty or not groups:
        counted = ", ".join(f"{group!r} {count}" for group, count in there.items())
        raise BadData(
            f"no photo of group {', '.join(map(repr, empty)) or '(none given)'} in splits "
            f"{', '.join(splits)}; groups there: {counted or 'none'}. Set dataset.groups to some of "
            "those, or take other splits or a label rule that keeps more"
        )
    kept = frame["group"].isin(list(groups))
    if nearest:
        if "nearest" not in frame:
            raise BadData(
                "dataset.several is 'nearest', and no person has a group of its own: give persons' boxes a "
                'sixth entry, ["person", x0, y0, x1, y1, group]'
            )
        kept |= frame["nearest"].map(lambda found: any(one["group"] in groups for one in found))
    return frame[kept]


def _regions_of(
    row: Mapping[Any, Any], regions: Sequence[Mapping[str, Region]]
) -> dict[str, Region]:
    found = [known[row["id"]] for known in regions if row["id"] in known]
    return {region.name: region for region in found}


def _example(
    row: Mapping[Any, Any],
    worlds: Mapping[str, World],
    pictures: PhotoPictures,
    texts: PhotoTexts,
    rule: Mapping[str, Any],
) -> Example:
    made: dict[str, Inputs] = {}
    absent: dict[str, str] = {}
    for name, world in worlds.items():
        try:
            made[name] = {"image": pictures.picture(world), "text": texts.text(world)}
        except WorldAbsent as reason:
            absent[name] = str(reason)
    objects = tuple(
        (o["class"], o["x0"], o["y0"], o["x1"], o["y1"], o["crowd"]) for o in row["objects"]
    )
    present = frozenset(row["present"])
    return Example(
        id=row["id"],
        cluster=row["cluster"],
        worlds=made,
        targets={
            "present": present,
            "objects": objects,
            "size": pictures.size,
            "nearest": frozenset((o["class"], o["group"]) for o in row.get("nearest", ())),
        },
        attributes=_attributes(row, pictures, texts, rule),
        absent=absent,
    )


def _attributes(
    row: Mapping[Any, Any], pictures: PhotoPictures, texts: PhotoTexts, rule: Mapping[str, Any]
) -> dict[str, str]:
    mask, placebo = mask_of(pictures.persons, pictures.size), pictures.placebo
    return {
        "group": row["group"],
        "split": row["split"],
        "masked_share": f"{mask.mean():.4f}",
        "words_changed": str(texts.words_changed()),
        "placebo_how": placebo.how if placebo else "",
        "placebo_overlap": f"{placebo.overlap:.4f}" if placebo else "",
        "agreeing_captions": _agreeing_captions(row, rule),
    }


def _agreeing_captions(row: Mapping[Any, Any], rule: Mapping[str, Any]) -> str:
    """How many captions gave the label; empty where no caption rule did."""
    if "min_captions" not in rule:
        return ""
    return str(agreeing_captions(row["captions"], GenderRule(**rule)))
