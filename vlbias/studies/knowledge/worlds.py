"""A fact in worlds: clean, and with its subject corrupted in several draws."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import torch

from vlbias.causal.cloze import Completion, Noise
from vlbias.causal.contrast import Contrast
from vlbias.causal.example import Example
from vlbias.data.facts import Fact
from vlbias.errors import BadData
from vlbias.studies.knowledge.token_roles import roles_of, spans_of

__all__ = ["CLEAN", "contrasts", "noised_example", "other_subjects", "roles_in", "subject_sd"]

CLEAN = "clean"
_SUBJECT = "subject"


def contrasts(draws: int) -> list[Contrast]:
    """Every corrupted world against the clean one, whose values are restored."""
    return [Contrast(f"corrupted-{draw}", CLEAN) for draw in range(draws)]


def roles_in(model: Any, prompt: str, place: tuple[int, int]) -> dict[str, range]:
    """The tokens of each role in a prompt whose subject stands at a place."""
    return roles_of(model.token_places(prompt), place)


def subject_sd(model: Any, facts: Sequence[Fact]) -> float:
    """Standard deviation of all numbers in the embeddings of the subjects' tokens, as Meng et al. take it.

    Args:
        model: A causal language model.
        facts: Whose subjects.
    """
    ids = []
    for subject in dict.fromkeys(fact.subject for fact in facts):
        fact = next(one for one in facts if one.subject == subject)
        tokens = _inside(model, fact.prompt, fact.place)
        said = model.tokens(fact.prompt)
        ids += [said[token] for token in tokens]
    embed = model.net.get_submodule(model.layout.embed)
    with torch.no_grad():
        device = next(model.net.parameters()).device
        return float(embed(torch.tensor([ids], device=device)).float().std())


def _inside(model: Any, prompt: str, place: tuple[int, int]) -> list[int]:
    roles = roles_in(model, prompt, place)
    subject = ("subject_first", "subject_middle", "subject_last")
    return sorted(token for role in subject for token in roles.get(role, ()))


def _asked(model: Any, fact: Fact, prompt: str, place: tuple[int, int], noise: Noise | None) -> Any:
    roles = roles_in(model, prompt, place)
    spans = (*spans_of(model.token_places(prompt), roles), (_SUBJECT, *place))
    return {"text": Completion(prompt, (fact.answer,), spans, noise=noise)}


def noised_example(model: Any, fact: Fact, sd: float, draws: int, seed: int) -> Example:
    """A fact in the clean world and in draws of noise on its subject.

    Args:
        model: A causal language model.
        fact: The fact.
        sd: Of the noise.
        draws: How many.
        seed: Of the study; every fact and draw has noise of its own.
    """
    of_fact = zlib.crc32(fact.id.encode())
    worlds = {CLEAN: _asked(model, fact, fact.prompt, fact.place, None)}
    for draw in range(draws):
        noise = Noise(_SUBJECT, sd, (seed, of_fact, draw))
        worlds[f"corrupted-{draw}"] = _asked(model, fact, fact.prompt, fact.place, noise)
    return Example(fact.id, fact.subject, worlds)


def other_subjects(
    model: Any, fact: Fact, subjects: Sequence[str], draws: int, rng: Any
) -> Example:
    """A fact in the clean world and with other subjects of as many tokens.

    Args:
        model: A causal language model.
        fact: The fact.
        subjects: To draw from.
        draws: How many are wanted; fewer where there are no more.
        rng: For the draw.

    Raises:
        BadData: if no other subject has as many tokens.
    """
    start, end = fact.place
    before, after = fact.prompt[:start], fact.prompt[end:]
    own = roles_in(model, fact.prompt, fact.place)
    worlds = {CLEAN: _asked(model, fact, fact.prompt, fact.place, None)}
    for number in rng.permutation(len(subjects)):
        other = subjects[number]
        prompt, place = f"{before}{other}{after}", (start, start + len(other))
        if other != fact.subject and roles_in(model, prompt, place) == own:
            worlds[f"corrupted-{len(worlds) - 1}"] = _asked(model, fact, prompt, place, None)
        if len(worlds) > draws:
            break
    if len(worlds) == 1:
        raise BadData(
            f"fact {fact.id!r}: no other subject has as many tokens as {fact.subject!r}; give more facts, or "
            'corruption = "noised"'
        )
    return Example(fact.id, fact.subject, worlds)
