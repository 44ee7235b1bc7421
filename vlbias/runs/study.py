"""A study: everything that determines a run's numbers, as a TOML file and as a frozen model."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from vlbias.errors import BadStudy

__all__ = [
    "Elsewhere",
    "Frozen",
    "ModelStudy",
    "Split",
    "StudyBase",
    "fields_at",
    "near",
    "plain_values",
    "read_toml",
]

Split = Literal["fit", "dev", "test"]
"""Part of the data: to fit on, to choose on, to report."""

Elsewhere = Callable[[tuple[str, ...]], Sequence[str]]
"""From the path of a key to the kinds of study that have it."""


class Frozen(BaseModel):
    """Part of a study: unknown keys are refused, nothing changes afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _as_meant(cls, value: Any, info: ValidationInfo) -> Any:
        kinds = _kinds(cls.model_fields[info.field_name or ""].annotation)
        if isinstance(value, bool) and kinds & {int, float} and bool not in kinds:
            raise ValueError("expected a number, not true or false")
        if isinstance(value, str) and kinds & {int, float} and str not in kinds:
            raise ValueError("expected a number without quotes")
        return value

    @field_validator("*")
    @classmethod
    def _without_repeats(cls, value: Any) -> Any:
        if isinstance(value, tuple):
            twice = [part for place, part in enumerate(value) if part in value[:place]]
            if twice:
                raise ValueError(f"entries that differ, each once; {twice[0]!r} repeats")
        return value


def _kinds(annotation: Any) -> set[Any]:
    """The types that a field takes, of unions each."""
    return {annotation} | {part for part in get_args(annotation) if isinstance(part, type)}


class StudyBase(Frozen):
    """What every kind of study has.

    Args:
        kind: The kind of study; may be left out where the other keys tell it.
        name: Of the run folder.
        seed: Of everything that is drawn; 0 or more.
    """

    kind: str
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: int = Field(0, ge=0, lt=2**63)

    @property
    def beginning(self) -> str:
        """What a run does before its first cell, for whom it keeps waiting."""
        return "preparing"

    @property
    def decisions(self) -> Mapping[str, str]:
        """What decides each statement of the page; the manifest of a new run fixes it."""
        return {}

    @classmethod
    def parse(cls, content: Mapping[str, Any], elsewhere: Elsewhere = lambda path: ()) -> Self:
        """The study of a mapping, as TOML gives it.

        Args:
            content: Keys and values.
            elsewhere: Tells which kinds of study have a key that this one has not.

        Raises:
            BadStudy: names the field, what was given and what is allowed.
            UnknownName: if a name in it is unknown, with suggestions.
        """
        try:
            study = cls.model_validate(content)
        except ValidationError as error:
            raise _readable(error, cls, elsewhere) from error
        study.check()
        return study

    @classmethod
    def load(cls, path: Path) -> Self:
        """The study in a TOML file; its paths are taken relative to the file.

        Raises:
            BadStudy: if the file is missing, no TOML, or no study of this kind.
        """
        return cls.parse(read_toml(path)).relative_to(path.parent)

    @classmethod
    def restore(cls, content: Mapping[str, Any]) -> Self:
        """The study in a manifest; keys that this kind had in version 0.1.0 only are left out.

        Raises:
            BadStudy: if it is no study.
        """
        return cls.parse(_known(cls, content))

    def check(self) -> None:
        """Refuse what the fields alone cannot tell.

        Raises:
            BadStudy: names the field.
            UnknownName: with suggestions.
        """

    def relative_to(self, folder: Path) -> Self:
        """The study with absolute paths, resolved from a folder; it can be resumed from anywhere.

        Raises:
            BadStudy: if it names a folder that does not exist.
        """
        return self


class ModelStudy(StudyBase):
    """A study of one model.

    Args:
        model: A registered name, a hub name, or a folder relative to the study file.
        device: "cpu", "cuda", or another device of torch.
        dtype: Precision of the weights.
    """

    model: str
    device: str = "cpu"
    dtype: Literal["float32", "bfloat16"] = "float32"

    @property
    def beginning(self) -> str:
        """See `StudyBase.beginning`."""
        return "loading the model"

    def relative_to(self, folder: Path) -> Self:
        """See `StudyBase.relative_to`."""
        folder = folder.resolve()
        if (folder / self.model).is_dir() or self.model.endswith(".gguf"):
            return self.model_copy(update={"model": str(folder / self.model)})
        if self.model.startswith(("./", "../", "/")):
            raise BadStudy("model", self.model, f"a folder that exists (looked in {folder})")
        return self


def plain_values(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Options as a manifest can hold them: a validator of fields that take any option.

    Raises:
        ValueError: if a value is no text, number, truth value, or a list or table of such, as dates are.
    """
    try:
        json.dumps(options)
    except TypeError as error:
        raise ValueError(
            f"texts, numbers, truth values, and lists and tables of them ({error})"
        ) from None
    return options


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a study file.

    Raises:
        BadStudy: if the file is missing, unreadable, or no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise BadStudy("file", str(path), "a study file that exists") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadStudy("file", str(path), f"a readable file in UTF-8 ({error})") from error
    except (ValueError, RecursionError) as error:  # also numbers of thousands of digits
        raise BadStudy("file", str(path), f"valid TOML ({error})") from error


def fields_at(model: type[BaseModel], path: Iterable[Any]) -> list[str]:
    """Keys that a model has at a path of keys, sorted."""
    for part in path:
        field = model.model_fields.get(str(part))
        # a place in a list or a name in a table is no field: its content is what the field holds
        model = (_model_in(field.annotation) if field else None) or model
    return sorted(model.model_fields)


def near(given: str, known: Iterable[str]) -> str:
    """A question for the known name that is nearest to what was given; empty if none is near."""
    found = difflib.get_close_matches(given, list(known), n=1, cutoff=0.5)
    return f"; did you mean {found[0]!r}?" if found else ""


def _readable(error: ValidationError, model: type[BaseModel], elsewhere: Elsewhere) -> BadStudy:
    # a key that is missing may be one that is misspelt: say that first
    first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    field = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        return BadStudy(field, first["input"], _unknown_key(first["loc"], model, elsewhere))
    if first["type"] == "missing":
        return BadStudy(field, None, "a value: this key is required")
    # pydantic puts this before the sentence of a validator
    return BadStudy(field, first["input"], first["msg"].removeprefix("Value error, "))


def _unknown_key(path: tuple[Any, ...], model: type[BaseModel], elsewhere: Elsewhere) -> str:
    known = fields_at(model, path[:-1])
    kinds = elsewhere(tuple(map(str, path)))
    if kinds:
        own = model.model_fields["kind"].default
        return (
            f"no such key in a study of kind {own!r}; kinds that have it: {', '.join(kinds)}. Known keys "
            f"here are {', '.join(known)}"
        )
    return f"no such key; known keys are {', '.join(known)}" + near(str(path[-1]), known)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)


def _known(model: type[BaseModel], content: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for name, value in content.items():
        field = model.model_fields.get(name)
        if field is None:
            continue
        inner = _model_in(field.annotation) if isinstance(value, Mapping) else None
        is_table_of = inner is not None and not _is_model(field.annotation)
        if inner is None or is_table_of:
            found[name] = value
        else:
            found[name] = _known(inner, value)
    return found


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
