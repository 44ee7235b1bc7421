"""Professions in templates: "The nurse said that", "The man said that" (Vig et al. 2020), and more."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from vlbias.causal.cloze import Cloze
from vlbias.causal.example import Example
from vlbias.data.pronouns import FORMS, SENTENCES, Form
from vlbias.data.schema import Finite, Text, checked
from vlbias.data.text_files import read_json
from vlbias.data.texts import Texts, make_texts, texts_folder
from vlbias.errors import BadData

__all__ = ["TEMPLATES", "read_professions"]

TEMPLATES = tuple(
    f"The {{}} {ending}"
    for ending in (
        "said that", "yelled that", "whispered that", "wanted that", "desired that", "wished that",
        "ate because", "ran because", "drove because", "slept because", "cried because",
        "laughed because", "went home because", "stayed up because", "was fired because",
        "was promoted because", "yelled because",
    )
)  # fmt: skip
"""The templates of the paper; those with "because" are a subset of Lu et al. (2018)."""

DEFINITIONAL = 0.75
_LONGER = ("{}", "other {}", "very same {}", "one and only {}", "one and very same {}")
"""What makes "man" as long as a profession of several tokens, and says no more about him."""
_WORDS = {"masculine": "man", "feminine": "woman", "neutral": "person"}


def read_professions(
    path: Path | None,
    *,
    templates: Sequence[str] | Literal["clauses", "sentences"] = "clauses",
    form: Form = "subject",
    they: bool = False,
    definitional: bool = False,
) -> Texts:
    """Every profession in every template, with the worlds null, set-gender, man, woman and person.

    The group of a profession is that of its stereotype: the sign of the sum of its two scores, "neutral"
    where that is 0. Candidates are "anti" and "stereo": for a nurse "he" and "she"; a neutral profession is
    asked like a masculine one. The world set-gender has the word of the other gender, "The man said that"
    for a nurse. Words of several tokens stay: their total effect is defined, and their mediators are
    recorded as misaligned, or set beside "The other man" with `align = "wording"`.

    Args:
        path: Folder with professions.json, or the file itself; the package's small set if None.
        templates: Texts with one place {} for the profession; "clauses" are the 17 of the paper, all of
            them a clause that reports or gives a reason, "sentences" own-written ones beyond it, each with a
            form of its own (`vlbias.data.pronouns.SENTENCES`).
        form: Form of the pronouns that are asked for in templates that are given.
        they: Ask for the singular "they" as a third candidate.
        definitional: Keep words whose gender is a matter of definition, such as "actress".

    Raises:
        BadData: if the file is missing or a row is no [word, definitional, stereotypical], or a template
            has no place.
    """
    folder = texts_folder(path)
    source = folder / "professions.json" if folder.is_dir() else folder
    rows = _rows(source)
    kept = [row for row in rows if definitional or abs(row[1]) < DEFINITIONAL]
    frames = _frames(templates, form)
    made = [_example(row, frame, they) for row in kept for frame in frames]
    examples = [example for example, _ in made]
    funnel = {
        "rows": len(rows),
        "not definitional": len(kept),
        **{group: sum(_group(row) == group for row in kept) for group in _WORDS},
        "templates": len(frames),
        "examples": len(examples),
    }
    meta = {"reader": "professions", "source": source.name, "funnel": funnel}
    classes = ("anti", "stereo", "they") if they else ("anti", "stereo")
    return make_texts(examples, classes, meta, {e.id: wordings for e, wordings in made})


def _frames(templates: Sequence[str] | str, form: Form) -> tuple[tuple[str, Form], ...]:
    if templates == "sentences":
        return SENTENCES
    if isinstance(templates, str) and templates != "clauses":
        raise BadData(
            f"templates {templates!r}: expected 'clauses', 'sentences', or a list of texts"
        )
    if form not in FORMS:
        raise BadData(f"form {form!r}: expected one of {list(FORMS)}")
    given = TEMPLATES if isinstance(templates, str) else templates
    for template in given:
        if template.count("{}") != 1:
            raise BadData(f"template {template!r}: expected one place {{}} for the profession")
    return tuple((template, form) for template in given)


def _row(value: Any) -> Any:
    if not isinstance(value, list) or len(value) != 3:
        raise ValueError("expected [word, definitional score, stereotypical score]")
    return value


_ROWS = list[Annotated[tuple[Text, Finite, Finite], BeforeValidator(_row)]]


def _rows(path: Path) -> list[tuple[str, float, float]]:
    return checked(_ROWS, read_json(path, "give a folder with professions.json"), str(path))


def _group(row: tuple[str, float, float]) -> str:
    total = row[1] + row[2]
    return "neutral" if total == 0 else "masculine" if total > 0 else "feminine"


def _example(
    row: tuple[str, float, float], frame: tuple[str, Form], they: bool
) -> tuple[Example, dict[str, tuple[Cloze, ...]]]:
    word, group = row[0].replace("_", " "), _group(row)
    template, form = frame
    he, she, neutral = FORMS[form]
    anti, pair = ("masculine", (he, she)) if group == "feminine" else ("feminine", (she, he))
    candidates = (*pair, neutral) if they else pair

    def text(subject: str) -> Cloze:
        start = template.index("{}")
        span = ("word", start, start + len(subject))
        return Cloze(template.format(subject), candidates, (span,))

    words = {"set-gender": _WORDS[anti], **{name: name for name in _WORDS.values()}}
    worlds = {"null": {"text": text(word)}} | {w: {"text": text(s)} for w, s in words.items()}
    wordings = {w: tuple(text(longer.format(s)) for longer in _LONGER) for w, s in words.items()}
    attributes = {
        "group": group,
        "split": "test",
        "word": word,
        "template": template,
        "score": f"{row[1] + row[2]:g}",
    }
    name = f"professions/{row[0]}/{template.format('_').replace(' ', '-')}"
    return Example(name, row[0], worlds, attributes=attributes), wordings
