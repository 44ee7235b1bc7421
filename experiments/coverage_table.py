"""The coverage experiment as Markdown: intervals, tests, the false mitigation, and what is wide."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from scipy.stats import binom
from statsmodels.stats.multitest import multipletests

ESTIMAND = {
    "B": "B itself",
    "cross-fit functional": "expectation of the cross-fit (gaps times certainty of their signs)",
    "B_plugin": "change of B itself",
    "B_crossfit": "change of the cross-fit functional",
    "B_lin": "change in the direction of the null gaps, signs cross-fitted",
    "B_lin, held-out signs": "the same, signs from n / 2 further images (at least 150)",
    "score_gap_lin": "the same on mean scores",
    "share of …, … after …, text x image": "Shapley shares over three encoders, increments of "
    "layers 1 to 3, interaction of modalities, of the functional named before",
    "one object": "share of the objects' limits that hold that object's gap",
    "odds": "log ratios with standard deviation 0.3 and 1.0, 0.4 on average, in clusters of five",
}
WITNESS = {
    "B, TE, attributable, decision": "B",
    "all effects of a mediator": "B_lin: NIE",
    "held-out signs": "B_lin, held-out signs: NIE",
    "error over mediators": "B_lin, any of 10 mediators, max-T",
    "other measures, three groups": "B of mean scores",
    "objects, shares, means": "AUC gap of one object, DeLong",
    "odds": "odds, log, spread 0.3",
}
ALTERNATIVES = {
    "B": ("L1 ball: B", "simultaneous set: B"),
    "cross-fit functional": ("one-direction split: 00",),
}
LEAST = 0.93
NAIVE = ("NAIVE percentile bootstrap: B", "NAIVE paired percentile bootstrap: change of B")


def markdown(table: pd.DataFrame, scenarios: Sequence[str]) -> str:
    """The whole report."""
    cells = table.set_index(["quantity", "scenario", "n"])
    names = list(dict.fromkeys(table["quantity"]))
    intervals = [q for q in names if cells.loc[q]["coverage"].notna().any()]
    offered = [q for q in intervals if not q.startswith(("NAIVE", "L1", "simult", "one-dir"))]
    rest = [q for q in intervals if q not in offered]
    other = ("insufficient", "objects with support")
    tests = [q for q in names if q not in intervals and q not in other]
    parts = [
        HEAD,
        _counts(cells, scenarios),
        "\n## Intervals: coverage in % (median width)\n",
        "\n".join(f"- {name}: {what}." for name, what in ESTIMAND.items()) + "\n",
        *_per_size(cells, offered + rest, scenarios, _coverage),
        "\n## Below 93 %\n",
        LOW,
        _low(table[table["quantity"].isin(offered)]),
        "\n## Wider than needed: coverage above 98 %\n",
        WIDE,
        _wide(cells, offered, scenarios),
        "\n## Tests: rejections in % at level 5 %\n",
        "Size where the scenario makes the hypothesis true, else power.\n",
        *_per_size(cells, tests, scenarios, _rejected),
        "\n## Intervals used as tests: 0 outside the limits, in %\n",
        *_per_size(cells, offered, scenarios, _rejected),
        '\n## False mitigation: called "reduced", in %\n',
        FALSE,
        _decisions(cells, scenarios),
    ]
    return "\n".join(p for p in parts if p)


HEAD = """# Coverage, size and power

