"""What each kind of cell computes, as what its JSON file holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from vlbias.studies.symbolic.ablation import tokens_of_site
from vlbias.studies.symbolic.head_types import LAST, RULES, SITES, THIRD
from vlbias.studies.symbolic.plan import Part
from vlbias.studies.symbolic.prompts import Format, Prompt, drawn_items
from vlbias.studies.symbolic.recording import HeadRecord, recorded_heads
from vlbias.studies.symbolic.representations import (
    attention_targets,
    mean_cosines,
    rule_accuracy,
    similarity,
)
from vlbias.studies.symbolic.scores import head_scores, position_map
from vlbias.studies.symbolic.solving import Drawer, Draws

__all__ = ["STEPS"]

_BATCH = 20
_STREAMS = {"accuracy": 1, "abstract": 2, "token": 3, "probe": 6}
"""First key of the random numbers of each step, so that none shares prompts with another."""


def _accuracy(drawer: Drawer, part: Part) -> dict[str, Any]:
    """How often prompts are answered, and how often the answer is put above the query's other item."""
    study, rule = drawer.study, RULES.index(part.rule)
    format = Format(part.shots, study.separator, study.newline)
    key = (_STREAMS["accuracy"], rule, part.shots)
    prompts = drawer.prompts(part.rule, format, part.count, *key)
    right, forced = 0, 0
    for start in range(0, len(prompts), _BATCH):
        few = prompts[start : start + _BATCH]
        logits = drawer.model.next_token_logits([drawer.ids(prompt) for prompt in few])
        rows = torch.arange(len(few))
        answer, rival = (
            torch.tensor([drawer.vocabulary.ids[getattr(prompt, name)] for prompt in few])
            for name in ("answer", "rival")
        )
        right += int((logits.argmax(1).cpu() == answer).sum())
        forced += int((logits[rows, answer] > logits[rows, rival]).sum())
    return {"prompts": len(prompts), "correct": right, "above_rival": forced}


def _drawn(drawer: Drawer, part: Part) -> Draws:
    place = 0 if part.rule not in RULES else RULES.index(part.rule)
    key = (_STREAMS[part.kind], place, part.number)
    return drawer.pairs(part.kind, part.rule, part.number, part.count, *key)


def _scores(drawer: Drawer, part: Part) -> dict[str, Any]:
    """Scores of all heads at the tokens of every type."""
    draws = _drawn(drawer, part)
    gap, found = head_scores(drawer.model, draws.pairs, drawer.study.mediator_batch)
    return {
        **_said(draws),
        "gap": gap.tolist(),
        "scores": {site: scores.tolist() for site, scores in found.items()},
    }


def _map(drawer: Drawer, part: Part) -> dict[str, Any]:
    """Scores of attention and MLP outputs, layer by layer and token by token."""
    draws = _drawn(drawer, part)
    begin = drawer.vocabulary.begin
    gap, found = position_map(drawer.model, draws.pairs, begin, drawer.study.mediator_batch)
    return {
        **_said(draws),
        "gap": gap.tolist(),
        "scores": {name: scores.mean(axis=(2, 3)).tolist() for name, scores in found.items()},
    }


def _said(draws: Draws) -> dict[str, Any]:
    """What a cell says of its pairs: who gives to whom under which rule, and the prompts."""
    return {
        "pairs": [pair.id for pair in draws.pairs],
        "base_rules": [[pair.base_rule(world) for world in pair.worlds] for pair in draws.pairs],
        "prompts": [prompt.text for pair in draws.pairs for prompt in pair.worlds.values()],
        "draws": dict(draws.counts),
    }


def _probe(drawer: Drawer, part: Part) -> dict[str, Any]:
    """Attention to targets, similarity of outputs, and decoding of the rule, for every head."""
    words = drawer.vocabulary.words
    half = len(words) // 2
    count, shots = part.count // 2, part.shots
    fit, _ = _outputs(drawer, words[:half], shots, count, 0)
    held, weights = _outputs(drawer, words[half:], shots, count, 1)
    more = {n: _outputs(drawer, words[half:], n, count, 2)[0] for n in drawer.study.probe_shots}
    rules = [rule for rule in RULES for _ in range(count)]
    targets = attention_targets(weights, rules, shots, drawer.vocabulary.begin)
    return {
        "prompts": len(rules),
        "attention": {name: share.tolist() for name, share in targets.items()},
        "patterns": _patterns(weights[:count], drawer, shots),
        **_similarities(drawer, count),
        "decoding": {
            site: {
                str(n): rule_accuracy((fit[site], rules), (outputs[site], rules)).tolist()
                for n, outputs in {shots: held, **more}.items()
            }
            for site in SITES
        },
    }


