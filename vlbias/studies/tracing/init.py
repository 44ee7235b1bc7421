"""A commented study of causal tracing for a file of facts and a language model."""

from __future__ import annotations

from pathlib import Path

from vlbias.studies.knowledge.started import found_facts, written
from vlbias.studies.start import Start, commented_line
from vlbias.studies.tracing.study import PARTS

__all__ = ["start"]

_TITLE = "where a language model reads facts (causal tracing, Meng et al. 2022)."


def start(data: Path, model: str, out: Path) -> Start:
    """Write a commented study; two groups of facts are compared where there are two or more.

    Raises:
        VlbiasError: see `vlbias.studies.knowledge.started.found_facts`.
    """
    found = found_facts(data, model, out)
    groups = list(found.groups)
    compared = groups[:2] if len(groups) > 1 else []
    return written(
        found,
        "tracing",
        _TITLE,
        [
            commented_line("compare", compared, "facts of interest, then ordinary ones"),
            commented_line("corruption", "noised", 'of the subject; or "other-subject"'),
            commented_line("noise", 3.0, "sd, in units of that of the subjects' embeddings"),
            commented_line("draws", 10, "of the noise, for each fact"),
            commented_line("parts", list(PARTS), "what is restored"),
            commented_line("window", 1, "layers that are restored together"),
            commented_line("shard_size", 4, "facts a cell; a kill loses one cell"),
            commented_line("mediator_batch", 64, "passes that run as one batch"),
            commented_line("seed", 0, "of the noise"),
        ],
    )
