"""What the checks of an adapter are called, which of them failed, and an error that they must catch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from vlbias.causal.conformance import Finding

HEARD = "outcomes can be heard"
REPEATS = "same batch, same answer"
COMPLETE = "all stages together turn one world into the other"
ROOTS = "a root stage equals its channel"
ROWS = "rows do not see their neighbours"
PORTS = "a port's replacement equals a plain hook's"
REPLAY = "replay is bit-exact"
SHORTCUTS = "what the engine leaves out changes nothing"
GIVES = "readout has the keys it promises"


def failed(findings: Sequence[Finding]) -> dict[str, str]:
    return {finding.name: finding.detail for finding in findings if not finding.passed}


def text_bypasses_stages(model: Any) -> None:
    """Lets a detector's answer depend on the text past all its stages."""
    encode = model.encode

    def past_the_stages(tower: str, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        found = encode(tower, batch)
        return {**found, "logits": found["logits"] + batch["input_ids"].sum(1)[:, None, None]}

    model.encode = past_the_stages
