"""Grounded detectors with deep fusion: Grounding DINO and MM Grounding DINO of Hugging Face."""

from __future__ import annotations

from vlbias.models.grounding.adapter import GroundedDetector, load

__all__ = ["GroundedDetector", "load"]
