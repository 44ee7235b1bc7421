"""A study file with its comments, from what was chosen for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vlbias.studies.start import comment, commented_head, commented_item, commented_line

__all__ = ["Choices", "study_text"]


@dataclass(frozen=True)
class Choices:
    """What a study asks.

    Args:
        reader: Of the data.
        labels: Whether groups are read from captions.
        groups: In the order of their gap, first minus second.
        counts: Photos of each group.
        splits: Of the run, in the order fit, dev, test.
        classes: How many classes are asked for.
        prompt: A named prompt.
        image: Whether persons can be blurred.
        text: Whether the text tells a group that can be taken out.
        mediators: Site to what it is.
        finds_boxes: Whether the model is a detector.
        remarks: What was found and chosen, in sentences.
    """

    reader: str
    labels: bool
    groups: Sequence[str]
    counts: Sequence[int]
    splits: Sequence[str]
    classes: int
    prompt: str
    image: bool
    text: bool
    mediators: Mapping[str, str]
    finds_boxes: bool
    remarks: Sequence[str]


def study_text(choices: Choices, *, name: str, model: str, path: str) -> str:
    """The study file as TOML, every choice with what else could be chosen.

    Args:
        choices: What is asked.
        name: Of the study.
        model: As the file names it.
        path: Of the data, relative to the file.
    """
    blocks = (
        _head(choices, name, model),
        _contrasts(choices),
        _mediators(choices),
        _dataset(choices, path),
        _operating(choices),
    )
    return "\n\n".join(blocks) + "\n"


_TITLE = "gender bias of a model on your photos, and where in the model it arises."


def _head(choices: Choices, name: str, model: str) -> str:
    lines = [
        *commented_head(_TITLE, name, choices.remarks),
        commented_line("name", name, f"of the folder runs/{name}"),
        commented_line(
            "model", model, "see `vlbias list models`; org/model of the hub, or a folder"
        ),
        commented_line("device", "cpu", 'or "cuda"'),
        commented_line("prompt", choices.prompt, "see `vlbias list prompts`"),
        commented_line("outcomes", ["presence"], "how sure the model is that each class is there"),
        commented_line(
            "min_group", max(2, min(20, *choices.counts)), "photos that every group needs at least"
        ),
        commented_line("seed", 0, "of the choice of placebo regions"),
    ]
    if choices.finds_boxes:
        lines.append(
            commented_line("keep_boxes", 100, "best boxes of every arm, for average precision")
        )
    return "\n".join(lines)


def _contrasts(choices: Choices) -> str:
    rows = [
        (choices.image, "null->mask-gender", "person boxes blurred"),
        (choices.text, "null->replace-gender", '"man" and "woman" become "person"'),
        (choices.image and choices.text, "null->both", "both at once"),
        (choices.image, "null->placebo-image", "as many pixels blurred, away from persons"),
        (choices.text, "null->placebo-text", "as many words replaced that tell no gender"),
        (True, "null->null", "a check: every effect must be exactly 0"),
    ]
    lines = [
        "# What is compared: the photo and text as they are (null) with another world of them."
    ]
    return "\n".join(
        [
            *lines,
            "contrasts = [",
            *(commented_item(name, why) for asked, name, why in rows if asked),
            "]",
        ]
    )


def _mediators(choices: Choices) -> str:
    lines = [
        "# Parts of the model that are replaced by their value in the other world, to see how much of the",
        "# effect runs through them. More parts, more time: `vlbias list mediators MODEL`.",
        "mediators = [",
        *(commented_item(site, what) for site, what in choices.mediators.items()),
        "]",
    ]
    return "\n".join(lines)


def _dataset(choices: Choices, path: str) -> str:
    counts = zip(choices.groups, choices.counts, strict=True)
    lines = [
        "[dataset]",
        commented_line("name", choices.reader, "the reader; see `vlbias list datasets`"),
        commented_line("path", path, "relative to this file"),
        commented_line(
            "splits", list(choices.splits), "from the data, or shares 3 : 1 : 1 by the id"
        ),
        commented_line("groups", list(choices.groups), "gaps are the first minus the second"),
        comment("in the data: " + ", ".join(f"{group} {count}" for group, count in counts)),
    ]
    if choices.labels:
        lines += [
            "",
            "# perceived gender, from the captioners' words",
            "[dataset.labels]",
            commented_line("min_captions", 2, "captions that have to agree"),
            commented_line(
                "held_out", 1, "first captions that are for prompts, and not read for the label"
            ),
        ]
    return "\n".join(lines)


def _operating(choices: Choices) -> str:
    split = "dev" if "dev" in choices.splits else choices.splits[0]
    report = [name for name in choices.splits if name != split] or [split]
    why = "rates of these"
    if "fit" in report:
        why = "nothing is fitted here; for `vlbias mitigate`, keep fit apart"
    lines = [
        "# from which score on a class counts as seen",
        "[operating_point]",
        commented_line("rule", "fpr", "a threshold per class with this rate of false positives"),
        commented_line("value", 0.1, "of false positives"),
        commented_line("split", split, "where thresholds are set, on photos as they are"),
        commented_line("report", report, why),
        commented_line("min_negatives", 50, "photos without a class that each group needs"),
        commented_line("min_events", 5, "false positives to expect in each group"),
    ]
    return "\n".join(lines)
