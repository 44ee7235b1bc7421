"""Prompts in several worlds: what a reader of texts gives, and one's own prompts from a JSONL file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ConfigDict, Field

from vlbias.causal.cloze import Cloze
from vlbias.causal.example import Example, Picture
from vlbias.data.schema import FileRow, Name, OptionalName, Text, checked
from vlbias.data.spellings import refuse_spellings
from vlbias.data.text_files import read_records
from vlbias.errors import BadData, BadStudy
from vlbias.files import hash_of_file

__all__ = ["Texts", "make_texts", "read_texts", "texts_folder"]


class _Row(FileRow):
    """A line of one's own texts; see `read_texts`."""

    model_config = ConfigDict(extra="forbid")

    id: Name
    cluster: OptionalName = None
    group: OptionalName = None
    split: OptionalName = None
    worlds: dict[str, Text] = Field(min_length=1)
    candidates: tuple[Text, ...]
    span: dict[str, Text] = Field(default_factory=dict)
    after: Text = ""
    image: Name | dict[str, Name] | None = None
    attributes: dict[str, Name] = Field(default_factory=dict)
    wordings: dict[str, tuple[tuple[Text, Text], ...]] = Field(default_factory=dict)


Wordings = Mapping[str, Mapping[str, tuple[Cloze, ...]]]
"""Id of an example, world, and other wordings of it that may be taken in its place."""


@dataclass(frozen=True)
class Texts:
    """Prompts of a language-model study.

    Args:
        examples: Each with a `Cloze` per world under the channel "text".
        classes: What the candidates are, in the order of every example: "anti", "stereo".
        meta: Reader, funnel, and what was chosen.
        content_hash: Of all texts and candidates; goes into every cell's key.
        wordings: What may be taken where a world has another number of tokens than the null world, in
            order of preference; used by a study with `align = "wording"`.
        files: Name of every file that was read, below the folder that was given, to a hash of its bytes.
    """

    examples: tuple[Example, ...]
    classes: tuple[str, ...]
    meta: Mapping[str, Any]
    content_hash: str
    wordings: Wordings = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def worlds(self) -> tuple[str, ...]:
        """Worlds of the examples, in the order they were made."""
        return tuple(dict.fromkeys(world for e in self.examples for world in e.worlds))

    def chosen(
        self, splits: Collection[str], groups: Collection[str], *, limit: int | None, seed: int
    ) -> tuple[Example, ...]:
        """The examples of these splits and groups, and of the group "all"; with a limit so many, by the seed.

        Raises:
            BadStudy: if none is left, or no text has one of the groups; names what there is.
        """
        known = {e.attributes["group"] for e in self.examples} - {"all"}
        unknown = [group for group in groups if group not in (*known, "all")]
        if known and unknown:
            raise BadStudy("dataset.groups", unknown, f"groups that texts have: {sorted(known)}")
        wanted = [
            e
            for e in self.examples
            if e.attributes["split"] in splits and e.attributes["group"] in (*groups, "all")
        ]
        if not wanted:
            there = sorted({(e.attributes["split"], e.attributes["group"]) for e in self.examples})
            raise BadStudy(
                "dataset.groups", (tuple(splits), tuple(groups)), f"splits and groups among {there}"
            )
        if limit is None or limit >= len(wanted):
            return tuple(wanted)
        kept = np.random.default_rng(seed).permutation(len(wanted))[:limit]
        return tuple(wanted[i] for i in sorted(kept))


