"""What was published of constrained unlearning, beside what a run found, and what differs between the two."""

from __future__ import annotations

import pandas as pd

__all__ = ["DIFFERS", "beside_published"]

_PUBLISHED = {
    "label": "SHA256, 1B model (Agrawal and Huang 2025)",
    "forget": 0.14,
    "retain": 0.94,
    "aggregate": 0.973,
    "utility": 0.24,
    "membership": 0.741,
    "score": 0.652,
}
DIFFERS = (
    "The published row is of another model (OLMo, 1B), of documents and biographies (LUME) in place of "
    "short facts, of ROUGE-L on continuations beside exact answers, of a harmonic mean over twelve numbers "
    "in place of two, and of MMLU as utility, whose chance level is 0.25. It is quoted as others summarise "
    "it. Scores of the two cannot be compared; what can is which numbers a score hides."
)
"""What a reader must know before comparing."""


def beside_published(methods: pd.DataFrame) -> pd.DataFrame:
    """The numbers of the task for every condition of a run, and those that were published.

    Args:
        methods: Of `Tables.methods`.
    """
    ours = methods.assign(membership=1 - 2 * (methods["membership_auc"] - 0.5).abs())
    return pd.concat([ours[list(_PUBLISHED)], pd.DataFrame([_PUBLISHED])], ignore_index=True)
