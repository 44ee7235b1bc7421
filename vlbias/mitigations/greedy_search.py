"""The smallest set of mediators whose ablation reaches a share of the effect, tried out and not summed.

Units interact, so that effects of single ones do not add up: after each choice every remaining
candidate is tried again together with those already chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vlbias.errors import BadStudy

__all__ = ["Selection", "greedy_sites"]


@dataclass(frozen=True)
class Selection:
    """What was chosen, in order.

    Args:
        sites: The chosen sites.
        reductions: What the set up to and with each of them takes out.
        reached: Whether the target was reached.
        tried: How many sets were tried out.
    """

    sites: tuple[str, ...]
    reductions: tuple[float, ...]
    reached: bool
    tried: int


def greedy_sites(
    ranked: Sequence[str],
    reduction: Callable[[tuple[str, ...]], float],
    *,
    target: float,
    width: int = 8,
    most: int = 8,
) -> Selection:
    """Sites added one by one, each time the one whose set takes out most, until the target is reached.

    Args:
        ranked: Candidates, largest effect first.
        reduction: What ablating a set takes out, measured on the fit or dev split; more is better.
        target: Stop when a set takes out at least this.
        width: Try so many of the remaining candidates at each step, in order of their rank.
        most: Stop at so many sites.

    Returns:
        The selection; it ends early, `reached` false, where no candidate takes out more.

    Raises:
        BadStudy: if there is no candidate, or they repeat.
    """
    if not ranked or len(set(ranked)) != len(ranked):
        raise BadStudy("ranked", list(ranked), "at least one site, none twice")
    if width < 1 or most < 1:
        raise BadStudy("width, most", (width, most), "1 or more")
    chosen: tuple[str, ...] = ()
    reached: list[float] = []
    tried, best = 0, 0.0
    while len(chosen) < most and best < target:
        left = [site for site in ranked if site not in chosen][:width]
        scores = {site: reduction((*chosen, site)) for site in left}
        tried += len(scores)
        if not scores or max(scores.values()) <= best:
            break
        # of equals the one that ranks first
        site = max(left, key=lambda one: scores[one])
        chosen, best = (*chosen, site), scores[site]
        reached.append(best)
    return Selection(chosen, tuple(reached), best >= target, tried)
