"""What `vlbias check` says of a study of symbolic mechanisms: of its vocabulary and its number of pairs."""

from __future__ import annotations

from collections.abc import Iterator

from vlbias.errors import VlbiasError
from vlbias.models import outline_model
from vlbias.studies.check_remarks import Remark, model_remarks
from vlbias.studies.symbolic.plan import refuse_model
from vlbias.studies.symbolic.study import Study
from vlbias.studies.symbolic.vocabulary import Vocabulary

__all__ = ["remarks"]

_FEWEST = 6
"""With 5 pairs the smallest p of sign flips is 1/32, barely below 5 %."""
_PUBLISHED = 20
"""Pairs of each base rule and seed in Yang et al. 2025."""


def remarks(study: Study) -> Iterator[Remark]:
    """Remarks on the model, on the words of its vocabulary, and on the number of pairs."""
    found = [*model_remarks(study)]
    yield from found
    if all(remark.verdict != "wrong" for remark in found):
        yield _of_vocabulary(study)
    yield from _of_size(study)


def _of_vocabulary(study: Study) -> Remark:
    try:
        refuse_model(study.model, outline_model(study.model))
        model = outline_model(study.model, tokenizer=True)
        words = Vocabulary(model, study.items, study.format).words
    except VlbiasError as error:
        return Remark("items", "wrong", str(error))
    return Remark(
        "items",
        "ok",
        f"{len(words)} single tokens fit {study.items!r}; a prompt has {study.format.tokens} tokens",
    )


def _of_size(study: Study) -> Iterator[Remark]:
    if study.pairs < _FEWEST:
        yield Remark(
            "pairs",
            "note",
            f"with {study.pairs} pairs the smallest p of sign flips is 1/{2**study.pairs}, so that hardly a "
            f"head can be significant; take {_PUBLISHED} as published",
        )
    if study.ablation and not study.accuracy_shots:
        yield Remark(
            "accuracy_shots",
            "note",
            "without accuracy nothing says how selected the solved pairs are; give one number of shots or more",
        )
    if not study.map_pairs:
        yield Remark(
            "map_pairs",
            "note",
            "without the map of layers and tokens nothing shows a rule that passes elsewhere than through "
            "the tokens at which heads are looked for",
        )
