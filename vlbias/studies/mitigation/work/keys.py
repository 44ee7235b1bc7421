"""Hashes of everything that determines a fit, a choice of sites, or a cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Any

from vlbias.store.cell_writer import cell_key
from vlbias.studies.mitigation.conditions import Fit, Part, fits_of
from vlbias.studies.mitigation.plan import MitigationPlan
from vlbias.studies.mitigation.settings import Setting

__all__ = ["Keys"]


@dataclass(frozen=True)
class Keys:
    """The keys of a study on one model.

    Args:
        plan: The study.
        revision: Of the model.
        study: Its fields that determine numbers; see `vlbias.studies.photos.run_files.keyed_study`.
        data: What stands for the data; see `vlbias.runs.data_files.keyed_data`.
    """

    plan: MitigationPlan
    revision: str
    study: Mapping[str, Any]
    data: Any

    @cached_property
    def fits(self) -> dict[Fit, str]:
        """The key of every fit."""
        return {fit: self._fit(setting, fit) for setting, fit in fits_of(self.plan.settings)}

    def selection(self, setting: Setting) -> str:
        """The key of how the sites of a setting are chosen: one for a mitigation and its placebos."""
        assert setting.selection is not None
        return cell_key(
            {
                "spec": setting.make().spec,
                "pick": setting.selection.model_dump(),
                "common": self._common,
                "revision": self.revision,
            }
        )

    def cell(self, part: Part) -> str:
        """The key of a cell."""
        fit = part.condition.fit
        return cell_key(
            {
                "fit": self.fits[fit] if fit else "none",
                "strength": part.condition.strength,
                "split": part.split,
                "kind": part.kind,
                "revision": self.revision,
                "common": self._common,
            }
        )

    def _fit(self, setting: Setting, fit: Fit) -> str:
        return cell_key(
            {
                "fit": asdict(fit),
                "spec": setting.make().spec,
                "pick": setting.selection.model_dump() if setting.selection else None,
                "revision": self.revision,
                "common": self._common,
                "version": version("vlbias"),
            }
        )

    @cached_property
    def _common(self) -> dict[str, Any]:
        """What determines the numbers of all cells of a study, beside model and method."""
        protocol = self.plan.study.mitigation
        return {
            "study": self.study,
            "batch": protocol.batch,
            "splits": [protocol.fit, protocol.choose],
            "data": self.data,
            "samples": [example.id for example in self.plan.examples],
            "version": version("vlbias"),
        }
