"""The scan of all layers for one edit (WilKE) shares its passes, and chooses the layer of the naive scan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from taught_models import taught_facts

from vlbias.edits.keys import key_moments
from vlbias.edits.rank_one import Context, RankOne
from vlbias.edits.values import ValueSearch
from vlbias.edits.weights import editable_maps

FACT = taught_facts()[0]
PREFIXES = ("they went home", "the man was happy because")


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_a_scan_costs_no_more_passes_than_three_edits(
    language: Callable[[str], Any], kind: str
) -> None:
    """Forward passes through the first block are counted, whatever their rows."""
    model = language(kind)
    maps = editable_maps(model, ["lm/mlp.*"])
    texts = [text for fact in taught_facts() for text in fact.prompts]
    context = Context(key_moments(model, maps, texts), PREFIXES)
    search = ValueSearch(steps=8, enough=0.0)
    passes: list[int] = []
    first = model.net.get_submodule(maps[0].block)
    handle = first.register_forward_hook(lambda *_: passes.append(1))

    def fit(sites: tuple[str, ...], rule: Any) -> tuple[Any, int]:
        passes.clear()
        settings = RankOne(sites, rule, ridge=0.1, search=search)
        change = settings.fit(model, FACT, FACT.target, context, rng=np.random.default_rng(0))
        return change.notes, len(passes)

    try:
        naive = [fit((str(one.site),), "fixed") for one in maps]
        scan, count = fit(("lm/mlp.*",), "smallest-cost")
    finally:
        handle.remove()
    assert len(maps) >= 2
    assert count <= 3 * max(number for _, number in naive)
    assert count < sum(number for _, number in naive)
    costs = {notes["site"]: notes["cost"] for notes, _ in naive}
    assert scan["site"] == min(costs, key=costs.__getitem__)
    assert scan["costs"] == pytest.approx(costs, rel=1e-3)
