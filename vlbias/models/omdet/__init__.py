"""OmDet-Turbo of Hugging Face: a grounded detector whose decoder fuses queries and text."""

from __future__ import annotations

from vlbias.models.omdet.adapter import OmDet, load

__all__ = ["OmDet", "load"]
