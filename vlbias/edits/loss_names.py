"""Names of the losses of constrained training, for studies, which load no torch."""

from __future__ import annotations

from typing import Literal

__all__ = ["Loss"]

Loss = Literal["ascent", "difference", "npo", "joint", "hinge"]
