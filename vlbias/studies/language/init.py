"""A commented study for a language model and texts that somebody has: what is there decides."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from vlbias.causal.staged_model import StagedModel
from vlbias.data import TEXTS, read_text_dataset
from vlbias.data.texts import Texts, lines_of
from vlbias.errors import BadData, BadStudy, UnknownName
from vlbias.models import outline_model
from vlbias.runs.study import Split
from vlbias.studies.language.study_text import Choices, study_text
from vlbias.studies.start import (
    Start,
    model_from,
    path_from,
    refuse_target,
    study_name,
    write_study,
)

__all__ = ["start"]

_OWN = "texts"
"""The reader of one's own texts."""
_NULL = "null"
_NEUTRAL = "neutral"
_SPAN = "word"


def start(data: Path, model: str, out: Path) -> Start:
    """Write a commented study of a language model on texts, and say what was chosen and why.

    Args:
        data: A name of `vlbias list texts`, or a JSONL file of one's own texts.
        model: Hub name, folder or GGUF file.
        out: The study file.

    Raises:
        BadData: if the texts are wrong, or the file is there already.
        BadModel: if the model's configuration cannot be read.
        BadStudy: if the model is no language model.
        BadTable: if the file cannot be written.
        UnknownName: if there are no such texts, or no such model.
    """
    refuse_target(out)
    reader, path = _source(data)
    options = {} if path is None else _options(path)
    texts = read_text_dataset(reader, path, options)
    outline = outline_model(model)
    if any(tower.channels != ("text",) for tower in outline.towers):
        raise BadStudy("model", model, "a language model")
    here, name = out.resolve().parent, study_name(out)
    choices = _choices(reader, texts, options, outline)
    relative = None if path is None else path_from(path, here)
    write_study(out, study_text(choices, name=name, model=model_from(model, here), path=relative))
    return Start(out, name, choices.remarks)


def _source(data: Path) -> tuple[str, Path | None]:
    """The reader of some texts, and the path that it wants.

    Raises:
        BadData: if it is a folder.
        UnknownName: if it is neither a name nor a file.
    """
    if str(data) in TEXTS:
        return str(data), None
    if data.is_dir():
        raise BadData(
            f"{data} is a folder; give the JSONL file of your texts, or one of {[*TEXTS]}"
        )
    if not data.is_file():
        raise UnknownName("data set of texts, or JSONL file of your own,", str(data), TEXTS)
    return _OWN, data


def _options(path: Path) -> dict[str, Any]:
    """Options of the reader of own texts: names of the candidates, where there are not two."""
    try:
        count = len(json.loads(lines_of(path)[0])["candidates"])
    except (json.JSONDecodeError, IndexError, KeyError, TypeError):
        return {}  # the reader says what is wrong, and in which line
    further = [f"candidate{number}" for number in range(3, count + 1)]
    return {"classes": ["anti", "stereo", *further]} if further else {}


def _choices(
    reader: str, texts: Texts, options: Mapping[str, Any], outline: StagedModel
) -> Choices:
    """What a study of these texts and this model can ask."""
    others = [world for world in texts.worlds if world != _NULL]
    if _NULL not in texts.worlds or not others:
        raise BadData(
            f"the texts have the worlds {', '.join(texts.worlds)}: needed are {_NULL!r}, the texts as they "
            "are, and another one"
        )
    has_span = all(
        _SPAN in (name for name, *_ in world["text"].spans)
        for example in texts.examples
        for world in example.worlds.values()
    )
    counts = _counts(texts, "group")
    remarks = [
        f"{len(texts.examples)} texts of the reader {reader!r}, worlds {', '.join(texts.worlds)}",
        "groups " + ", ".join(f"{group} {count}" for group, count in counts.items()),
    ]
    if not has_span:
        remarks.append(
            f"some texts do not name the words that differ (span): mediators are at every token, not at "
            f"{_SPAN!r}"
        )
    return Choices(
        reader=reader,
        options=options,
        contrasts=[f"{_NULL}->{world}" for world in others],
        mediators=_mediators(outline, f"@{_SPAN}" if has_span else ""),
        groups=_groups(counts),
        counts=counts,
        splits=_splits(texts),
        has_wordings=any(any(of.values()) for of in texts.wordings.values()),
        remarks=remarks,
    )


def _counts(texts: Texts, attribute: str) -> Mapping[str, int]:
    return Counter(example.attributes[attribute] for example in texts.examples)


def _groups(counts: Mapping[str, int]) -> Sequence[str]:
    """The groups that a study names: not that of texts without groups, and none without a stereotype."""
    named = [group for group in counts if group != "all"]
    return [group for group in named if group != _NEUTRAL] or named


def _splits(texts: Texts) -> Sequence[str]:
    there = _counts(texts, "split")
    known = [split for split in get_args(Split) if split in there]
    if unknown := sorted(set(there) - set(known)):
        raise BadData(f"splits {unknown} of the texts: known are {', '.join(get_args(Split))}")
    return known


def _mediators(outline: StagedModel, at: str) -> dict[str, str]:
    """Sites of the model to what they are: the embedding, and MLP and attention of every layer."""
    found = {}
    where = "the words that differ" if at else "every token"
    for port in outline.ports:
        if port.name == "embed":
            found[f"{port.stage}/embed{at}"] = f"word embeddings of {where}"
        elif port.name == "mlp":
            found[f"{port.stage}/mlp.*{at}"] = f"MLP of each of {port.layers} layers, {where}"
        elif port.name == "attn":
            found[f"{port.stage}/attn.*"] = f"attention of each of {port.layers} layers"
    return found
