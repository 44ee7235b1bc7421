"""Examples of tiny language models in two worlds, and what the models make of texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tiny_language import MASKED, language_sides
from torch import Tensor

from vlbias.causal.cloze import Cloze
from vlbias.causal.contrast import Contrast
from vlbias.causal.engine import Engine
from vlbias.causal.example import Example, Inputs
from vlbias.models.language.adapter import LanguageModel

Load = Callable[[str], LanguageModel]


def sides(kind: str) -> tuple[list[Inputs], list[Inputs]]:
    return language_sides(" ." if kind in MASKED else "")


def readout(model: LanguageModel, texts: Sequence[Cloze]) -> Tensor:
    examples = [Example(str(i), str(i), {"a": {"text": t}}) for i, t in enumerate(texts)]
    engine = Engine(model, [Contrast("a", "a")], [], altered={})
    return next(engine.run(examples)).readout["candidate_logprob"]


def worlds(base: list[Inputs], cf: list[Inputs]) -> list[Example]:
    pairs = zip(base, cf, strict=True)
    return [Example(str(i), str(i), {"a": a, "b": b}) for i, (a, b) in enumerate(pairs)]
