"""The work of a study of mitigations: fits, cells, overheads."""

from __future__ import annotations

from vlbias.studies.mitigation.work.cost_estimate import estimate
from vlbias.studies.mitigation.work.run import Work

__all__ = ["Work", "estimate"]