def _patterns(weights: Any, drawer: Drawer, shots: int) -> dict[str, Any]:
    """Mean attention [layers, heads, tokens] from the last third item and from the last token."""
    begin = drawer.vocabulary.begin
    places = {THIRD: begin + 6 * (shots - 1) + 4, LAST: begin + 6 * shots + 3}
    mean = weights.mean(0)[..., begin:]
    return {site: mean[:, place].tolist() for site, place in places.items()}


def _outputs(
    drawer: Drawer, words: Sequence[str], shots: int, count: int, key: int
) -> tuple[dict[str, Any], Any]:
    """Outputs at the tokens of each site, and attention weights, for so many prompts of each rule."""
    study = drawer.study
    format = Format(shots, study.separator, study.newline)
    prompts = [
        prompt
        for place, rule in enumerate(RULES)
        for prompt in drawer.prompts(
            rule, format, count, _STREAMS["probe"], key, place, shots, words=words
        )
    ]
    return _recorded(drawer, prompts)


def _recorded(drawer: Drawer, prompts: Sequence[Prompt]) -> tuple[dict[str, Any], Any]:
    """Outputs [prompts, layers, heads, width], averaged over the tokens of each site, and weights."""
    study = drawer.study.model_copy(update={"shots": prompts[0].format.shots})
    begin = drawer.vocabulary.begin
    records: list[HeadRecord] = []
    sites: dict[str, list[Any]] = {site: [] for site in SITES}
    for start in range(0, len(prompts), _BATCH):
        ids = [drawer.ids(prompt) for prompt in prompts[start : start + _BATCH]]
        records.append(recorded_heads(drawer.model, ids))
        for site, parts in sites.items():
            tokens = tokens_of_site(site, study, begin)
            parts.append(records[-1].output[:, :, tokens].mean(2))
    weights = np.concatenate([record.weights for record in records])
    return {site: np.concatenate(parts) for site, parts in sites.items()}, weights


def _similarities(drawer: Drawer, count: int) -> dict[str, Any]:
    """Similarity of outputs with equal rules and with equal tokens.

    Four prompts for each draw of items: both rules, with the query as it is and swapped; third items are
    the same in all four.
    """
    sets = max(count // 4, 2)
    study = drawer.study
    rng = np.random.default_rng([study.seed, _STREAMS["probe"], 3])
    prompts: list[Prompt] = []
    labels: list[tuple[str, str, str]] = []
    while len(labels) < 4 * sets:
        items = drawn_items(drawer.vocabulary.words, study.format, rng, lures=study.lures)
        four = [
            Prompt((*_turned(items[:-1], rule), query), rule, study.format)
            for rule in RULES
            for query in (items[-1], items[-1][::-1])
        ]
        if all(drawer.vocabulary.is_laid_out(p.words, drawer.ids(p)) for p in four):
            prompts += four
            labels += [(prompt.rule, str(items[:-1]), prompt.answer) for prompt in four]
    outputs, _ = _recorded(drawer, prompts)
    rules, sets_of, answers = zip(*labels, strict=True)
    conditions = [place % 4 for place in range(len(labels))]
    return {
        "similarity": {
            site: {
                "abstract": similarity(outputs[site], rules).tolist(),
                "token": similarity(outputs[site], sets_of if site == THIRD else answers).tolist(),
            }
            for site in SITES
        },
        "cosines": {site: mean_cosines(outputs[site], conditions).tolist() for site in SITES},
    }


def _turned(items: Sequence[tuple[str, str]], rule: str) -> list[tuple[str, str]]:
    """Items whose first one is the third of an example under either rule."""
    return [pair if rule == "ABA" else pair[::-1] for pair in items]


STEPS: Mapping[str, Callable[[Drawer, Part], dict[str, Any]]] = {
    "accuracy": _accuracy,
    "scores": _scores,
    "map": _map,
    "probe": _probe,
}
"""Step to what computes it."""
