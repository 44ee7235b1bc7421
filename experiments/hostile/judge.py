"""Every statement and interval on one draw of a hostile world, beside the truth."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hostile.draws import WORLDS, Drawn, World, draw
from hostile.rates import same_strictness
from vlbias.analysis.attributable_change import AttributableChange, Scored, attributable_change
from vlbias.analysis.disparity import Disparity, disparity
from vlbias.analysis.functionals import certainty
from vlbias.analysis.object_support import support

__all__ = ["replicate"]

LEVEL = 0.05
Row = dict[str, Any]
_DIRECTED = (
    ("beyond class thresholds", "intervention - class thresholds"),
    ("beyond placebo", "intervention - placebo"),
)


def replicate(name: str, n: int, index: int, *, draws: int, permutations: int) -> list[Row]:
    """What is said of one draw, and what is true: rows of what, said, wrong, kind.

    Args:
        name: Of the world.
        n: Photos.
        index: Of the replicate; seeds everything.
        draws: Multiplier draws.
        permutations: Of the label test.
    """
    world = WORLDS[name]
    rng = np.random.default_rng([sum(map(ord, name)), n, index])
    drawn = draw(world, n, rng)
    limits = np.zeros(world.objects)
    null = drawn.scores["null"]
    used = support(drawn.panel, null, limits)
    if not len(used):
        return [{"kind": "refused", "what": "no object has support", "said": 1.0, "wrong": 0.0}]
    bias = disparity(
        drawn.panel, null, limits, rng=rng, objects=used, draws=draws, permutations=permutations
    )
    change = _change(drawn, limits, used, rng, draws)
    rows = [*_of_bias(world, bias, used), *_of_change(world, change, used, n)]
    return [row | {"objects": len(used)} for row in rows]


def _change(
    drawn: Drawn,
    limits: NDArray[np.float64],
    used: NDArray[np.intp],
    rng: np.random.Generator,
    draws: int,
) -> AttributableChange:
    arms = {name: Scored(scores, limits) for name, scores in drawn.scores.items()}
    return attributable_change(
        drawn.panel, arms["null"], arms["intervention"], {"placebo": arms["placebo"]},
        objects=used, rng=rng, draws=draws,
    )  # fmt: skip


def _of_bias(world: World, bias: Disparity, used: NDArray[np.intp]) -> Iterator[Row]:
    gaps = np.subtract(*world.rates[0])[used]
    size = float(np.abs(gaps).sum())
    yield _said("bias is shown", bias.p <= LEVEL, wrong_if=size == 0)
    yield _said("bias is shown, plug-in", bias.p_plugin <= LEVEL, wrong_if=size == 0)
    rows = bias.objects.iloc[used]
    shown = rows["p_max_t"].to_numpy() <= LEVEL
    false = shown & ((gaps == 0) | (np.sign(gaps) != np.sign(rows["gap"])))
    yield {"kind": "word", "what": "gap of an object", "said": shown.any(), "wrong": false.any()}
    yield _interval("B", bias.lo, bias.hi, size)
    covered = (rows["lo"].to_numpy() - 1e-12 <= gaps) & (gaps <= rows["hi"].to_numpy() + 1e-12)
    width = float((rows["hi"] - rows["lo"]).mean())
    yield {
        "kind": "interval",
        "what": "gap of an object",
        "said": width,
        "wrong": 1 - covered.mean(),
    }


def _of_change(
    world: World, found: AttributableChange, used: NDArray[np.intp], n: int
) -> Iterator[Row]:
    before, after = (rates[:, used] for rates in world.rates)
    gap, other = np.subtract(*before), np.subtract(*after)
    matched = np.subtract(*same_strictness(before, after, world.ratio))
    true = float(np.abs(other).sum() - np.abs(gap).sum())
    b = found.row("intervention - null", "B_plugin")
    for word, wrong in (("reduced", true >= -1e-9), ("increased", true <= 1e-9)):
        yield _said(f"B {word}", found.decision == word, wrong_if=wrong)
    yield _interval("change of B", b["lo"], b["hi"], true)
    counts = np.array([world.ratio, 1 - world.ratio])[:, None] * n
    spread = np.sqrt((before * (1 - before) / counts).sum(axis=0))
    sure = certainty(gap, spread * np.sqrt(2))
    for what, effect in _DIRECTED:
        row = found.row(effect)
        beyond = float((sure * (other - matched)).sum())
        yield _said(f"lower {what}", row["hi"] < 0, wrong_if=beyond >= -1e-9)
        yield _said(f"higher {what}", row["lo"] > 0, wrong_if=beyond <= 1e-9)
        yield _interval(f"B_lin {what}", row["lo"], row["hi"], beyond)


def _said(what: str, said: bool, *, wrong_if: bool) -> Row:
    return {"kind": "word", "what": what, "said": float(said), "wrong": float(said and wrong_if)}


def _interval(what: str, lo: float, hi: float, truth: float) -> Row:
    missed = not lo - 1e-9 <= truth <= hi + 1e-9
    return {"kind": "interval", "what": what, "said": hi - lo, "wrong": float(missed)}