def make_texts(
    examples: Sequence[Example],
    classes: Sequence[str],
    meta: Mapping[str, Any],
    wordings: Wordings | None = None,
) -> Texts:
    """The examples, checked: ids differ, candidates are as many as classes and equal in all worlds.

    Wordings are taken as they are.

    Raises:
        BadData: names the examples for which this does not hold.
    """
    if not examples:
        raise BadData(f"reader {meta.get('reader')!r} found no example: {meta.get('funnel')}")
    ids = [example.id for example in examples]
    twice = (
        sorted({name for name in ids if ids.count(name) > 1}) if len(set(ids)) < len(ids) else []
    )
    if twice:
        raise BadData(f"ids that repeat: {twice[:5]}")
    for example in examples:
        texts = [world["text"] for world in example.worlds.values()]
        if {text.candidates for text in texts} != {texts[0].candidates}:
            raise BadData(f"{example.id}: candidates differ between its worlds")
        if len(texts[0].candidates) != len(classes):
            raise BadData(
                f"{example.id} has {len(texts[0].candidates)} candidates, expected one for each of "
                f"{list(classes)}"
            )
    refuse_spellings([e.attributes["group"] for e in examples], ())
    text = json.dumps([[e.id, {w: repr(x["text"]) for w, x in e.worlds.items()}] for e in examples])
    # outcomes of photos compare with what is in them; a text has nothing of the kind
    plain = tuple(replace(e, targets={**e.targets, "present": frozenset()}) for e in examples)
    photos = [
        [hash_of_file(x["image"].source) for x in e.worlds.values() if "image" in x]
        for e in examples
    ]
    text += json.dumps(photos) if any(photos) else ""
    content_hash = hashlib.sha256(text.encode()).hexdigest()
    return Texts(plain, tuple(classes), dict(meta), content_hash, wordings or {})


def texts_folder(path: Path | None) -> Path:
    """The given folder, or that of the small own-written set that comes with the package."""
    return Path(str(files("vlbias.data").joinpath("lm"))) if path is None else path


def read_texts(path: Path | None, *, classes: Sequence[str] = ("anti", "stereo")) -> Texts:
    """Your own prompts, any attribute, any number of groups and candidates, from a JSONL file.

    A line is an object with `id`, `worlds` (world to text before the gap), `candidates` (a list, the same
    in all worlds, in the order of `classes`), and optionally `span` (world to the words that differ,
    the span "word"), `after`, `cluster`, `group`, `split`, `attributes` and `wordings` (world to a list of
    [text, the words that differ], see `Texts`). `image`, the path of a photo or world to path, relative to
    the file, is for models that read both.

    Args:
        path: The file; if None the package's small set of other attributes than gender (age, income,
            dwelling, training), whose candidates are whole clauses.
        classes: What the candidates are.

    Raises:
        BadData: names the line.
    """
    path = texts_folder(None) / "texts.jsonl" if path is None else path
    examples = []
    wordings = {}
    for number, values in read_records(path):
        where = f"{path.name} line {number}"
        row = checked(_Row, values, where)
        try:
            examples.append(_own(row, path.parent))
            wordings[row.id] = {
                world: tuple(_own_cloze(row, text, word) for text, word in others)
                for world, others in row.wordings.items()
            }
        except BadData as error:
            raise BadData(f"{where}: {error}") from error
    meta = {"reader": "texts", "source": path.name, "funnel": {"lines": len(examples)}}
    return make_texts(examples, classes, meta, wordings)


def _own(row: _Row, folder: Path) -> Example:
    worlds: dict[str, dict[str, Any]] = {
        world: {"text": _own_cloze(row, text, row.span.get(world))}
        for world, text in row.worlds.items()
    }
    if row.image is not None:
        for world, inputs in worlds.items():
            inputs["image"] = _own_picture(row.image, world, folder)
    attributes = {**row.attributes, "group": row.group or "all", "split": row.split or "test"}
    cluster = row.id if row.cluster is None else row.cluster
    return Example(row.id, cluster, worlds, attributes=attributes)


def _own_picture(image: str | dict[str, str], world: str, folder: Path) -> Picture:
    """The photo of a world, opened once to see that it can be."""
    name = image if isinstance(image, str) else image.get(world)
    if name is None:
        raise BadData(f"no image for the world {world!r}: give one path, or one for every world")
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise BadData(f"image {name!r} lies outside the folder of the file: put it there")
    picture = Picture(path)
    picture.open()
    return picture


def _own_cloze(row: _Row, text: str, word: str | None) -> Cloze:
    spans: tuple[tuple[str, int, int], ...] = ()
    if word is not None:
        if text.count(word) != 1:
            raise BadData(
                f"span {word!r} occurs {text.count(word)} times in {text!r}, expected once"
            )
        spans = (("word", text.index(word), text.index(word) + len(word)),)
    return Cloze(text, row.candidates, spans, row.after)
