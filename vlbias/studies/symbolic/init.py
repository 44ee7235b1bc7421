"""A commented study of symbolic mechanisms for a language model: its vocabulary and its length decide."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from vlbias.errors import BadModel, BadStudy, UnknownName
from vlbias.models import outline_model
from vlbias.studies.start import (
    Start,
    commented_head,
    commented_line,
    model_from,
    refuse_target,
    study_name,
    write_study,
)
from vlbias.studies.symbolic.plan import refuse_model
from vlbias.studies.symbolic.prompts import Format
from vlbias.studies.symbolic.study import Study
from vlbias.studies.symbolic.vocabulary import Vocabulary

__all__ = ["start"]

_SHOTS = 4
_ACCURACY_SHOTS = (1, 2, 4, 6, 10)
_MARKS = ("^", ":", "-", "=", "#", "|")
"""Separators that are tried: the published one, then others that tokenizers seldom merge."""
_TITLE = "heads that carry a rule and heads that carry a token (Yang et al. 2025)."


def start(data: Path, model: str, out: Path) -> Start:
    """Write a commented study of a language model on the identity-rule task.

    Args:
        data: What prompts are made of: "all", "letters", "words" or "nonsense"; see `Study.items`.
        model: Hub name, folder or GGUF file.
        out: The study file.

    Raises:
        BadData: if the file is there already.
        BadModel: if the tokenizer merges every separator with its neighbours.
        BadStudy: if the model is no causal language model, or has too few such tokens.
        BadTable: if the file cannot be written.
        UnknownName: if there are no such items, or no such model.
    """
    refuse_target(out)
    items, known = str(data), get_args(Study.model_fields["items"].annotation)
    if items not in known:
        raise UnknownName("set of items", items, known)
    outline: Any = outline_model(model)
    refuse_model(model, outline)
    reader: Any = outline_model(model, tokenizer=True)
    most = (reader.max_tokens - 4) // 6
    if most < 2:
        raise BadStudy("model", model, "a model that takes 16 tokens or more, which 2 shots have")
    format, words = _laid_out(reader, items, min(_SHOTS, most))
    name = study_name(out)
    remarks = [
        f"{reader.name} has {len(words)} single tokens of the items {items!r}",
        f"it takes {reader.max_tokens} tokens, a prompt of {format.shots} shots has {format.tokens}",
    ]
    lines = _lines(name, model_from(model, out.resolve().parent), items, format, most, remarks)
    write_study(out, "\n".join(lines) + "\n")
    return Start(out, name, remarks)


def _laid_out(reader: Any, items: str, shots: int) -> tuple[Format, tuple[str, ...]]:
    """The first separator that is one token beside words of the vocabulary, and these words."""
    first: BadModel | None = None
    for mark in _MARKS:
        format = Format(shots, mark)
        try:
            return format, Vocabulary(reader, items, format).words
        except BadModel as error:
            first = first or error
    assert first is not None
    raise first


def _lines(
    name: str, model: str, items: str, format: Format, most: int, remarks: Sequence[str]
) -> list[str]:
    accuracy = [shots for shots in _ACCURACY_SHOTS if shots <= most]
    more = [shots for shots in (2 * format.shots,) if shots <= most]
    return [
        *commented_head(_TITLE, name, remarks),
        commented_line("kind", "symbolic", "see `vlbias list kinds`"),
        commented_line("name", name, f"of the folder runs/{name}"),
        commented_line("model", model, "org/model of the hub, a folder, or a GGUF file"),
        commented_line("device", "cpu", 'or "cuda"'),
        commented_line("shots", format.shots, "examples of a prompt, before the query"),
        commented_line("pairs", 20, "solved pairs for each base rule"),
        commented_line("separator", format.separator, "between items; one token"),
        commented_line("items", items, '"all", "letters", "words" or "nonsense"'),
        commented_line("lures", False, "the first example holds the query's items, swapped"),
        commented_line("solved", "argmax", 'or "generation": the text up to the newline'),
        commented_line("floor", 0.05, "least share of the logit gap of a head that is found"),
        commented_line("map_pairs", 4, "for the map of layers and tokens"),
        commented_line("accuracy_shots", accuracy, "where accuracy is measured"),
        commented_line("accuracy_prompts", 40, "for each of these and each rule"),
        commented_line("probe_prompts", 60, "for attention, similarity and decoding"),
        commented_line("probe_shots", more, "more examples, on which the decoder is tried"),
        commented_line("ablation", [1, 2, 4, 8], "heads that are silenced together"),
        commented_line("ablation_prompts", 20, "fresh solved prompts for each rule"),
        commented_line("ablation_draws", 10, "random sets of heads beside each"),
        commented_line("shard_size", 5, "pairs a cell; a kill loses one cell"),
        commented_line("mediator_batch", 64, "passes that run as one batch"),
        commented_line("seed", 0, "of the prompts"),
    ]
