"""Attribution methods scored on nets whose heads are known: found where they are, quiet where none is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vlbias.errors import BadTable
from vlbias.files import read_object, unwritable, write_texts
from vlbias.models import MODELS, load_model
from vlbias.report.csv_files import csv_text
from vlbias.runs.events import QUIET, Events
from vlbias.studies.symbolic.ablation import tokens_of_site
from vlbias.studies.symbolic.head_types import HEAD_TYPES, RULES, HeadType
from vlbias.studies.symbolic.numbers.heads import head_table
from vlbias.studies.symbolic.plan import Part
from vlbias.studies.symbolic.recording import silenced_heads
from vlbias.studies.symbolic.solving import Drawer
from vlbias.studies.symbolic.steps import STEPS
from vlbias.studies.symbolic.study import Study
from vlbias.studies.symbolic.wired_net import WIRED, write_wired

__all__ = ["METHODS", "Benchmark", "Named", "benchmark_symbolic", "truth_of"]

Heads = NDArray[np.bool_]
Named = Mapping[str, Heads]
"""Type of heads to which [layers, heads] are named."""
_SHOTS = 3
_CARRIES, _IDLE = 0.25, 0.05
"""Share of the logit gap from which a head carries a type, and below which it does not."""
_ABLATED, _ATTENDED = 0.1, 0.5


@dataclass(frozen=True)
class Benchmark:
    """What a benchmark found.

    Args:
        table: One row a net, type and method: named, heads that carry it, how many of them are named, how many
            idle ones are, and whether that is right.
        summary: One row a method.
        path: The table as CSV.
    """

    table: pd.DataFrame
    summary: pd.DataFrame
    path: Path


@dataclass(frozen=True)
class _Job:
    """A net, and scores of its heads, which several methods read."""

    drawer: Drawer
    cells: list[dict[str, Any]]
    seed: int


def _exchanged(job: _Job) -> Named:
    """This kind of study: sign flips over all heads, and the floor."""
    return _of_table(job, "found")


def _significant(job: _Job) -> Named:
    """The same without a floor, as published."""
    return _of_table(job, "significant")


def _ablated(job: _Job) -> Named:
    """Heads whose silencing at the tokens of the type costs a tenth of the probability of the answer."""
    drawer, named = job.drawer, {}
    prompts = [
        p
        for n, rule in enumerate(RULES)
        for p in drawer.prompts(rule, drawer.study.format, 60, 7, n)
    ]
    ids = [drawer.ids(prompt) for prompt in prompts]
    answers = [drawer.vocabulary.ids[prompt.answer] for prompt in prompts]

    def probability() -> float:
        logits = drawer.model.next_token_logits(ids).double().softmax(1)
        return float(logits[range(len(ids)), answers].mean())

    whole = probability()
    for kind in HEAD_TYPES:
        tokens = tokens_of_site(kind.site, drawer.study, drawer.vocabulary.begin)
        heads = np.zeros(_shape(job), bool)
        for place in np.ndindex(*heads.shape):
            with silenced_heads(drawer.model, [place], tokens):
                heads[place] = whole - probability() >= _ABLATED
        named[kind.name] = heads
    return named


def _attending(job: _Job) -> Named:
    """Heads that give half of their attention to where the type should look."""
    targets = {
        "abstraction": "third item to the item it repeats",
        "induction": "last token to third items",
        "retrieval": "last token to the answer",
    }
    found = STEPS["probe"](job.drawer, Part("probe", "", "both", 0, 80, _SHOTS))["attention"]
    return {name: np.array(found[target]) >= _ATTENDED for name, target in targets.items()}


METHODS: Mapping[str, Callable[[Any], Named]] = {
    "exchange": _exchanged,
    "exchange without floor": _significant,
    "ablation": _ablated,
    "attention": _attending,
}
"""Name to what says which heads are of which type."""


def benchmark_symbolic(
    out: Path,
    *,
    methods: Mapping[str, Callable[[Any], Named]] = METHODS,
    pairs: int = 20,
    seed: int = 0,
    events: Events = QUIET,
) -> Benchmark:
    """Score methods on the wired net and on the trained nets that come with vlbias.

    A method is right about a type of heads in a net if it names every head that carries it and none that is
    idle. The truth of trained nets is of plain hooks on other prompts (`experiments/symbolic_truth.py`): heads
    that move a quarter of the logit gap carry, those that move less than a twentieth are idle, and those
    between count neither way.

    Args:
        out: symbolic/benchmark.csv and summary.csv are written here.
        methods: Name to what is called with a drawer of prompts and scored pairs.
        pairs: Solved pairs of each base rule.
        seed: Of prompts and draws.
        events: Who watches.

    Raises:
        BadTable: if `out` cannot be written, or vlbias comes without the nets.
    """
    rows = []
    for name, drawer, truth in _nets(seed, pairs):
        events.note(f"scoring methods on {name}")
        job = _Job(drawer, list(_scored(drawer, pairs)), seed)
        for method, says in methods.items():
            named = says(job)
            for kind in HEAD_TYPES:
                row = _judged(named[kind.name], truth[kind.name])
                rows.append({"net": name, "type": kind.name, "method": method, **row})
    table = pd.DataFrame(rows)
    summary = _summary(table)
    folder = out / "symbolic"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error
    frames = {"benchmark": table, "summary": summary}
    write_texts({folder / f"{name}.csv": csv_text(frame) for name, frame in frames.items()})
    return Benchmark(table, summary, folder / "benchmark.csv")


def _nets(seed: int, pairs: int) -> Iterator[tuple[str, Drawer, Mapping[str, NDArray[Any]]]]:
    """Name, drawer, and share of the gap that each head moves, by type."""
    with TemporaryDirectory() as folder:
        path = write_wired(Path(folder) / "wired", noise=0.02)
        shape = (3, 4)
        truth = {kind.name: np.zeros(shape) for kind in HEAD_TYPES}
        for name, place in WIRED.items():
            truth[name][place] = 2.0
        yield "wired", _drawer(str(path), seed, pairs), truth
    names = [name for name in MODELS if name.startswith("symbolic-")]
    if not names:
        raise BadTable("vlbias comes without its trained nets; install it again")
    for name in names:
        yield name, _drawer(name, seed, pairs), truth_of(name)


def truth_of(name: str) -> dict[str, NDArray[Any]]:
    """Share of the logit gap that each head of a trained net moves, by type, [layers, heads]."""
    folder = Path(dict(MODELS.entry(name).options)["checkpoint"])
    content = read_object(folder / "trained.json", BadTable, "install vlbias again")["truth"]
    return {key: np.array(part["scores"]) / abs(part["gap"]) for key, part in content.items()}


def _drawer(model: str, seed: int, pairs: int) -> Drawer:
    loaded: Any = load_model(model)
    study = Study(name="benchmark", model=model, shots=_SHOTS, pairs=pairs, seed=seed)
    return Drawer(loaded.scores_only(), study)


def _scored(drawer: Drawer, pairs: int) -> Iterator[dict[str, Any]]:
    for kind, rule in (("abstract", "both"), *(("token", rule) for rule in RULES)):
        part = Part("scores", kind, rule, 0, pairs, _SHOTS)
        # as a cell's file holds it
        yield json.loads(json.dumps({"kind": kind, "rule": rule, **STEPS["scores"](drawer, part)}))


def _of_table(job: _Job, column: str) -> Named:
    table = head_table(job.cells, job.drawer.study.floor, 5000, job.seed)
    named = {}
    for kind in HEAD_TYPES:
        part = table[(table["type"] == kind.name) & table[column]]
        heads = np.zeros(_shape(job), bool)
        heads[part["layer"], part["head"]] = True
        named[kind.name] = heads
    return named


def _shape(job: _Job) -> tuple[int, ...]:
    kind: HeadType = HEAD_TYPES[0]
    cell = next(cell for cell in job.cells if cell["kind"] == kind.pairs)
    return np.array(cell["scores"][kind.site]).shape[:2]


def _judged(named: Heads, share: NDArray[Any]) -> dict[str, Any]:
    carries, idle = share >= _CARRIES, share < _IDLE
    found, false = int((named & carries).sum()), int((named & idle).sum())
    return {
        "named": int(named.sum()),
        "carry": int(carries.sum()),
        "found": found,
        "false": false,
        "right": found == carries.sum() and not false,
    }


def _summary(table: pd.DataFrame) -> pd.DataFrame:
    """One row a method: of the heads that carry, how many are named; and false names where none carries."""
    quiet = table["carry"] == 0
    rows = []
    for method, part in table.groupby("method", sort=False):
        empty = part[quiet.loc[part.index]]
        rows.append(
            {
                "method": method,
                "right": int(part["right"].sum()),
                "of": len(part),
                "found": int(part["found"].sum()),
                "carry": int(part["carry"].sum()),
                "false": int(part["false"].sum()),
                "quiet": int((empty["named"] == 0).sum()),
                "without": len(empty),
            }
        )
    return pd.DataFrame(rows)
