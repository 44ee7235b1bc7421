"""Mediation in a frame, as one call: `vlbias.mediate`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import networkx as nx
import numpy as np
import pandas as pd

from vlbias.analysis.gformula import FourMeans, g_formula
from vlbias.analysis.natural_effects import Share, effects_frame, share_mediated
from vlbias.analysis.unmeasured_confounding import Sensitivity, sensitivity
from vlbias.data.adjustment import AdjustmentSet, adjustment_set
from vlbias.data.cohort import ObservationMap
from vlbias.data.cohort_files import cohort_of
from vlbias.data.cohort_rows import triple_rows
from vlbias.data.graph import CausalGraph, Triple
from vlbias.data.graph_files import read_graph
from vlbias.errors import BadData, BadOption, BadTable, UnknownName
from vlbias.studies.cohort.estimation import overlap, positivity

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from vlbias.models.tabular import Tabular

__all__ = ["MediationResult", "mediate"]

Graph: TypeAlias = "CausalGraph | nx.DiGraph | Path | str | Iterable[tuple[str, str]]"
_LEAST = 10


@dataclass(frozen=True, repr=False)
class MediationResult:
    """Effects of an exposure through mediators and past them.

    Args:
        frame: One row an effect: effect, estimate, se, lo, hi, p.
        four: The four means, and the regressions they come from.
        adjustment: What was adjusted for and why; None if covariates were given.
        covariates: What was adjusted for.
        n: Rows that were used.
        left_out: Reason to number of rows that were not.
        positivity: Why the data cannot tell some of the means; empty if they can.
    """

    frame: pd.DataFrame
    four: FourMeans
    adjustment: AdjustmentSet | None
    covariates: tuple[str, ...]
    n: int
    left_out: Mapping[str, int] = field(default_factory=dict)
    positivity: str = ""

    @property
    def effects(self) -> str:
        """Kind: "natural" (also without a graph), "interventional", or "unidentified" if it is neither."""
        if self.adjustment is None or self.adjustment.identified:
            return "natural"
        return "interventional" if self.adjustment.intermediate else "unidentified"

    @property
    def share(self) -> Share:
        """The mediated share of the total effect; NaN unless the limits of TE exclude 0."""
        return share_mediated(self.four)

    @property
    def sensitivity(self) -> Sensitivity:
        """What an unmeasured confounder would have to be to explain ACME away."""
        return sensitivity(self.four)

    def model(self) -> Tabular:
        """The fitted equations as a staged model, for the engine."""
        from vlbias.models.tabular import Tabular

        return Tabular(self.four.equations, self.four.exposure, self.covariates)

    def plot(self) -> Figure:
        """Every effect with its limits."""
        from matplotlib.figure import Figure

        from vlbias.report.drawing import BLUE, GREY

        rows = self.frame
        figure = Figure(figsize=(5.6, 0.34 * len(rows) + 0.9), layout="constrained")
        axis = figure.subplots()
        error = [rows["estimate"] - rows["lo"], rows["hi"] - rows["estimate"]]
        axis.errorbar(rows["estimate"], range(len(rows)), xerr=error, fmt="o", ms=4, color=BLUE)
        axis.axvline(0, color=GREY, lw=0.8)
        axis.set_yticks(range(len(rows)), list(rows["effect"]))
        axis.invert_yaxis()
        axis.set_xlabel("difference of the outcome's mean")
        axis.spines[["top", "right", "left"]].set_visible(False)
        return figure

    def __repr__(self) -> str:
        names = [one.name for one in self.four.equations]
        between = set(self.four.direct)
        mediators = [name for name in names[:-1] if name not in between]
        lines = [f"{self.four.exposure} → {' → '.join(mediators)} → {names[-1]}, {self.n} rows"]
        lines += [f"left out: {count} ({why})" for why, count in self.left_out.items()]
        said = (
            "not adjusted" if not self.covariates else f"adjusted for {', '.join(self.covariates)}"
        )
        lines.append(said if self.adjustment is None else f"{said}; {self.adjustment.reason}")
        for row in self.frame.to_dict("records"):
            lines.append(
                f"  {row['effect']:5} {row['estimate']:+.4f} [{row['lo']:+.4f}, {row['hi']:+.4f}]  "
                f"p {row['p']:.2g}"
            )
        share = self.share
        if np.isfinite(share.estimate):
            lines.append(f"  share mediated {share.estimate:.0%} [{share.lo:.0%}, {share.hi:.0%}]")
        lines += [f"note: {note}" for note in (*self.four.notes, self.positivity) if note]
        return "\n".join(lines)


def mediate(
    frame: pd.DataFrame | Path | str,
    *,
    exposure: str,
    mediator: str | Sequence[str],
    outcome: str,
    graph: Graph | None = None,
    covariates: Sequence[str] | None = None,
    cluster: str | None = None,
    interaction: bool | None = None,
    levels: tuple[float, float] = (0.0, 1.0),
) -> MediationResult:
    """Effects of an exposure on an outcome, through a mediator and past it.

    0/1 columns are regressed by logistic, others by linear regression. What is adjusted for comes from a graph,
    or is given.

    Args:
        frame: One row a unit; or a .csv, .tsv or .parquet file.
        exposure: Column of the exposure.
        mediator: Column of the mediator; or several, in causal order, exchanged together.
        outcome: Column of the outcome.
        graph: A `CausalGraph`, a file of one, a networkx graph, or (cause, effect) pairs; with one mediator.
        covariates: Columns to adjust for, in place of a graph.
        cluster: Column that tells which rows belong together.
        interaction: Whether the exposure may change what the mediator does; None keeps that where it is shown.
        levels: Values of the exposure that are compared.

    Raises:
        BadOption: if graph and covariates are both given, neither is, or a graph goes with several mediators.
        BadData: if the graph has no way to test the triple, or no row is left.
        BadTable: if there are too few rows, or a column does not vary.
        UnknownName: if the frame lacks a column.
    """
    mediators = [mediator] if isinstance(mediator, str) else list(mediator)
    if (graph is None) == (covariates is None):
        raise BadOption(
            "covariates",
            covariates,
            "either a graph or covariates; covariates=() adjusts for nothing",
        )
    if graph is not None and len(mediators) > 1:
        raise BadOption(
            "mediator", mediator, "one mediator with a graph; give covariates for several"
        )
    table = _table(frame)
    needed = [cluster] if cluster else []
    if graph is None:
        needed += [exposure, *mediators, outcome, *(covariates or ())]
    for name in needed:
        if name not in table:
            raise UnknownName("column", name, map(str, table.columns))
    groups = None if cluster is None else pd.factorize(table[cluster])[0].astype(np.int64)
    if graph is None:
        chosen = tuple(covariates or ())
        columns, rows, left_out = _whole(table, [exposure, *mediators, outcome, *chosen])
        adjustment, said = None, ""
    else:
        adjustment, found = _by_graph(
            table, Triple(exposure, mediators[0], outcome), graph, cluster
        )
        columns, rows, left_out = found.columns, found.rows, found.left_out
        chosen = tuple(
            code for code in adjustment.covariates if columns[code].min() < columns[code].max()
        )
        mediators = [*adjustment.intermediate, *mediators]
        said = positivity(columns, adjustment, _LEAST, overlap(columns, adjustment))
    _refuse_few(len(rows), 3 + len(mediators) + len(chosen))
    four = g_formula(
        columns,
        exposure,
        mediators,
        outcome,
        chosen,
        interaction=interaction,
        direct=() if adjustment is None else adjustment.intermediate,
        levels=levels,
        cluster=None if groups is None else np.unique(groups[rows], return_inverse=True)[1],
    )
    return MediationResult(effects_frame(four), four, adjustment, chosen, len(rows), left_out, said)


def _table(frame: pd.DataFrame | Path | str) -> pd.DataFrame:
    if isinstance(frame, pd.DataFrame):
        return frame
    path = Path(frame)
    if not path.is_file():
        raise BadData(f"{path} is no file; give a frame, or a .csv, .tsv or .parquet file")
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    return pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",")


def _whole(
    table: pd.DataFrame, names: Sequence[str]
) -> tuple[dict[str, Any], np.ndarray[Any, Any], dict[str, int]]:
    """Columns over the rows that lack none of them."""
    try:
        values = table[list(names)].astype(float)
    except ValueError as error:
        raise BadData(
            f"columns must hold numbers ({error}); write yes and no as 1 and 0"
        ) from error
    fine = values.notna().all(axis=1).to_numpy()
    lacking = int((~fine).sum())
    columns = {name: values[name].to_numpy()[fine] for name in names}
    return columns, np.flatnonzero(fine), {"missing values": lacking} if lacking else {}


def _by_graph(
    table: pd.DataFrame, triple: Triple, graph: Graph, cluster: str | None
) -> tuple[AdjustmentSet, Any]:
    causal = _graph(graph)
    codes = [name for name in table.columns if name in causal.codes and name != cluster]
    if not codes:
        raise BadData("frame and graph share no name; write codes in one way in both")
    try:
        seen = ObservationMap(cohort_of(table[codes].astype(float)), causal)
    except ValueError as error:
        raise BadData(
            f"columns must hold numbers ({error}); write yes and no as 1 and 0"
        ) from error
    adjustment = adjustment_set(causal, triple, seen.observed)
    if not adjustment.testable:
        raise BadData(f"{triple}: {adjustment.reason}")
    return adjustment, triple_rows(seen, triple, adjustment.covariates, adjustment.intermediate)


def _graph(graph: Graph) -> CausalGraph:
    if isinstance(graph, CausalGraph):
        return graph
    if isinstance(graph, Path | str):
        return read_graph(graph)
    pairs = graph.edges if isinstance(graph, nx.DiGraph) else graph
    return CausalGraph.of([(str(cause), "causes", str(effect)) for cause, effect in pairs])


def _refuse_few(rows: int, terms: int) -> None:
    least = max(3 * terms, 20)
    if rows < least:
        raise BadTable(
            f"{rows} rows are too few for {terms} coefficients a regression; expected {least} or more"
        )