Printed by `python experiments/coverage.py --out runs/coverage --print-only` after the runs named
in that script. Data: `vlbias.analysis.simulated_scores`, 79 objects, log-normal false-positive rates around
2 %, 68 % of images in one group, objects of an image correlated, conditions correlated 0.9.
Objects enter by the support rule (50 images and 5 expected events per group), so that at n = 300
only two or three do; truth is taken over the objects used. 300 draws, nominal level 95 %. The
Monte-Carlo error of a coverage of 95 % is 0.7 points with 1,000 data sets, 1.5 with 200, 2.2 with
100: single cells of the latter lie below 93 % by chance.
"""

LOW = """Cells (an interval, a scenario, a size) whose coverage lies below 93 %, how many there would be by
chance if every cell covered exactly 95 %, and the cells that are shown to cover less than 93 %: those whose
data sets would be so unlucky with a probability below 5 %, Holm-corrected over all cells.
"""

WIDE = """An interval for B must over-cover where B = 0 (a boundary), and one for a change of B
where the floor of both arms is unknown. Beside it the shortest valid alternative: for B the L1 ball
or the projection of a simultaneous set (same estimand, where its own coverage is at least 93 %);
for changes of B the cross-fit functional of the same change; for that and B_lin signs from held-out
images (the estimand is that of the signs drawn). Ranges are over the scenarios that exceed 98 %.
"""

FALSE = """The limits of the cross-fit beyond one moved threshold against the paired percentile bootstrap of the
plug-in, which calls a change "reduced" when its limits lie below 0. In the first four scenarios
nothing is removed.
"""


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [" | ".join(header), "|".join(["---"] * len(header)), *(" | ".join(r) for r in rows)]
    return "\n".join(f"| {line} |" if "---" not in line else f"|{line}|" for line in lines) + "\n"


def _get(cells: pd.DataFrame, key: tuple[str, str, int], column: str) -> float:
    return float(cells[column].get(key, float("nan")))


def _counts(cells: pd.DataFrame, scenarios: Sequence[str]) -> str:
    """How many data sets stand behind each kind of row, and how many objects have support."""
    rows = []
    for n in sorted({n for _, _, n in cells.index}):
        row = [f"{n:,}"]
        for quantity in WITNESS.values():
            counts = [_get(cells, (quantity, s, n), "replicates") for s in scenarios]
            row.append(_range([c for c in counts if not pd.isna(c)], 0) or "none")
        used = [_get(cells, ("objects with support", s, n), "truth") for s in scenarios]
        rows.append([*row, _range(used, 0)])
    note = "Data sets behind each kind of row, over scenarios:\n\n"
    return note + _table(["n", *WITNESS, "objects with support"], rows)


def _per_size(cells, names, scenarios, show) -> list[str]:
    sizes = sorted({n for _, _, n in cells.index})
    parts = []
    for n in sizes:
        rows = [[q, *(show(cells, (q, s, n)) for s in scenarios)] for q in names]
        rows = [r for r in rows if any(r[1:])]
        if rows:
            parts.append(f"### n = {n:,}\n\n" + _table(["", *scenarios], rows))
    return parts


def _coverage(cells: pd.DataFrame, key: tuple[str, str, int]) -> str:
    value = _get(cells, key, "coverage")
    if pd.isna(value):
        return ""
    return f"{100 * value:.1f} ({_get(cells, key, 'width'):.3f})"


def _rejected(cells: pd.DataFrame, key: tuple[str, str, int]) -> str:
    value = _get(cells, key, "rejected")
    return "" if pd.isna(value) else f"{100 * value:.1f}"


def _rivals(name: str) -> tuple[str, ...]:
    if name in ALTERNATIVES:
        return ALTERNATIVES[name]
    functional, _, effect = name.partition(": ")
    if functional == "B_plugin":
        return (f"B_crossfit: {effect}",)
    if functional in ("B_crossfit", "B_lin"):
        return (f"one-direction split: {effect}", f"B_lin, held-out signs: {effect}")
    return ()


def _low(table: pd.DataFrame) -> str:
    rows = table[table["coverage"].notna()]
    count, held = rows["replicates"].to_numpy(), rows["coverage"] * rows["replicates"]
    below = rows["coverage"] < LEAST
    chance = binom.cdf(np.ceil(LEAST * count) - 1, count, 0.95)
    unlucky = multipletests(binom.cdf(held.round(), count, LEAST), 0.05, "holm")[0]
    lines = []
    for low, high in ((0, 200), (200, 1000), (1000, 10**9)):
        here = (count >= low) & (count < high)
        if here.any():
            told = rows[here & unlucky]
            names = (f"{r.quantity}, {r.scenario}, n = {r.n:,}" for r in told.itertuples())
            counts = [f"{count[here].min():,} to {count[here].max():,}", str(here.sum())]
            counts += [str(below[here].sum()), f"{chance[here].sum():.0f}"]
            lines.append([*counts, "; ".join(names) or "none"])
    return _table(["data sets", "cells", "below 93 %", "by chance", "shown below 93 %"], lines)


def _wide(cells: pd.DataFrame, offered: Sequence[str], scenarios: Sequence[str]) -> str:
    rows = []
    for name in offered:
        for n in sorted({n for _, _, n in cells.index}):
            over = [s for s in scenarios if _get(cells, (name, s, n), "coverage") > 0.98]
            if not over:
                continue
            best = [_shortest(cells, _rivals(name), s, n) for s in over]
            names = ", ".join(sorted({r for _, r in best if r})) or "none known"
            rows.append(
                [
                    name,
                    f"{n:,}",
                    f"{len(over)} of {len(scenarios)}",
                    _range([100 * _get(cells, (name, s, n), "coverage") for s in over], 1),
                    _range([_get(cells, (name, s, n), "width") for s in over], 3),
                    names,
                    _range([w for w, r in best if r], 3),
                ]
            )
    header = ["interval", "n", "scenarios", "coverage", "width", "alternative", "its width"]
    return _table(header, rows)


def _shortest(
    cells: pd.DataFrame, rivals: Sequence[str], scenario: str, n: int
) -> tuple[float, str]:
    valid = [
        (_get(cells, (r, scenario, n), "width"), r)
        for r in rivals
        if _get(cells, (r, scenario, n), "coverage") >= 0.93
    ]
    return min(valid) if valid else (float("nan"), "")


def _range(values: Sequence[float], digits: int) -> str:
    if not values:
        return ""
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    return low if low == high else f"{low} to {high}"


def _decisions(cells: pd.DataFrame, scenarios: Sequence[str]) -> str:
    rows = []
    for n in sorted({n for _, _, n in cells.index}):
        for scenario in scenarios:
            own = _get(cells, ("B_crossfit: attributable", scenario, n), "reduced")
            naive = _get(cells, (NAIVE[1], scenario, n), "reduced")
            either = _get(cells, (NAIVE[1], scenario, n), "rejected")
            count = _get(cells, ("B_crossfit: attributable", scenario, n), "replicates")
            rows.append(
                [
                    f"{n:,}",
                    scenario,
                    *(f"{100 * x:.1f}" for x in (own, naive, either)),
                    f"{count:.0f}",
                ]
            )
    header = ["n", "scenario", "vlbias", "naive", "naive, either direction", "replicates"]
    return _table(header, rows)
