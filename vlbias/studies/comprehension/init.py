"""A commented study of comprehension for a model and items that somebody has: what is there decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vlbias.causal.staged_model import StagedModel
from vlbias.errors import BadStudy, UnknownName
from vlbias.models import outline_model
from vlbias.studies.comprehension.generated_items import GENERATORS
from vlbias.studies.comprehension.items import refuse_items
from vlbias.studies.comprehension.own_items import read_items
from vlbias.studies.comprehension.plan import refuse_model
from vlbias.studies.comprehension.study import PHOTO_TASKS, SCENE_TASKS
from vlbias.studies.start import (
    Start,
    commented_head,
    commented_line,
    model_from,
    path_from,
    refuse_target,
    study_name,
    write_study,
)

__all__ = ["start"]

_TITLE = "do answers follow the meaning of items or their form? (Han et al., ICLR 2025)"
_COUNT, _SCENES = 1000, 200
_PHOTO_TASK, *_OTHERS = PHOTO_TASKS


@dataclass(frozen=True)
class _Choices:
    """What a study asks.

    Args:
        task: Its task.
        lines: Key, value and comment of what depends on it.
        remarks: What was found and chosen, in sentences.
        tables: Further lines, of tables.
    """

    task: str
    lines: Sequence[tuple[str, object, str]]
    remarks: Sequence[str]
    tables: Sequence[str] = field(default=())


def start(data: Path, model: str, out: Path) -> Start:
    """Write a commented study of a model, and say what was chosen and why.

    Args:
        data: A task whose items are made by seed, a JSONL file of one's own items, or a folder of photos in
            COCO's layout.
        model: Registered name, hub name, folder or GGUF file.
        out: The study file.

    Raises:
        BadData: if items are wrong, or the file is there already.
        BadModel: if the model's configuration cannot be read.
        BadStudy: if the model cannot be asked such items.
        BadTable: if the file cannot be written.
        UnknownName: if there is no such task, or no such model.
    """
    refuse_target(out)
    here, name = out.resolve().parent, study_name(out)
    outline = outline_model(model)
    choices = _choices(data, here, outline)
    of_images = choices.task in (*SCENE_TASKS, *PHOTO_TASKS)
    refuse_model(model, outline, of_images=of_images)
    lines = [
        *commented_head(_TITLE, name, choices.remarks),
        commented_line("kind", "comprehension", "see `vlbias list kinds`"),
        commented_line("name", name, f"of the folder runs/{name}"),
        commented_line(
            "model", model_from(model, here), "registered name, org/model, folder or GGUF"
        ),
        commented_line("device", "cpu", 'or "cuda"'),
        commented_line("task", choices.task, "what is asked"),
        *(commented_line(*line) for line in choices.lines),
        commented_line("shard_size", 50, "items a cell; a kill loses one cell"),
        commented_line("seed", 0, "of the items and of the draws"),
        *choices.tables,
    ]
    write_study(out, "\n".join(lines) + "\n")
    return Start(out, name, choices.remarks)


def _choices(data: Path, here: Path, outline: StagedModel) -> _Choices:
    if str(data) in GENERATORS:
        return _generated(str(data))
    if str(data) in SCENE_TASKS:
        return _scenes(str(data))
    if data.is_dir():
        return _photos(data, here, outline)
    if data.is_file():
        return _own(data, here)
    raise UnknownName(
        "task, JSONL file of items or folder of photos", str(data), [*GENERATORS, *SCENE_TASKS]
    )


def _generated(task: str) -> _Choices:
    lines = [
        ("count", _COUNT, "items, made by the seed"),
        ("edit", "replace", 'or "mask": <mask> in place of a word'),
        ("variants", 2, "edits of each arm"),
        _scored(),
    ]
    return _Choices(task, lines, [f"{_COUNT} items of {task} are made by the seed"])


def _scored() -> tuple[str, object, str]:
    return ("answers", "scored", 'choices by probability; or "written" with a parser')


def _scenes(task: str) -> _Choices:
    lines: list[tuple[str, object, str]] = [
        ("count", _SCENES, "scenes, rendered by the seed"),
        ("prompt", "template", "as the model was trained; `vlbias list prompts`"),
    ]
    if task != "scene-text-cues":
        usual = "background" if task == "scene-objects" else "colour"
        lines.append(("surfaces", [usual], '"background", "colour", "position", "crop", "blur"'))
    return _Choices(task, lines, [f"{_SCENES} scenes of {task} are rendered by the seed"])


def _own(path: Path, here: Path) -> _Choices:
    items = read_items(path)
    scored = all(len(item.choices) > 1 for item in items)
    refuse_items(items, scored=scored)
    lines: list[tuple[str, object, str]] = [
        ("path", path_from(path, here), "relative to this file")
    ]
    if scored:
        lines.append(_scored())
        said = "all have choices, which are scored"
    else:
        lines += [
            ("answers", "written", "text up to the end of the line"),
            ("parser", "first-word", '"number", "choice" or "regex:EXPRESSION"'),
        ]
        said = "some have no choices: answers are written and read by a parser"
    return _Choices("own", lines, [f"{len(items)} items in {path.name}; {said}"])


def _photos(data: Path, here: Path, outline: StagedModel) -> _Choices:
    if "class_logits" not in outline.gives:
        raise BadStudy(
            "model", outline.name, f"a model that scores classes in photos, which {data} has"
        )
    lines: list[tuple[str, object, str]] = [
        ("count", _SCENES, "photos, chosen by the seed"),
        ("prompt", "template", "as the model was trained; `vlbias list prompts`"),
        ("surfaces", ["background"], '"background", "colour", "position", "crop", "blur"'),
        ("fill", "mean", "over what is taken out; or blur, black, inpaint"),
    ]
    tables = [
        "",
        "[dataset]",
        commented_line("name", "coco", "see `vlbias list datasets`"),
        commented_line("path", path_from(data, here), "relative to this file"),
        commented_line("splits", ["dev", "test"], "that items are made of"),
    ]
    remarks = [f"items are made of photos in {data.name}; other tasks: {', '.join(_OTHERS)}"]
    return _Choices(_PHOTO_TASK, lines, remarks, tables)
