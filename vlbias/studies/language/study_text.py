"""The file of a study of texts with its comments, from what was chosen for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vlbias.studies.start import commented_head, commented_item, commented_line

__all__ = ["Choices", "study_text"]

_WORLDS = {
    "set-gender": 'the word becomes "man" or "woman", against its stereotype',
    "swap-gender": "pronoun or name of the other gender",
    "man": 'the word becomes "man"',
    "woman": 'the word becomes "woman"',
    "person": "a word that tells no gender",
    "neutral": "a name that tells no gender",
}
"""World of the readers to what is changed in it."""


@dataclass(frozen=True)
class Choices:
    """What a study of texts asks.

    Args:
        reader: Of the texts.
        options: Of the reader.
        contrasts: Between the texts as they are and their other worlds.
        mediators: Site to what it is.
        groups: Those that are run; texts of the group "all" always are.
        counts: Texts of each group.
        splits: Those that are run.
        has_wordings: Whether texts have other wordings.
        remarks: What was found and chosen, in sentences.
    """

    reader: str
    options: Mapping[str, Any]
    contrasts: Sequence[str]
    mediators: Mapping[str, str]
    groups: Sequence[str]
    counts: Mapping[str, int]
    splits: Sequence[str]
    has_wordings: bool
    remarks: Sequence[str]


def study_text(choices: Choices, *, name: str, model: str, path: str | None) -> str:
    """The study file as TOML, every choice with what else could be chosen.

    Args:
        choices: What is asked.
        name: Of the study.
        model: As the file names it.
        path: Of one's own texts, relative to the file.
    """
    blocks = (
        _head(choices, name, model),
        _contrasts(choices),
        _mediators(choices),
        _dataset(choices, path),
    )
    return "\n\n".join(blocks) + "\n"


_TITLE = "odds of what may follow these texts, and where in the model effects on them arise."


def _head(choices: Choices, name: str, model: str) -> str:
    lines = [
        *commented_head(_TITLE, name, choices.remarks),
        commented_line("kind", "language", "see `vlbias list kinds`"),
        commented_line("name", name, f"of the folder runs/{name}"),
        commented_line("model", model, "org/model of the hub, a folder, or a GGUF file"),
        commented_line("device", "cpu", 'or "cuda"'),
        commented_line("outcomes", ["log-odds"], "of each candidate against the second"),
        commented_line("shard_size", 16, "texts a cell; a kill loses one cell"),
        commented_line("mediator_batch", 256, "passes that run as one batch"),
        commented_line("seed", 0, "of the choice of texts under a limit"),
    ]
    if choices.has_wordings:
        why = 'or "wording": another wording where numbers of tokens differ'
        lines.append(commented_line("align", "record", why))
    return "\n".join(lines)


def _contrasts(choices: Choices) -> str:
    lines = ["# What is compared: the texts as they are (null) with their other worlds."]
    items = [
        commented_item(contrast, _WORLDS.get(contrast.partition("->")[2], "as your texts say"))
        for contrast in choices.contrasts
    ]
    check = commented_item("null->null", "a check: every effect must be exactly 0")
    return "\n".join([*lines, "contrasts = [", *items, check, "]"])


def _mediators(choices: Choices) -> str:
    lines = [
        "# Parts of the model that are replaced by their value in the other world, to see how much of the",
        "# effect runs through them. More parts, more time: `vlbias list mediators MODEL`.",
        "mediators = [",
        *(commented_item(site, what) for site, what in choices.mediators.items()),
        "]",
    ]
    return "\n".join(lines)


def _dataset(choices: Choices, path: str | None) -> str:
    lines = ["[dataset]", commented_line("name", choices.reader, "see `vlbias list texts`")]
    if path is not None:
        lines.append(commented_line("path", path, "relative to this file"))
    elif choices.reader != "texts":
        lines.append("# path = ...  the published files; without it the small set of the package")
    lines.append(commented_line("splits", list(choices.splits), "that are run"))
    if choices.groups:
        counts = ", ".join(f"{group} {count}" for group, count in choices.counts.items())
        lines.append(commented_line("groups", list(choices.groups), f"in the texts: {counts}"))
    for option, value in choices.options.items():
        lines.append(commented_line(f"options.{option}", value, "names of the candidates"))
    return "\n".join(lines)
