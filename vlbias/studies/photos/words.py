"""To be moved."""

from __future__ import annotations

__all__ = ["TEXT_LIMITS"]
