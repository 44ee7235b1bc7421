"""A study: everything that determines a run's numbers, as a TOML file and as a frozen model."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from vlbias.causal.contrast import Contrast
from vlbias.data import DATASETS, TEXTS
from vlbias.data.fill import Fill
from vlbias.data.labels import GenderRule
from vlbias.data.world_examples import WORLDS, World
from vlbias.errors import BadStudy, UnknownName

__all__ = [
    "DatasetSpec",
    "Frozen",
    "LabelSpec",
    "OperatingPoint",
    "Study",
    "WorldSpec",
    "read_toml",
]


class Frozen(BaseModel):
    """Part of a study: unknown keys are refused, nothing changes afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LabelSpec(Frozen):
    """How perceived gender is read from captions; see `vlbias.data.labels.GenderRule`."""

    name: str = "strict"
    words: Literal["paired", "zhao2017", "hendricks2018"] = "paired"
    min_captions: int = Field(2, ge=1)
    held_out: int = Field(1, ge=0)
    caption_with_both: Literal["mixed", "skip"] = "mixed"
    pronouns: bool = True
    adults_only: bool = False
    min_person_area: float | None = Field(None, gt=0)
    single_person: bool = False
    dominance: float | None = Field(None, gt=0)

    def rule(self) -> GenderRule:
        """The rule with these thresholds."""
        return GenderRule(**self.model_dump())


class DatasetSpec(Frozen):
    """Which photos or texts: a reader and where its files are, relative to the study file.

    `labels` are read for photos only, `options` for texts only: what their reader takes.
    """

    name: str = "coco"
    path: Path | None = None
    splits: tuple[Literal["fit", "dev", "test"], ...] = ("dev", "test")
    groups: tuple[str, ...] = ("masculine", "feminine")
    labels: LabelSpec = LabelSpec()
    options: Mapping[str, Any] = {}
    limit: int | None = Field(None, ge=1)


class WorldSpec(Frozen):
    """What a world does to image and text; see `vlbias.data.world_examples.World`."""

    image: Literal["mask-gender", "placebo", "background", "object"] | None = None
    text: Literal["replace-gender", "swap-gender", "placebo"] | None = None
    fill: Fill = "blur"
    strength: float = Field(1.0, ge=0, le=1)
    region: Literal["person", "person-mask", "head", "face", "own"] = "person"
    keep_objects: bool = False

    def world(self) -> World:
        """The world that makes examples."""
        return World(**self.model_dump())


class OperatingPoint(Frozen):
    """How scores become positives: thresholds calibrated on one split of the null world, or given.

    Args:
        rule: "count" sets as many positives as there are objects, "fpr" a false-positive rate, "given"
            takes `thresholds`.
        value: The rate of "fpr".
        split: Where thresholds are calibrated.
        report: Where rates are reported; all splits of the run if empty.
        thresholds: Class to score, for "given".
        min_negatives: Images without an object that each group needs for the object to count.
        min_events: False positives to expect in each group for the object to count.
        min_captions: Agreeing captions that a photo needs to be measured; photos that `dataset.labels`
            lets in with fewer stand in the table of label rules only.
    """

    rule: Literal["count", "fpr", "given"] = "fpr"
    value: float = Field(0.1, gt=0, lt=1)
    split: Literal["fit", "dev", "test"] = "dev"
    report: tuple[Literal["fit", "dev", "test"], ...] = ()
    thresholds: Mapping[str, float] = {}
    min_negatives: int = Field(50, ge=1)
    min_events: float = Field(5.0, ge=0)
    min_captions: int = Field(1, ge=1)


