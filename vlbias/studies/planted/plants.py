"""Models that come with a bias planted in them: their families, and where their bias comes from."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["ENCODERS", "FAMILIES", "MASKED", "PLACEBO", "TRUTH", "model_name"]

ENCODERS = ("image_encoder", "text_encoder")
"""The encoders that every planted model has."""
TRUTH: Mapping[str, frozenset[str]] = {
    "image": frozenset({"image_encoder"}),
    "text": frozenset({"text_encoder"}),
    "both": frozenset(ENCODERS),
    "unbiased": frozenset(),
}
"""Plant to the encoders through which its bias comes."""
FAMILIES = {"dual": "template", "detector": "template+categories"}
"""Family to the prompt its models were trained with."""
MASKED, PLACEBO = "null->both", "null->placebo-both"
"""The contrast that takes the cues out, and the one that takes as much of something else."""


def model_name(family: str, plant: str) -> str:
    """The registered name of a planted model."""
    return f"planted-{family}-{plant}"
