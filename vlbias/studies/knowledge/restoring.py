"""What restoring each part at each token gives back, fact by fact."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlbias.causal.engine import Arm, Engine
from vlbias.causal.example import Example
from vlbias.causal.site import Mediator, Site
from vlbias.data.facts import Fact
from vlbias.errors import BadData
from vlbias.studies.knowledge.known import answer_tokens, are_answered
from vlbias.studies.knowledge.token_roles import ROLES
from vlbias.studies.knowledge.trace_settings import Part, TraceSettings
from vlbias.studies.knowledge.worlds import (
    contrasts,
    noised_example,
    other_subjects,
    roles_in,
    subject_sd,
)

__all__ = ["Restorer", "mediators_at"]

Floats = NDArray[np.float64]


def mediators_at(role: str, parts: Sequence[Part], layers: int, window: int) -> list[Mediator]:
    """What is restored at the tokens of a role: every part of every layer, a window of layers at once.

    Args:
        role: Name of the tokens' span.
        parts: Which.
        layers: How many there are.
        window: Layers of a branch around the one that is named: from layer - window // 2 on, so many as lie
            in the model. The stream behind a block is restored alone.
    """
    found = []
    for part in parts:
        for layer in range(layers):
            first = layer if part == "resid" else layer - window // 2
            count = 1 if part == "resid" else window
            inside = range(max(first, 0), min(first + count, layers))
            sites = tuple(Site("lm", part, number, positions=(role,)) for number in inside)
            found.append(Mediator(f"{part}.{layer}", sites))
    return found


class Restorer:
    """Runs facts in their worlds.

    Args:
        model: A causal language model.
        settings: What is done.
        seed: Of the noise and of other subjects.
        facts: All that may be run: of their subjects are the size of the noise, and other subjects.
    """

    def __init__(
        self, model: Any, settings: TraceSettings, seed: int, facts: Sequence[Fact]
    ) -> None:
        self.model, self.settings, self.seed = model, settings, seed
        self.layers = len(model.towers[0].stages[0].blocks)
        self.sd = settings.noise * subject_sd(model, facts)
        self.subjects = tuple(dict.fromkeys(fact.subject for fact in facts))
        self._engines: dict[str, Engine] = {}

    def rows(self, facts: Sequence[Fact]) -> Iterator[dict[str, Any]]:
        """One record a fact: whether it is known, probabilities of its answer, and those when restored.

        A fact that the model does not know, or that has no corrupted world, has no probabilities.
        """
        known = are_answered(self.model, [(fact.prompt, fact.answer) for fact in facts])
        for fact, is_known in zip(facts, known, strict=True):
            row: dict[str, Any] = {"id": fact.id, "known": is_known, "left_out": ""}
            if is_known:
                try:
                    example = self._example(fact)
                except BadData as error:
                    row["left_out"] = str(error)
                else:
                    row |= self._traced(fact, example)
            yield row
        self.model.noised.clear()

    def _example(self, fact: Fact) -> Example:
        draws = self.settings.draws
        if self.settings.corruption == "noised":
            return noised_example(self.model, fact, self.sd, draws, self.seed)
        rng = np.random.default_rng([self.seed, zlib.crc32(fact.id.encode())])
        return other_subjects(self.model, fact, self.subjects, draws, rng)

    def _traced(self, fact: Fact, example: Example) -> dict[str, Any]:
        tokens = len(answer_tokens(self.model, fact.prompt, fact.answer)[1])
        draws = len(example.worlds) - 1
        found: dict[str, Any] = {"draws": draws, "answer_tokens": tokens, "restored": {}}
        present = roles_in(self.model, fact.prompt, fact.place)
        asked = self.settings.roles or tuple(ROLES)
        for role in (role for role in asked if role in present):
            sums: dict[tuple[str, str], list[float]] = {}
            for arm in self._engine(role).run([example]):
                sums.setdefault((arm.mediator, arm.arm), []).append(_probability(arm, tokens))
            means = {key: float(np.mean(values)) for key, values in sums.items()}
            found |= {"corrupted": means["", "00"], "clean": means["", "11"]}
            found["restored"][role] = {
                part: [means[f"{part}.{layer}", "01"] for layer in range(self.layers)]
                for part in self.settings.parts
            }
        return found

    def _engine(self, role: str) -> Engine:
        """One for each role: what stands before its first token is then not run again."""
        if role not in self._engines:
            settings, pairs = self.settings, contrasts(self.settings.draws)
            mediators = mediators_at(role, settings.parts, self.layers, settings.window)
            self._engines[role] = Engine(
                *(self.model, pairs, mediators),
                altered={pair: frozenset({"text"}) for pair in pairs},
                mediator_batch=settings.mediator_batch,
                one_way=True,
            )
        return self._engines[role]


def _probability(arm: Arm, tokens: int) -> float:
    """Probability of the whole answer; readouts hold the mean log-probability of its tokens."""
    return float(np.exp(tokens * float(arm.readout["candidate_logprob"][0, 0])))
