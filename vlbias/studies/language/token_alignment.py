"""Worlds of another number of tokens get another wording, where the study asks for it and there is one."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import torch

from vlbias.causal.example import Example, Inputs
from vlbias.causal.staged_model import StagedModel
from vlbias.data.texts import Texts
from vlbias.studies.arms.plan import ArmsPlan
from vlbias.studies.language.study import Study

__all__ = ["worded"]


def worded(plan: ArmsPlan[Study], model: StagedModel) -> tuple[ArmsPlan[Study], dict[str, Any]]:
    """The plan with other wordings where token counts differ, and what the manifest says of it.

    For every contrast the other world is set beside the base world; the first of its wordings that has
    as many tokens is taken. What was taken stands in the attribute "wording" of each sample. Samples for which
    no wording fits keep the first one, and are recorded as misaligned as ever.
    """
    if plan.study.align == "record":
        return plan, {}
    texts: Texts = plan.dataset
    examples = tuple(_worded(example, plan, texts, model) for example in plan.examples)
    taken = [
        e for e, before in zip(examples, plan.examples, strict=True) if e.worlds != before.worlds
    ]
    text = repr([(e.id, sorted((w, repr(x["text"])) for w, x in e.worlds.items())) for e in taken])
    about = {"reworded": len(taken), "of": len(examples)}
    about_key = {"wordings": {**about, "hash": hashlib.sha256(text.encode()).hexdigest()[:16]}}
    return replace(plan, examples=examples), about_key


def _worded(example: Example, plan: ArmsPlan[Study], texts: Texts, model: StagedModel) -> Example:
    worlds, taken = dict(example.worlds), []
    for pair in plan.study.pairs:
        if not {pair.base, pair.cf} <= set(worlds) or pair.base == pair.cf:
            continue
        if _is_aligned(model, worlds[pair.base], worlds[pair.cf]):
            continue
        for other in texts.wordings.get(example.id, {}).get(pair.cf, ()):
            inputs = {**worlds[pair.cf], "text": other}
            if _is_aligned(model, worlds[pair.base], inputs):
                worlds[pair.cf] = inputs
                taken.append(f"{pair.cf}: {other.text}")
                break
    attributes = {**example.attributes, "wording": "; ".join(taken)}
    return replace(example, worlds=worlds, attributes=attributes)


def _is_aligned(model: StagedModel, base: Inputs, other: Inputs) -> bool:
    """Whether both have as many tokens, and their named spans are the same ones."""
    rows = [model.split(inputs) for inputs in (base, other)]
    for tower in model.towers:
        for one, two in zip(rows[0][tower.name], rows[1][tower.name], strict=True):
            batch = model.collate(tower.name, [one, two])
            named = [key for key in batch if tower.spans and key.startswith(tower.spans)]
            for key in (*tower.aligned, *named):
                if key in batch and not torch.equal(batch[key][0], batch[key][1]):
                    return False
    return True
