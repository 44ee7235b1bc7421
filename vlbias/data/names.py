"""First names in templates: which pronoun does a name make the model expect, "they" included?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from vlbias.causal.cloze import Cloze
from vlbias.causal.example import Example
from vlbias.data.pronouns import FORMS, Form
from vlbias.data.text_files import lines_of
from vlbias.data.texts import Texts, make_texts, texts_folder
from vlbias.errors import BadData

__all__ = ["TEMPLATES", "read_names"]

TEMPLATES = (
    "{} said that",
    "{} was late because",
    "{} went home. In the evening",
    "I have known {} for years, and",
)
_GENDERS = ("feminine", "masculine", "neutral")


def read_names(
    path: Path | None,
    *,
    templates: Sequence[str] = TEMPLATES,
    form: Form = "subject",
    by: Literal["gender", "origin"] = "gender",
) -> Texts:
    """Every first name in every template, asked for "he", "she" and the singular "they".

    Worlds: null with the name itself, swap-gender with the name beside it in the file's other gender of
    the same origin (a neutral name has none), neutral with a neutral name of that origin, and person with
    "Somebody". Candidates are "anti", "stereo" and "they"; a neutral name is asked like a masculine one.

    With `align = "wording"` another name of the same origin and gender stands in where the token counts
    of the two differ.

    Args:
        path: Folder with names.tsv, or the file itself, columns name, gender and origin; the package's small
            set if None.
        templates: Texts with one place {} for the name.
        form: Form of the pronouns that are asked for.
        by: What groups are: gender, or any number of origins.

    Raises:
        BadData: if the file is missing or a row is wrong, or a template has no place.
    """
    folder = texts_folder(path)
    source = folder / "names.tsv" if folder.is_dir() else folder
    rows = _rows(source)
    for template in templates:
        if template.count("{}") != 1:
            raise BadData(f"template {template!r}: expected one place {{}} for the name")
    made = [
        _example(row, _others(row, rows), template, form, by)
        for row in rows
        for template in templates
    ]
    examples = [example for example, _ in made]
    counts = {gender: sum(row[1] == gender for row in rows) for gender in _GENDERS}
    funnel = {"names": len(rows), **counts, "templates": len(templates), "examples": len(examples)}
    meta = {"reader": "names", "source": source.name, "funnel": funnel}
    return make_texts(examples, ("anti", "stereo", "they"), meta, {e.id: w for e, w in made})


def _rows(path: Path) -> list[tuple[str, str, str]]:
    head, *lines = [line.split("\t") for line in lines_of(path)]
    if head != ["name", "gender", "origin"]:
        raise BadData(f"{path} has the columns {head}, expected name, gender and origin")
    for number, cells in enumerate(lines, start=2):
        if len(cells) != 3 or cells[1] not in _GENDERS:
            raise BadData(f"{path} line {number}: expected name, one of {_GENDERS}, and origin")
    return [(name, gender, origin) for name, gender, origin in lines]


def _others(
    row: tuple[str, str, str], rows: Sequence[tuple[str, str, str]]
) -> dict[str, tuple[str, ...]]:
    """World to the names that may stand in the place of a row's own, the one beside it first."""
    _, gender, origin = row
    of = {other: [name for name, g, o in rows if (g, o) == (other, origin)] for other in _GENDERS}
    place = of[gender].index(row[0])
    swapped = {"feminine": "masculine", "masculine": "feminine"}.get(gender, "")
    found: dict[str, tuple[str, ...]] = {"person": ("Somebody",)}
    for world, wanted in (("neutral", "neutral"), ("swap-gender", swapped)):
        names = of.get(wanted, [])
        if names:
            first = place % len(names)
            found[world] = (*names[first:], *names[:first])
    return found


def _example(
    row: tuple[str, str, str],
    others: dict[str, tuple[str, ...]],
    template: str,
    form: Form,
    by: str,
) -> tuple[Example, dict[str, tuple[Cloze, ...]]]:
    name, gender, origin = row
    he, she, they = FORMS[form]
    candidates = (he, she, they) if gender == "feminine" else (she, he, they)

    def text(who: str) -> Cloze:
        start = template.index("{}")
        return Cloze(template.format(who), candidates, (("word", start, start + len(who)),))

    wordings = {world: tuple(map(text, names)) for world, names in others.items()}
    worlds = {"null": {"text": text(name)}}
    worlds |= {world: {"text": texts[0]} for world, texts in wordings.items()}
    attributes = {
        "group": gender if by == "gender" else origin,
        "split": "test",
        "word": name,
        "template": template,
        "gender": gender,
        "origin": origin,
    }
    absent = {} if "swap-gender" in worlds else {"swap-gender": "a name without gender"}
    example_id = f"names/{name}/{template.format('_').replace(' ', '-')}"
    return Example(example_id, name, worlds, attributes=attributes, absent=absent), wordings
