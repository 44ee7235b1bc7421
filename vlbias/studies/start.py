"""What every kind of study needs that `vlbias init` can begin: a name, a file, lines with comments."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vlbias.errors import BadData
from vlbias.files import unwritable, write_texts
from vlbias.models import MODELS

__all__ = [
    "Start",
    "comment",
    "commented_head",
    "commented_item",
    "commented_line",
    "inline_table",
    "model_from",
    "path_from",
    "refuse_target",
    "study_name",
    "write_study",
]


@dataclass(frozen=True)
class Start:
    """A study that was written, and what there is to say of it.

    Args:
        path: The study file.
        name: Of the study, and so of its run folder.
        remarks: What was found and what was chosen, in sentences.
    """

    path: Path
    name: str
    remarks: Sequence[str]


def refuse_target(out: Path) -> None:
    """Nothing, if a study file can be made there.

    Raises:
        BadData: if it is not named *.toml, is there already, or its folder is not.
    """
    if out.suffix != ".toml":
        raise BadData(f"{out} is no name of a study file: end it in .toml, as every command asks")
    if out.exists():
        raise BadData(f"{out} is there already; name another file with --out, or move it away")
    if not out.resolve().parent.is_dir():
        raise BadData(f"{out} cannot be written: {out.resolve().parent} is no folder")


def write_study(out: Path, text: str) -> None:
    """Write a study file.

    Raises:
        BadTable: if its folder cannot be written.
    """
    try:
        write_texts({out: text})
    except OSError as error:
        raise unwritable(out, error) from error


def study_name(out: Path) -> str:
    """The name of the study in a file: the file's, with "-" for what no run folder is named with."""
    allowed = re.sub(r"[^A-Za-z0-9._-]+", "-", out.stem)
    return allowed.lstrip("._-").rstrip("-") or "study"


def model_from(model: str, folder: Path) -> str:
    """A model as a study file in a folder names it: a path where it is a folder or a GGUF file."""
    is_path = Path(model).is_dir() or (model.endswith(".gguf") and Path(model).is_file())
    return path_from(Path(model), folder) if model not in MODELS and is_path else model


def path_from(path: Path, folder: Path) -> str:
    """A path relative to a folder."""
    return Path(os.path.relpath(path.resolve(), folder)).as_posix()


def commented_head(title: str, name: str, remarks: Sequence[str]) -> list[str]:
    """The first lines of a study file: its title, what was found, and the commands that take it."""
    return [
        f"# {name}: {title}",
        *(comment(f"{remark}.") for remark in remarks),
        "#   vlbias check FILE          what is wrong or missing, in words",
        "#   vlbias run FILE --dry-run  how long it takes",
        "#   vlbias run FILE            the same command goes on after a kill",
        f"#   vlbias report runs/{name}",
    ]


def comment(text: str) -> str:
    """A line of a study file that only says something; what TOML forbids in it becomes a blank."""
    return "# " + "".join(letter if letter.isprintable() else " " for letter in text)


def commented_line(key: str, value: object, why: str) -> str:
    """A line of a study file: key, value, and a comment."""
    return f"{f'{key} = {_toml(value)}':39} # {why}"


def commented_item(value: str, why: str) -> str:
    """A line of a list in a study file: a string and a comment."""
    return f"  {_toml(value) + ',':37} # {why}"


def inline_table(content: Mapping[str, object]) -> str:
    """A table of TOML in one line."""
    pairs = ", ".join(
        f"{key} = {inline_table(value) if isinstance(value, Mapping) else _toml(value)}"
        for key, value in content.items()
    )
    return f"{{ {pairs} }}"


def _toml(value: object) -> str:
    # escapes of JSON are those of TOML, but for pairs of surrogates
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
