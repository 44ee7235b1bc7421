"""The keys of a study of a cohort."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Literal, Self

from pydantic import Field

from vlbias.data.graph import HYPOTHESES
from vlbias.errors import BadStudy, UnknownName
from vlbias.runs.study import Frozen, StudyBase

__all__ = ["CohortTable", "Controls", "Estimator", "GraphTable", "Study"]


class CohortTable(Frozen):
    """The patients.

    Args:
        path: A .csv, .tsv or .parquet file: one row a patient, or events (patient, code, date).
        patient: The column with the patients' ids.
        cluster: A column that tells which patients belong together.
        people: Beside events, a wide table of all patients.
        washout_days: So many days after the exposure an outcome still counts as prevalent.
        baseline: Day before which covariates count; without it, each patient's index day.
    """

    path: str
    patient: str = "patient"
    cluster: str | None = None
    people: str | None = None
    washout_days: int = Field(0, ge=0)
    baseline: date | None = None


class GraphTable(Frozen):
    """The causal knowledge graph.

    Args:
        path: A table of edges, or an ontology; or several, whose edges are joined.
        relations: Further names of edge types, each to one that vlbias knows.
        icd10: Add the is-a tree of ICD-10.
    """

    path: str | tuple[str, ...]
    relations: dict[str, str] = Field(default_factory=dict)
    icd10: bool = False

    @property
    def paths(self) -> tuple[str, ...]:
        """All files."""
        return (self.path,) if isinstance(self.path, str) else self.path


class Estimator(Frozen):
    """How effects are estimated.

    Args:
        interaction: "auto" keeps the exposure's product with the mediator where it is shown; "always", "never".
        min_patients: At least so many patients must have the exposure, the mediator and the outcome, and the
            mediator with the exposure and without it.
        draws: Draws of coefficients as a check on the limits, for triples with p < .05; 0 for none.
    """

    interaction: Literal["auto", "always", "never"] = "auto"
    min_patients: int = Field(10, ge=1)
    draws: int = Field(0, ge=0)


class Controls(Frozen):
    """Negative controls: outcomes that a mediator cannot cause.

    Args:
        outcomes: Codes that no mediator of the study can cause.
        per_mediator: So many further outcomes are drawn for each mediator from those that the graph does not
            let it cause.
    """

    outcomes: tuple[str, ...] = ()
    per_mediator: int = Field(0, ge=0)


class Study(StudyBase):
    """Every triple of a graph in a cohort.

    Args:
        cohort: The patients.
        graph: The causal knowledge graph.
        triples: "progression" (outcomes that the exposure causes), "side-effects" (outcomes that the mediator
            causes), "both", or a table with columns exposure, mediator and outcome.
        estimator: How effects are estimated.
        controls: Negative controls.
        simulated: Whether the cohort is simulated: then the page claims nothing of real drugs.
        shard_size: Triples in a cell.
    """

    kind: Literal["cohort"] = "cohort"
    cohort: CohortTable
    graph: GraphTable
    triples: str = "progression"
    estimator: Estimator = Estimator()
    controls: Controls = Controls()
    simulated: bool = False
    shard_size: int = Field(50, ge=1)

    def check(self) -> None:
        """See `StudyBase.check`."""
        if self.triples not in HYPOTHESES and Path(self.triples).suffix not in (".tsv", ".csv"):
            raise UnknownName("set of triples (or a .tsv or .csv file)", self.triples, HYPOTHESES)

    def relative_to(self, folder: Path) -> Self:
        """See `StudyBase.relative_to`."""
        folder = folder.resolve()

        def absolute(path: str, field: str) -> str:
            if not (folder / path).is_file():
                raise BadStudy(field, path, f"a file that exists (looked in {folder})")
            return str(folder / path)

        people = self.cohort.people and absolute(self.cohort.people, "cohort.people")
        cohort = {"path": absolute(self.cohort.path, "cohort.path"), "people": people}
        paths = tuple(absolute(path, "graph.path") for path in self.graph.paths)
        change = {
            "cohort": self.cohort.model_copy(update=cohort),
            "graph": self.graph.model_copy(update={"path": paths}),
        }
        if self.triples not in HYPOTHESES:
            change["triples"] = absolute(self.triples, "triples")  # type: ignore[assignment]
        return self.model_copy(update=change)
