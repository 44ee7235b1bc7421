"""Measure gender bias in vision-language models, find where it arises, and take it out.

Public names are resolved on first use, so that what needs no model never waits for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PUBLIC = {
    "Contrast": "vlbias.causal.contrast",
    "Example": "vlbias.causal.example",
    "Fitted": "vlbias.mitigations.base",
    "Mediator": "vlbias.causal.site",
    "Picture": "vlbias.causal.example",
    "Region": "vlbias.causal.region",
    "Run": "vlbias.store.run_folder",
    "Site": "vlbias.causal.site",
    "Study": "vlbias.studies.bias.study",
    "bias": "vlbias.studies.bias.from_arms",
    "check": "vlbias.models.check_adapter",
    "compare": "vlbias.studies.photos.compared_runs",
    "effects": "vlbias.api",
    "load_dataset": "vlbias.api",
    "load_model": "vlbias.models",
    "make_mitigation": "vlbias.mitigations",
    "mediate": "vlbias.studies.cohort.mediate",
    "paired_examples": "vlbias.api",
    "potential_outcomes": "vlbias.api",
    "report": "vlbias.studies.reporting",
    "run": "vlbias.studies.lifecycle",
}

_MODULES = ("plots",)
"""Public modules that are used under the package's own name."""

__all__ = [*_PUBLIC, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"vlbias.{name}")
    if name not in _PUBLIC:
        raise AttributeError(f"module 'vlbias' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
