"""Run a plan: one cell after the other, each written once and whole, so that nothing is lost."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from errno import ENOSPC
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vlbias.causal.arms import Arm, Engine
from vlbias.causal.example import Example
from vlbias.causal.staged import StagedModel
from vlbias.errors import BadStudy, BadTable
from vlbias.models import load_model
from vlbias.outcomes import OUTCOMES, Outcome
from vlbias.runs.plan import Plan, engine_of
from vlbias.store import SCHEMA_VERSION, CellWriter, Run, cell_key, write_json

__all__ = ["QUIET", "Events", "RunResult", "keep_memory", "run_plan"]

_PACKAGES = ("torch", "transformers", "numpy", "pandas", "pyarrow", "pillow", "vlbias")
_BYTES_PER_ROW = 10


@dataclass(frozen=True)
class Events:
    """What a run tells whoever watches it; everything may be ignored.

    Args:
        note: What is being done now.
        cells: Cells done, cells in all, examples in the cell that was just done.
    """

    note: Callable[[str], None] = lambda text: None
    cells: Callable[[int, int, int], None] = lambda done, total, examples: None


QUIET = Events()
"""Nobody watches."""


@dataclass(frozen=True)
class RunResult:
    """What a run left behind.

    Args:
        folder: The run folder.
        done: Cells computed now.
        skipped: Cells that were there already.
        failed: Keys of cells that failed; each has an error file.
    """

    folder: Path
    done: int
    skipped: int
    failed: tuple[str, ...] = field(default=())


def run_plan(
    plan: Plan,
    out: Path,
    *,
    shard: tuple[int, int] = (0, 1),
    events: Events = QUIET,
) -> RunResult:
    """Compute the cells of a plan that are not there yet.

    Args:
        plan: A checked study.
        out: Where the run folder is made.
        shard: (i, n): every n-th cell from the i-th on, for several machines on one folder.
        events: Who watches.

    Raises:
        BadStudy: if the folder holds another study, or the shard is no part.
        BadTable: if the folder cannot be written, or the disk is or would be full.
        BadModel: if the model cannot be loaded.
    """
    index, parts = shard
    if not 0 <= index < parts:
        raise BadStudy("shard", f"{index}/{parts}", "i/n with 0 <= i < n")
    folder = out / plan.study.name
    _refuse_unwritable(folder, plan.rows * _BYTES_PER_ROW)
    events.note("loading the model")
    keep_memory()
    model = load_model(plan.study.model, device=plan.study.device, dtype=plan.study.dtype)
    keys = _keys(plan, model)
    engine = engine_of(plan, model)
    manifest = _manifest(plan, model, engine, keys)
    _start(folder, plan, manifest)
    mine = list(zip(keys, plan.shards, strict=True))[index::parts]
    todo = [cell for cell in mine if not (folder / "cells" / f"{cell[0]}.parquet").is_file()]
    if not todo:
        return RunResult(folder, 0, len(mine))
    events.note("encoding what all photos share")
    shared = engine.share(plan.examples)
    outcomes = [OUTCOMES.load(name)(plan.dataset.classes) for name in plan.study.outcomes]
    failed = []
    began = time.monotonic()
    for number, (key, examples) in enumerate(todo, start=1):
        if not _cell(engine, folder, key, examples, outcomes, plan, model):
            failed.append(key)
        events.cells(len(mine) - len(todo) + number, len(mine), len(examples))
    _log_session(folder, shared, len(todo), len(failed), time.monotonic() - began)
    return RunResult(folder, len(todo) - len(failed), len(mine) - len(todo), tuple(failed))


def _cell(
    engine: Engine,
    folder: Path,
    key: str,
    examples: Sequence[Example],
    outcomes: Sequence[Outcome],
    plan: Plan,
    model: StagedModel,
) -> bool:
    samples = [(example.id, example.cluster) for example in examples]
    writer = CellWriter(folder, key, model=model.name, mitigation="none", samples=samples)
    error = folder / "cells" / f"{key}.error.json"
    try:
        for arm in engine.run(examples):
            _add(writer, arm, examples, outcomes)
        _add_absent(writer, plan, examples, outcomes)
        writer.close()
    except OSError as problem:
        if problem.errno == ENOSPC:
            raise BadTable(
                f"the disk of {folder} is full; free some space and run `vlbias resume {folder}`: "
                "finished cells are kept"
            ) from problem
        _record_failure(error, problem, samples)
        return False
    except Exception as problem:  # the one place: a failed cell is recorded, counted, and run again
        _record_failure(error, problem, samples)
        return False
    error.unlink(missing_ok=True)
    return True


def _record_failure(path: Path, problem: Exception, samples: list[tuple[str, str]]) -> None:
    write_json(
        path,
        {
            "error": f"{type(problem).__name__}: {problem}",
            "samples": [sample for sample, _ in samples],
            "traceback": traceback.format_exception(problem),
        },
    )


def _add(
    writer: CellWriter, arm: Arm, examples: Sequence[Example], outcomes: Sequence[Outcome]
) -> None:
    chosen = [examples[row] for row in arm.examples]
    misaligned = arm.misaligned.numpy()
    status = np.where(misaligned, "misaligned", "ok").tolist()
    for outcome in outcomes:
        measure = outcome(arm.readout, chosen)
        value = np.where(misaligned[:, None], np.nan, measure.value)
        writer.add(
            {
                "contrast": arm.contrast.name,
                "mediator": arm.mediator,
                "arm": arm.arm,
                "outcome": outcome.name,
            },
            arm.examples,
            measure.targets,
            value,
            weight=measure.weight,
            status=status,
        )


def _add_absent(
    writer: CellWriter, plan: Plan, examples: Sequence[Example], outcomes: Sequence[Outcome]
) -> None:
    """Rows of examples that lack a world of a contrast: NaN, with the reason as their status."""
    for pair in plan.study.pairs:
        rows = [
            row
            for row, example in enumerate(examples)
            if not {pair.base, pair.cf} <= set(example.worlds)
        ]
        if not rows:
            continue
        reasons = [
            "; ".join(
                examples[row].absent[w] for w in (pair.base, pair.cf) if w in examples[row].absent
            )
            for row in rows
        ]
        for outcome in outcomes:
            targets = plan.dataset.classes if outcome.name == "presence" else ("",)
            for arm in ("00", "11"):
                names = {"contrast": pair.name, "mediator": "", "arm": arm, "outcome": outcome.name}
                empty = np.full((len(rows), len(targets)), np.nan)
                writer.add(names, rows, targets, empty, status=reasons)


def _keys(plan: Plan, model: StagedModel) -> list[str]:
    study = plan.study.model_dump(
        mode="json", exclude={"name", "model", "device", "operating_point", "min_group", "dataset"}
    )
    common = {
        "study": study,
        "model": model.name,
        "revision": model.revision,
        "data": plan.dataset.content_hash,
        "mediators": [str(mediator) for mediator in plan.mediators],
        "shared": [example.id for example in plan.examples],
        "version": version("vlbias"),
    }
    base = cell_key(common)
    return [cell_key({"study": base, "samples": [e.id for e in shard]}) for shard in plan.shards]


def _manifest(plan: Plan, model: StagedModel, engine: Engine, keys: list[str]) -> dict[str, Any]:
    study = plan.study
    cuts = engine.cuts()
    return {
        "schema": SCHEMA_VERSION,
        "study": study.model_dump(mode="json"),
        "targets": list(plan.dataset.classes) if "presence" in study.outcomes else [""],
        "cells": keys,
        "rows": plan.rows,
        "model": {
            "name": model.name,
            "revision": model.revision,
            "parameters": sum(p.numel() for p in model.net.parameters()),
        },
        "data": {"content_hash": plan.dataset.content_hash, "meta": dict(plan.dataset.meta)},
        "mediators": {
            mediator.name: {
                "sites": [str(site) for site in mediator.sites],
                "cut": mediator.name in cuts,
            }
            for mediator in plan.mediators
        },
        "contrasts": {
            pair.name: {
                "alters": sorted(engine.altered[pair]),
                "mediators": [mediator.name for mediator in engine.mediators_of(pair)],
            }
            for pair in study.pairs
        },
        "paper_unknowns": _register(plan, model),
        "packages": {name: version(name) for name in _PACKAGES},
        "commit": _commit(),
        "machine": {
            "python": sys.version.split()[0],
            "platform": platform.platform(),
            "device": study.device,
        },
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "sessions": [],
    }


def _register(plan: Plan, model: StagedModel) -> dict[str, str]:
    """What was chosen for everything the reference paper leaves open (U1 to U11)."""
    study, point = plan.study, plan.study.operating_point
    fills = {spec.fill for spec in study.worlds.values() if spec.image}
    regions = {spec.region for spec in study.worlds.values() if spec.image}
    return {
        "U1 model": model.name,
        "U2 prompt": study.prompt,
        "U3 objects": f"{len(plan.dataset.classes)} classes; person is left out of sums",
        "U4 threshold": f"{point.rule} {point.value if point.rule == 'fpr' else ''} on {point.split}".strip(),
        "U5 gender rule": f"{study.dataset.labels.model_dump()}",
        "U6 mask region": ", ".join(sorted(regions)) or "none",
        "U7 mask fill": ", ".join(sorted(fills)) or "none",
        "U8 normalisation": "differences in raw units, and relative to B of the null world",
        "U9 layers": f"{len(plan.mediators)} mediators, listed under 'mediators'",
        "U10 retention metric": "presence mAP on the same photos",
        "U11 split": f"{study.dataset.name}: {', '.join(study.dataset.splits)}",
    }


def _start(folder: Path, plan: Plan, manifest: dict[str, Any]) -> None:
    if (folder / "manifest.json").is_file():
        before = Run(folder).manifest
        if before["cells"] != manifest["cells"]:
            raise BadStudy(
                "name",
                plan.study.name,
                f"a name of its own: {folder} holds another study"
                f" ({_difference(before, manifest)}). Rename this study, or move that folder",
            )
        # the same numbers, read otherwise: another operating point needs no cell to be computed again
        now = {key: manifest[key] for key in ("study", "paper_unknowns")}
        if any(before[key] != value for key, value in now.items()):
            write_json(folder / "manifest.json", {**before, **now})
        return
    attributes = pd.DataFrame([dict(example.attributes) for example in plan.examples])
    samples = pd.DataFrame(
        {"sample_id": [e.id for e in plan.examples], "cluster": [e.cluster for e in plan.examples]}
    )
    pd.concat([samples, attributes], axis=1).to_parquet(folder / "samples.parquet")
    classes = set(plan.dataset.classes)
    present = [
        (e.id, name) for e in plan.examples for name in sorted(e.targets["present"] & classes)
    ]
    pd.DataFrame(present, columns=["sample_id", "target"]).to_parquet(folder / "present.parquet")
    write_json(folder / "manifest.json", manifest)


def _difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    for part in ("study", "model", "data", "packages"):
        for key, value in now[part].items():
            if before[part].get(key) != value:
                return f"{part}.{key} differs: {str(before[part].get(key))[:80]} there, {str(value)[:80]} here"
    return "the examples differ"


def _log_session(
    folder: Path, shared: Sequence[str], cells: int, failed: int, seconds: float
) -> None:
    manifest = Run(folder).manifest
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    manifest["sessions"].append(
        {
            "ended": datetime.now(UTC).isoformat(timespec="seconds"),
            "cells": cells,
            "failed": failed,
            "seconds": round(seconds, 1),
            "peak_memory_mib": round(peak),
            "shared_towers": list(shared),
        }
    )
    write_json(folder / "manifest.json", manifest)


def _refuse_unwritable(folder: Path, needed: int) -> None:
    probe = folder / "cells" / f".probe.{os.getpid()}"
    try:
        probe.parent.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"\0" * 4096)
        probe.unlink()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise BadTable(
            f"{folder} cannot be written ({error}); choose another folder with --out"
        ) from error
    if free < needed:
        raise BadTable(
            f"{folder}: the table takes up to {needed / 1e6:.0f} MB, {free / 1e6:.0f} MB are free; "
            "free some space or choose another folder with --out"
        )


def _commit() -> str | None:
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    with suppress(OSError):
        answer = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            check=False,
        )
        return answer.stdout.strip() or None
    return None


def keep_memory() -> None:
    """Tell glibc to keep freed memory: giving 40 MB activations back each time costs a quarter."""
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        m_trim_threshold, m_mmap_threshold = -1, -3
        libc.mallopt(m_mmap_threshold, 1 << 30)
        libc.mallopt(m_trim_threshold, (1 << 31) - 1)
