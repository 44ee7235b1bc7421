"""The conditions of a study of mitigations, and the cells in which they are computed."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from vlbias.causal.example import Example, Picture
from vlbias.causal.staged import StagedModel
from vlbias.errors import BadData
from vlbias.store.cells import cell_key
from vlbias.studies.mitigation.study import Setting

__all__ = ["Condition", "Fit", "Part", "conditions_of", "fits_of", "refuse_same_photo"]


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
    """One cell: a condition on the photos of one split, or the map of one.

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


def fit_key(setting: Setting, fit: Fit, model: StagedModel, common: Any) -> str:
    """A hash of everything that determines a fit."""
    return cell_key(
        {
            "fit": asdict(fit),
            "spec": setting.make().spec,
            "pick": setting.pick.model_dump() if setting.pick else None,
            "revision": model.revision,
            "common": common,
            "version": version("vlbias"),
        }
    )


def refuse_same_photo(examples: Sequence[Example]) -> None:
    """Nothing, if no photo is in two splits: not by its cluster, its file, nor its content.

    Raises:
        BadData: if there are such; names the ids.
    """
    seen: dict[object, list[Example]] = defaultdict(list)
    for example in examples:
        seen["cluster", example.cluster].append(example)
        image = example.worlds["null"].get("image")
        if isinstance(image, Picture):
            seen["content", _content(image)].append(example)
    shared = {
        tuple(sorted(f"{one.id} ({one.attributes['split']})" for one in same))
        for same in seen.values()
        if len({one.attributes["split"] for one in same}) > 1
    }
    if shared:
        shown = "; ".join(" = ".join(pair) for pair in sorted(shared)[:10])
        raise BadData(
            f"{len(shared)} photos are in more than one split, so that what is fitted would be tested on "
            f"itself: {shown}{' …' if len(shared) > 10 else ''}. Give each photo, and all that is taken of "
            "the same scene, to one split"
        )


def _content(image: Picture) -> str:
    source = image.source
    content = source.read_bytes() if isinstance(source, Path) else source.tobytes()
    return hashlib.sha256(content).hexdigest()
