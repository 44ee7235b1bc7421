"""The study of mitigations: which methods, at which settings and strengths, judged how."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from vlbias.errors import BadStudy, UnknownName
from vlbias.mitigations import MITIGATIONS, make_mitigation
from vlbias.mitigations.base import Mitigation
from vlbias.runs.study import DatasetSpec, Frozen, OperatingPoint, Study, WorldSpec

__all__ = ["MethodSpec", "MitigationStudy", "PickSpec", "Protocol", "Setting"]

Split = Literal["fit", "dev", "test"]


class PickSpec(Frozen):
    """How the sites of a method are picked on the fit split; see `picking.pick_sites`.

    Args:
        candidates: Sites, with wildcards.
        most: Sites at most.
        share: Of the gap between groups that they are to take out; more sites are not added then.
        width: Candidates that are tried at each step.
        photos: Of the fit split, as many of each group.
    """

    candidates: tuple[str, ...] = Field(min_length=1)
    most: int = Field(4, ge=1)
    share: float = Field(0.5, gt=0, le=1)
    width: int = Field(8, ge=1)
    photos: int = Field(120, ge=8)


class MethodSpec(Frozen):
    """A registered method with its settings.

    Args:
        name: See `vlbias list mitigations`.
        options: Settings of the method.
        pick: How its sites are picked, in place of giving them.
        vary: Settings of which several values are tried, each with each: sites, for example.
        strengths: In place of the protocol's.
        placebos: In place of the protocol's.
    """

    name: str
    options: Mapping[str, Any] = {}
    pick: PickSpec | None = None
    vary: Mapping[str, tuple[Any, ...]] = {}
    strengths: tuple[float, ...] = ()
    placebos: int | None = Field(None, ge=0)

    @field_validator("vary", mode="after")
    @classmethod
    def _not_empty(cls, vary: Mapping[str, tuple[Any, ...]]) -> Mapping[str, tuple[Any, ...]]:
        if not all(vary.values()):
            raise ValueError("a list of values for every setting that varies")
        return vary


class Protocol(Frozen):
    """How mitigations are fitted, chosen and judged.

    Args:
        methods: What is tried.
        strengths: From above 0 to 1; 0 is the identity and is never run.
        placebos: Of every method that has one, drawn anew each.
        fit: Split on which methods are fitted.
        choose: Split on which thresholds are calibrated and the strength is chosen.
        report: Split on which everything is reported.
        margin: Largest loss of mean average precision that counts as kept.
        margin_recall: Largest loss of mean recall@5 that counts as kept.
        maps: Whether to map where in the image features changed.
        timed: Photos with which the overhead is timed; 0 leaves it out.
        batch: Photos or texts that are encoded together.
    """

    methods: tuple[MethodSpec, ...] = Field(min_length=1)
    strengths: tuple[float, ...] = (0.5, 1.0)
    placebos: int = Field(1, ge=0)
    fit: Split = "fit"
    choose: Split = "dev"
    report: Split = "test"
    margin: float = Field(0.005, gt=0, lt=1)
    margin_recall: float = Field(0.02, gt=0, lt=1)
    maps: bool = True
    timed: int = Field(16, ge=0)
    batch: int = Field(32, ge=1)

    @model_validator(mode="after")
    def _sound(self) -> Protocol:
        for strengths in (self.strengths, *(method.strengths for method in self.methods)):
            if any(not 0 < strength <= 1 for strength in strengths):
                raise ValueError(f"strengths above 0 and at most 1, got {strengths}")
            if len(set(strengths)) < len(strengths):
                raise ValueError(f"strengths repeat: {strengths}")
        if not self.strengths and not all(method.strengths for method in self.methods):
            raise ValueError("at least one strength")
        if len({self.fit, self.choose, self.report}) < 3:
            raise ValueError("three different splits for fit, choose and report")
        return self


@dataclass(frozen=True)
class Setting:
    """One method with one value for each of its settings.

    Args:
        label: What tables call it; tells the settings that vary.
        method: Registered name.
        options: Its settings.
        varied: The settings that vary, in words; empty if none does.
        strengths: At which it is run.
        placebos: How many it is compared with.
        pick: How its sites are picked; None where they are given.
    """

    label: str
    method: str
    options: Mapping[str, Any]
    varied: str
    strengths: tuple[float, ...]
    placebos: int
    pick: PickSpec | None = None

    def make(self) -> Mitigation:
        """The method with these settings.

        Raises:
            BadStudy: if a setting cannot have its value.
        """
        return make_mitigation(self.method, **self.options)


class MitigationStudy(Study):
    """A study with a table `[mitigation]`; all else is as in any study, in the null world only."""

    contrasts: tuple[str, ...] = ("null->null",)
    worlds: Mapping[str, WorldSpec] = {"null": WorldSpec()}
    mitigation: Protocol

    @field_validator("contrasts")
    @classmethod
    def _null_only(cls, contrasts: tuple[str, ...]) -> tuple[str, ...]:
        if contrasts != ("null->null",):
            raise ValueError("no contrasts: mitigations are compared in the null world")
        return contrasts

    @field_validator("mediators")
    @classmethod
    def _no_mediators(cls, mediators: tuple[str, ...]) -> tuple[str, ...]:
        if mediators:
            raise ValueError("no mediators: give sites as options of the methods")
        return mediators

    @field_validator("outcomes")
    @classmethod
    def _presence_only(cls, outcomes: tuple[str, ...]) -> tuple[str, ...]:
        if outcomes != ("presence",):
            raise ValueError("presence alone: what else is measured follows from the model")
        return outcomes

    @field_validator("operating_point")
    @classmethod
    def _of_all_photos(cls, point: OperatingPoint) -> OperatingPoint:
        if point.min_captions > 1:
            raise ValueError(
                "no min_captions: all photos are judged; set dataset.labels.min_captions"
            )
        return point

    @field_validator("dataset")
    @classmethod
    def _all_splits(cls, dataset: DatasetSpec) -> DatasetSpec:
        # the protocol's three splits are always read, whatever a file says or leaves out
        return dataset.model_copy(update={"splits": ("fit", "dev", "test")})

    def settings(self) -> tuple[Setting, ...]:
        """Every method with every combination of what varies, checked.

        Raises:
            UnknownName: for a method or a setting that does not exist, with suggestions.
            BadStudy: if two settings are the same.
        """
        found = [one for spec in self.mitigation.methods for one in self._settings_of(spec)]
        labels = [one.label for one in found]
        twice = sorted({label for label in labels if labels.count(label) > 1})
        if twice:
            raise BadStudy("mitigation.methods", twice, "methods that differ in what varies")
        return tuple(found)

    def _settings_of(self, spec: MethodSpec) -> list[Setting]:
        known = [field.name for field in fields(MITIGATIONS.load(spec.name)) if field.init]
        for name in (*spec.options, *spec.vary, *(("sites",) if spec.pick else ())):
            if name not in known:
                raise UnknownName(f"setting of {spec.name}", name, known)
        protocol = self.mitigation
        found = []
        for values in itertools.product(*spec.vary.values()):
            chosen = dict(zip(spec.vary, values, strict=True))
            varied = ", ".join(f"{name}={_short(value)}" for name, value in chosen.items())
            found.append(
                Setting(
                    f"{spec.name} ({varied})" if varied else spec.name,
                    spec.name,
                    {**spec.options, **chosen},
                    varied,
                    spec.strengths or protocol.strengths,
                    protocol.placebos if spec.placebos is None else spec.placebos,
                    spec.pick,
                )
            )
        return found


def _short(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(_short, value))
    return value if isinstance(value, str) else json.dumps(value)
