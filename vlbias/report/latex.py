"""The headline of a page as a LaTeX table (booktabs)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vlbias.report.blocks import Section
from vlbias.store.run_folder import Run

__all__ = ["escaped", "latex_table"]

_SPECIAL = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}  # fmt: skip
_SIGNS = re.compile("|".join(map(re.escape, _SPECIAL)))
_LIMITS = (("B_lower_95", "B_upper_95"), ("lower_95", "upper_95"))


def escaped(text: str) -> str:
    """A text in which no sign means anything to LaTeX."""
    return _SIGNS.sub(lambda hit: _SPECIAL[hit.group()], " ".join(text.split()))


def latex_table(runs: Sequence[tuple[Run, Section]]) -> str:
    """The metrics of every run, one row each, with limits where they have some; empty without metrics.

    Args:
        runs: What was analysed.
    """
    rows = [row for run, section in runs for row in _rows(run, section)]
    if not rows:
        return "% no metric\n"
    body = "\n".join(f"{' & '.join(row)} \\\\" for row in rows)
    return (
        "% needs \\usepackage{booktabs}; limits are 95 %\n"
        "\\begin{tabular}{lllr@{ }l}\n\\toprule\n"
        "Run & Model & Quantity & \\multicolumn{2}{l}{Value and limits} \\\\\n\\midrule\n"
        f"{body}\n\\bottomrule\n\\end{{tabular}}\n"
    )


def _rows(run: Run, section: Section) -> Iterator[tuple[str, ...]]:
    name = escaped(run.manifest["study"]["name"])
    model = escaped(run.manifest.get("model", {}).get("name", ""))
    for number, metric in enumerate(section.metrics):
        first = (name, model) if number == 0 else ("", "")
        value = f"${metric['value']:.3f}$"
        yield (*first, escaped(metric["name"]), value, _limits(metric.get("args", {})))


def _limits(args: Mapping[str, Any]) -> str:
    for low, high in _LIMITS:
        if low in args and high in args:
            return f"$[{args[low]:.3f}, {args[high]:.3f}]$"
    return ""
