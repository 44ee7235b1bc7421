"""The settings of a study of mitigations: every method with every combination of what varies."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from vlbias.errors import BadStudy, UnknownName
from vlbias.mitigations import MITIGATIONS, make_mitigation
from vlbias.mitigations.base import Mitigation
from vlbias.studies.mitigation.study import MethodSpec, Protocol, SiteSelection

__all__ = ["Setting", "settings_of"]


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
        selection: How its sites are chosen; None where they are given.
    """

    label: str
    method: str
    options: Mapping[str, Any]
    varied: str
    strengths: tuple[float, ...]
    placebos: int
    selection: SiteSelection | None = None

    def make(self) -> Mitigation:
        """The method with these settings.

        Raises:
            BadStudy: if a setting cannot have its value.
        """
        return make_mitigation(self.method, **self.options)


def settings_of(protocol: Protocol) -> tuple[Setting, ...]:
    """Every method with every combination of what varies, checked.

    Raises:
        UnknownName: for a method or a setting that does not exist, with suggestions.
        BadStudy: if two settings are the same.
    """
    found = [one for spec in protocol.methods for one in _settings_of(spec, protocol)]
    labels = [one.label for one in found]
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise BadStudy("mitigation.methods", twice, "methods that differ in what varies")
    return tuple(found)


def _settings_of(spec: MethodSpec, protocol: Protocol) -> list[Setting]:
    known = [field.name for field in fields(MITIGATIONS.load(spec.name)) if field.init]
    for name in (*spec.options, *spec.vary, *(("sites",) if spec.pick else ())):
        if name not in known:
            raise UnknownName(f"setting of {spec.name}", name, known)
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
                _placebos(spec, protocol),
                spec.pick,
            )
        )
    return found


def _placebos(spec: MethodSpec, protocol: Protocol) -> int:
    for given in (spec.placebos, protocol.placebos):
        if given is not None:
            return given
    return MITIGATIONS.load(spec.name).default_placebos


def _short(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(_short, value))
    return value if isinstance(value, str) else json.dumps(value, default=str)
