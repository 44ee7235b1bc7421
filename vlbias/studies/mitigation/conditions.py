"""The conditions of a study of mitigations: the model as it is, then every fit at every strength."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from vlbias.causal.example import Example
from vlbias.mitigations.base import Mitigation
from vlbias.studies.mitigation.settings import Setting

__all__ = ["Condition", "Fit", "Part", "conditions_of", "fits_of", "mitigation_of"]


@dataclass(frozen=True)
class Fit:
    """One fitted mitigation, or placebo.

    Args:
        setting: Label of the setting.
        role: What it is.
        draw: Number of the placebo, from 1; 0 for the mitigation itself.
    """

    setting: str
    role: Literal["mitigated", "placebo"]
    draw: int = 0

    @property
    def name(self) -> str:
        """For example "placebo 1 of leace"."""
        return f"placebo {self.draw} of {self.setting}" if self.draw else self.setting


@dataclass(frozen=True)
class Condition:
    """The model as it is, or under one fitted mitigation at one strength."""

    fit: Fit | None
    strength: float = 0.0

    @property
    def name(self) -> str:
        """As the table's column `mitigation` has it."""
        return "none" if self.fit is None else f"{self.fit.name} @ {self.strength:g}"

    def about(self) -> dict[str, Any]:
        """What the manifest says of it."""
        fit = (
            {"setting": "none", "role": "none", "draw": 0} if self.fit is None else asdict(self.fit)
        )
        return {"name": self.name, "strength": self.strength, **fit}


@dataclass(frozen=True)
class Part:
    """What a cell computes: a condition on the photos of one split, or the map of one.

    Args:
        condition: Which.
        split: Whose photos.
        kind: "scores", or "map" of where features changed.
        examples: The photos.
    """

    condition: Condition
    split: str
    kind: Literal["scores", "map"]
    examples: tuple[Example, ...]

    def __len__(self) -> int:
        return len(self.examples)


def fits_of(settings: Sequence[Setting]) -> list[tuple[Setting, Fit]]:
    """Everything that has to be fitted, in order; no placebo where a method has none."""
    found = []
    for setting in settings:
        found.append((setting, Fit(setting.label, "mitigated")))
        if setting.make().placebo() is not None:
            draws = range(1, setting.placebos + 1)
            found += [(setting, Fit(setting.label, "placebo", draw)) for draw in draws]
    return found


def conditions_of(settings: Sequence[Setting]) -> list[Condition]:
    """The model as it is, then every fit at every strength."""
    return [Condition(None)] + [
        Condition(fit, strength)
        for setting, fit in fits_of(settings)
        for strength in setting.strengths
    ]


def mitigation_of(setting: Setting, fit: Fit) -> Mitigation:
    """The method of a setting, or its placebo."""
    made = setting.make()
    placebo = made.placebo() if fit.role == "placebo" else made
    assert placebo is not None
    return placebo