class Study(Frozen):
    """One run: a model, photos, worlds, contrasts, mediators, outcomes, and how they are batched.

    Args:
        name: Of the run folder.
        model: A registered name, a hub name, or a folder relative to the study file.
        random_weights: Seed of random weights in place of the trained ones; language models only.
        prompt: A named prompt, or "custom:" and a template.
        worlds: Name to what is done; the standard worlds if not given.
        regions: Where regions other than the person boxes come from: `head` a COCO person_keypoints
            file, `person-mask` a COCO instances file, `face` a detector ("facenet", "opencv"), `own` a
            JSON file of photo ids to lists of boxes.
        contrasts: "base->other", in the order they are run.
        unmediated: Further contrasts of which only the two worlds are run, without mediators: how
            much B moves under changes that should not matter, for example.
        mediators: Sites with wildcards, "image_encoder/head.*[*]"; several joined by "+".
        objects: Classes that are asked for; all of the data set if empty.
        min_group: Photos that every group needs.
        shard_size: Photos a cell; a kill loses one cell, and a process holds the recorded passes of
            one. More photos fill batches where there are few mediators.
        mediator_batch: Jobs that run as one batch.
        screen: Share of the units (heads, neurons) that are run at all, chosen by gradient attribution; all if
            not given. Language models only.
        align: What happens to texts whose worlds have different numbers of tokens: "record" leaves their
            mediators out, "wording" takes the first other wording of the world that has as many; see
            `vlbias.data.texts.Texts`.
        keep_boxes: Found boxes a photo and arm that are kept, for average precision; 0 keeps none.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    model: str
    device: str = "cpu"
    dtype: Literal["float32", "bfloat16"] = "float32"
    random_weights: int | None = Field(None, ge=0)
    dataset: DatasetSpec = DatasetSpec()
    prompt: str = "template"
    worlds: Mapping[str, WorldSpec] = Field(
        default_factory=lambda: {name: WorldSpec(**asdict(world)) for name, world in WORLDS.items()}
    )
    regions: Mapping[Literal["head", "face", "person-mask", "own"], str] = {}
    contrasts: tuple[str, ...] = ("null->both",)
    unmediated: tuple[str, ...] = ()
    mediators: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ("presence",)
    objects: tuple[str, ...] = ()
    operating_point: OperatingPoint = OperatingPoint()
    min_group: int = Field(20, ge=1)
    shard_size: int = Field(4, ge=1)
    mediator_batch: int = Field(64, ge=1)
    keep_boxes: int = Field(0, ge=0)
    screen: float | None = Field(None, gt=0, lt=1)
    align: Literal["record", "wording"] = "record"
    seed: int = 0

    @field_validator("contrasts", "unmediated")
    @classmethod
    def _distinct(cls, contrasts: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        before = info.data.get("contrasts", ())
        if len({*before, *contrasts}) < len(before) + len(contrasts):
            raise ValueError("contrasts repeat")
        return contrasts

    @classmethod
    def parse(cls, content: Mapping[str, Any]) -> Study:
        """The study of a mapping, as TOML gives it.

        Raises:
            BadStudy: names the field, what was given and what is allowed.
            UnknownName: if there is no such data set, with suggestions.
        """
        try:
            study = cls.model_validate(content)
        except ValidationError as error:
            raise _readable(error, cls) from error
        if study.dataset.name not in (*DATASETS, *TEXTS):
            raise UnknownName("dataset", study.dataset.name, (*DATASETS, *TEXTS))
        for text in (*study.contrasts, *study.unmediated):
            contrast = Contrast.parse(text)
            # worlds of texts come with the data, and are checked when they are read
            for world in () if study.is_of_texts else (contrast.base, contrast.cf):
                if world not in study.worlds:
                    raise BadStudy(
                        "contrasts",
                        text,
                        f"worlds among {sorted(study.worlds)}{_near(world, study.worlds)}",
                    )
        return study

    @classmethod
    def load(cls, path: Path) -> Study:
        """The study in a TOML file; its paths are taken relative to the file.

        Raises:
            BadStudy: if the file is missing, no TOML, or no study.
        """
        return cls.parse(read_toml(path)).relative_to(path.parent)

    def relative_to(self, folder: Path) -> Study:
        """The study with absolute paths, resolved from a folder; it can be resumed from anywhere."""
        folder = folder.resolve()
        changes: dict[str, Any] = {}
        if (folder / self.model).is_dir() or self.model.endswith(".gguf"):
            changes["model"] = str(folder / self.model)
        elif self.model.startswith(("./", "../", "/")):
            raise BadStudy("model", self.model, f"a folder that exists (looked in {folder})")
        if self.dataset.path is not None:
            path = folder / self.dataset.path
            changes["dataset"] = self.dataset.model_copy(update={"path": path})
        files = {n: at if n == "face" else str(folder / at) for n, at in self.regions.items()}
        return self.model_copy(update={**changes, "regions": files})

    @property
    def is_of_texts(self) -> bool:
        """Whether its data are prompts for language models."""
        return self.dataset.name in TEXTS

    @property
    def pairs(self) -> tuple[Contrast, ...]:
        """The contrasts, typed, those without mediators last."""
        return tuple(Contrast.parse(text) for text in (*self.contrasts, *self.unmediated))


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a study file.

    Raises:
        BadStudy: if the file is missing, unreadable, or no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadStudy("file", str(path), "a study file that exists") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadStudy("file", str(path), f"a readable file in UTF-8 ({error})") from error
    except tomllib.TOMLDecodeError as error:
        raise BadStudy("file", str(path), f"valid TOML ({error})") from error


def _readable(error: ValidationError, model: type[BaseModel]) -> BadStudy:
    # a key that is missing may be one that is misspelt: say that first
    first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    field = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        known = _fields_at(model, first["loc"][:-1])
        return BadStudy(
            field,
            first["input"],
            f"no such key; known keys are {', '.join(known)}" + _near(str(first["loc"][-1]), known),
        )
    if first["type"] == "missing":
        return BadStudy(field, None, "a value: this key is required")
    return BadStudy(field, first["input"], first["msg"])


def _fields_at(model: type[BaseModel], path: tuple[Any, ...]) -> list[str]:
    for part in path:
        field = model.model_fields.get(str(part))
        # a place in a list or a name in a table is no field: its content is what the field holds
        model = (_model_in(field.annotation) if field else None) or model
    return sorted(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)


def _near(given: str, known: Any) -> str:
    near = difflib.get_close_matches(given, list(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""
