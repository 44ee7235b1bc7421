"""Kinds of study: a kind is one folder and one line in `KINDS`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vlbias.data import TEXTS
from vlbias.errors import UnknownName
from vlbias.studies.kind import Kind

__all__ = ["KINDS", "claims_document", "kind_named", "kind_of"]

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("bias", "bias of a model on photos, and where in the model it arises"),
        Kind(
            "mitigation", "mitigations against their placebos", lambda study: "mitigation" in study
        ),
        Kind("language", "odds of words in a language model", lambda study: _data(study) in TEXTS),
        Kind("planted", "methods on models whose bias is known"),
        Kind("cohort", "mediation by observed variables in a cohort, adjusted by a causal graph"),
        Kind("symbolic", "heads that carry rules and tokens in a language model"),
        Kind("comprehension", "whether answers follow the meaning of items or their form"),
        Kind("tracing", "where in a language model facts are read"),
        Kind("unlearning", "facts that a language model is to forget, and what else goes"),
        Kind("editing", "many edits of facts in a language model, and what they leave of the rest"),
    )
}
"""Name to kind."""


def kind_of(study: Mapping[str, Any]) -> Kind:
    """The kind of a study, as a file or the manifest of a run holds it.

    A study without the key `kind` is told by its other keys; of bias, if they tell nothing.

    Raises:
        UnknownName: if it names a kind that does not exist, with suggestions.
    """
    if "kind" in study:
        return kind_named(study["kind"])
    return next((kind for kind in KINDS.values() if kind.has_own(study)), KINDS["bias"])


def kind_named(name: str) -> Kind:
    """The kind of a name.

    Raises:
        UnknownName: with suggestions, if there is none.
    """
    if not isinstance(name, str) or name not in KINDS:  # a file may hold anything
        raise UnknownName("kind of study", str(name), KINDS)
    return KINDS[name]


def claims_document() -> str:
    """All claims of all kinds as Markdown: `docs/claims.md`."""
    from vlbias.report.claims import document

    return document({kind.name: (kind.about, kind.claims) for kind in KINDS.values()})


def _data(study: Mapping[str, Any]) -> Any:
    dataset = study.get("dataset")
    return dataset.get("name") if isinstance(dataset, Mapping) else None
