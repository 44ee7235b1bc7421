"""What a mitigation costs at run time: milliseconds and memory, beside the model as it is."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from vlbias.causal.example import Inputs
from vlbias.causal.staged_model import StagedModel
from vlbias.files import write_sealed
from vlbias.studies.mitigation.conditions import Condition
from vlbias.studies.mitigation.work.condition_models import ConditionModels
from vlbias.studies.mitigation.work.passes import encoded, nulls, rows_of

__all__ = ["measure_overhead"]

_ROUNDS = 5


def measure_overhead(models: ConditionModels, condition: Condition, path: Path) -> None:
    """Write median milliseconds a row of every tower, plain and mitigated in turn, and memory.

    The time is that of preparing and encoding: opening photos, tokenising, and the forward pass; on a
    CPU it is time of all its cores, which others on the machine disturb least. The
    memory is how much higher the peak of the process rises under the mitigation than without it, and
    what is stored of the mitigation.
    """
    assert condition.fit is not None
    protocol = models.plan.study.mitigation
    photos = models.plan.split[protocol.report]
    unusable = models.unusable(condition.fit, photos)
    examples = [photo for photo in photos if photo.id not in unusable][: protocol.timed]
    inputs = nulls(examples)
    about = {"name": condition.fit.name, "strength": condition.strength}
    found: dict[str, Any] = {**about, "photos": len(examples)}
    times: dict[str, dict[str, list[float]]] = {}
    peaks = {"plain": 0.0, "mitigated": 0.0}
    for number in range(_ROUNDS + 1):
        for which, one in (("plain", Condition(None)), ("mitigated", condition)):
            with models.applied(one) as model:
                _reset_peak()
                spent = _milliseconds(model, inputs, protocol.batch)
                peaks[which] = max(peaks[which], _peak_mib())
            if number:  # the first round warms up
                for tower, value in spent.items():
                    times.setdefault(tower, {}).setdefault(which, []).append(value)
    found["ms"] = {
        tower: {which: statistics.median(values) for which, values in both.items()}
        for tower, both in times.items()
    }
    found["extra_peak_mib"] = max(0.0, peaks["mitigated"] - peaks["plain"])
    tensors = models.fitted[condition.fit].learned.tensors.values()
    found["stored_mib"] = sum(t.numel() * t.element_size() for t in tensors) / 2**20
    write_sealed(path, found, of=f"overhead/{path.stem}")


def _milliseconds(model: StagedModel, inputs: Sequence[Inputs], batch: int) -> dict[str, float]:
    """Tower to milliseconds a row."""
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    spent = {}
    for tower in model.towers:
        began = clock()
        values = rows_of(model, tower, inputs)
        encoded(model, tower.name, values, batch)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        spent[tower.name] = (clock() - began) * 1e3 / len(values)
    return spent


def _reset_peak() -> None:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):  # Linux alone has this
        Path("/proc/self/clear_refs").write_text("5")


def _peak_mib() -> float:
    """Peak of this process since the last reset, and of the accelerator; NaN where it is not told."""
    peak = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else 0.0
    try:
        lines = Path(f"/proc/{os.getpid()}/status").read_text().splitlines()
    except OSError:
        return float("nan")
    return peak + next((int(line.split()[1]) / 1024 for line in lines if "VmHWM" in line), 0.0)
