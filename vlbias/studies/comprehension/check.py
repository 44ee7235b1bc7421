"""What `vlbias check` says of a study of comprehension: its items, sizes of edits, and who is asked."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any

from vlbias.analysis.edit_effects import edit_sizes
from vlbias.errors import MissingExtra, VlbiasError
from vlbias.studies.check_remarks import Remark, model_remarks
from vlbias.studies.comprehension.plan import plan_of_items
from vlbias.studies.comprehension.study import Endpoint, Study

__all__ = ["remarks"]

_FEW = 30
"""Clusters below which limits of a mean are wide, and of an odd shape."""


def remarks(study: Study) -> Iterator[Remark]:
    """Remarks on who is asked, and on the items."""
    if study.endpoint is None:
        yield from model_remarks(study, study.mediators)
    else:
        yield from _of_endpoint(study.endpoint)
    try:
        plan = plan_of_items(study)
    except VlbiasError as error:
        yield Remark("items", "wrong", str(error))
        return
    yield from _of_items(plan.items)
    left_out = ", ".join(f"{number} {why}" for why, number in plan.left_out.items())
    if left_out:
        yield Remark("dataset", "note", f"photos without an item: {left_out}")


def _of_endpoint(endpoint: Endpoint) -> Iterator[Remark]:
    if find_spec("openai") is None:
        yield Remark("endpoint", "wrong", str(MissingExtra("chat", "openai")))
    if not os.environ.get(endpoint.key_variable):
        yield Remark(
            "endpoint",
            "note",
            f"the environment has no {endpoint.key_variable}: servers of one's own need none, others refuse "
            "the first call",
        )


def _of_items(items: Sequence[Any]) -> Iterator[Remark]:
    clusters = {item.cluster or item.id for item in items}
    yield Remark("items", "ok", f"{len(items)} items in {len(clusters)} clusters")
    if len(clusters) < _FEW:
        yield Remark(
            "items",
            "note",
            f"{len(clusters)} clusters: limits over so few are wide; take {_FEW} or more",
        )
    deep, surface = (
        [
            sum(map(item.size, texts)) / len(texts)
            for item in items
            for texts in [getattr(item, arm)]
        ]
        for arm in ("deep", "surface")
    )
    sizes = edit_sizes(deep, surface)
    if not sizes.matched:
        yield Remark(
            "items",
            "note",
            f"deep edits change {sizes.deep:.2f} words or pixels, surface edits {sizes.surface:.2f}: a "
            "contrast may be due to size alone; give edits of equal size",
        )
