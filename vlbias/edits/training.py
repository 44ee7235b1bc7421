"""Training of chosen blocks, all else frozen: to forget some facts and retain others."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import kl_div

from vlbias.causal.cloze import Completion
from vlbias.causal.turns import in_turn
from vlbias.edits.change import Change, kept, only_trained
from vlbias.edits.items import Item, refuse_same
from vlbias.edits.loss_names import Loss
from vlbias.edits.losses import LOSSES, Batch, RetainWeight
from vlbias.edits.training_state import State, load_state, save_state
from vlbias.edits.weights import weight_blocks
from vlbias.errors import BadStudy

__all__ = ["BlockTraining", "answer_losses"]

Told = Callable[[int, int], None]
"""Told of the steps that are done, and of how many there are."""


@dataclass(frozen=True)
class BlockTraining:
    """Settings.

    Args:
        sites: Blocks that are trained, such as "lm/mlp.0"; everything else is frozen.
        loss: See `vlbias.edits.losses`.
        retain: "answers": cross-entropy of the answers to retain; "divergence": KL divergence from the model
            before training, at their last prompt token.
        steps: Of AdamW, without decay.
        rate: Its learning rate.
        batch: Items to forget, and as many to retain, of a step.
        epoch: Steps of an epoch, for the adaptive weight.
        cap: See `adaptive_weight`.
        rounded: See there.
        bound: For "hinge": loss of an item beyond which it is not forgotten further; the median of facts that
            no model was trained on.
        temperature: β of "npo".
        clip: Largest norm of a gradient; none if 0.
        check: Steps between two questions whether to stop, and between two saved states.
        seed: Of the batches.
    """

    name: ClassVar[str] = "block-training"
    sites: tuple[str, ...]
    loss: Loss = "joint"
    retain: Literal["answers", "divergence"] = "answers"
    steps: int = 240
    rate: float = 3e-4
    batch: int = 48
    epoch: int = 40
    cap: float = 2.8
    rounded: bool = False
    bound: float = 0.0
    temperature: float = 0.1
    clip: float = 0.0
    check: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise BadStudy("loss", self.loss, f"one of {', '.join(LOSSES)}")
        if self.loss == "hinge" and self.bound <= 0:
            raise BadStudy("bound", self.bound, "a loss above 0, at which forgetting ends")

    @property
    def spec(self) -> dict[str, Any]:
        """All settings, as JSON."""
        return {"name": self.name, **dataclasses.asdict(self)}

    def fit(
        self,
        model: Any,
        forget: Sequence[Item],
        retain: Sequence[Item],
        *,
        until: Callable[[Any], bool] = lambda model: False,
        state: Path | None = None,
        told: Told = lambda done, of: None,
    ) -> Change:
        """The trained blocks; the model is left as it is.

        The batches of a step depend on the seed and its number alone, so that training that is resumed ends
        with the same numbers. Where a loss or a weight is no number any more, training ends with the weights
        of the last check, and the notes say so.

        Args:
            model: A causal language model.
            forget: Prompts and answers to forget.
            retain: Those to retain.
            until: Asked every `check` steps; True ends training.
            state: File in which training is kept on the way, and from which it goes on.
            told: Of progress.

        Raises:
            BadStudy: if a site is no block of weights.
            BadData: if there is nothing to forget or retain, or an item is in both.
        """
        refuse_same(forget, retain)
        names = [name for block in weight_blocks(model, self.sites) for name in block.names]
        names = list(dict.fromkeys(names))
        began = time.monotonic()
        with in_turn(model), kept(model.net, names), only_trained(model.net, names):
            trainer = _Trainer(self, model, list(forget), list(retain), names)
            notes = trainer.run(until, state, told)
            values = {name: model.net.get_parameter(name).detach().clone() for name in names}
        notes |= {"method": self.spec, "seconds": notes["seconds"] + time.monotonic() - began}
        return Change(values, notes)


class _Trainer:
    def __init__(
        self,
        settings: BlockTraining,
        model: Any,
        forget: list[Item],
        retain: list[Item],
        names: Sequence[str],
    ) -> None:
        self.settings, self.model = settings, model
        self.forget, self.retain = forget, retain
        self.trained = {name: model.net.get_parameter(name) for name in names}
        self.optimiser = torch.optim.AdamW(
            list(self.trained.values()), lr=settings.rate, weight_decay=0.0
        )
        self.weight = RetainWeight(settings.epoch, settings.cap, settings.rounded)
        self.alphas: list[float] = []
        # the model before training is needed by these alone
        self.reference = self._references() if settings.loss == "npo" else torch.empty(0)
        self.kept_logits = (
            self._kept_logits() if settings.retain == "divergence" else torch.empty(0)
        )

    @torch.no_grad()
    def _references(self) -> Tensor:
        return torch.cat([answer_losses(self.model, part) for part in _parts(self.forget)])

    @torch.no_grad()
    def _kept_logits(self) -> Tensor:
        parts = [self._said(part) for part in _parts(self.retain)]
        return torch.cat(parts)

    def _said(self, items: Sequence[Item], grad: bool = False) -> Tensor:
        ids = [self.model.tokens(prompt) for prompt, _ in items]
        logits: Tensor = self.model.next_token_logits(ids, grad=grad)
        return logits.log_softmax(1)

    def run(self, until: Callable[[Any], bool], path: Path | None, told: Told) -> dict[str, Any]:
        """Train, and say how it went."""
        settings, before = self.settings, load_state(path, self._identity())
        step, seconds = 0, 0.0
        if before is not None:
            step, seconds = self._restore(before)
        began, stopped = time.monotonic(), "all steps were made"
        good = self._values()
        while step < settings.steps:
            wrong = self._step(step)
            if wrong:
                self._write(good)
                stopped = (
                    f"diverged at step {step + 1}: {wrong}; the weights of the last check are kept"
                )
                break
            step += 1
            if step % settings.check == 0 or step == settings.steps:
                good = self._values()
                save_state(path, self._state(step, seconds + time.monotonic() - began))
                told(step, settings.steps)
                if until(self.model):
                    stopped = "what was asked for was reached"
                    break
        return {
            "steps": step,
            "stopped": stopped,
            "weights_of_retain": [round(a, 4) for a in self.alphas],
            "seconds": seconds,
        }

    def _step(self, step: int) -> str:
        """One step; what is wrong with it, if anything."""
        settings = self.settings
        rng = np.random.default_rng([settings.seed, step])
        picked = rng.integers(len(self.forget), size=settings.batch)
        others = rng.integers(len(self.retain), size=settings.batch)
        with torch.enable_grad():
            forget = answer_losses(self.model, [self.forget[i] for i in picked])
            retain = self._retain_loss(others)
            alpha = self.weight.at(step, float(retain.detach()))
            reference = self.reference[picked] if len(self.reference) else torch.empty(0)
            batch = Batch(forget, retain, reference, alpha, settings.bound, settings.temperature)
            loss = LOSSES[settings.loss](batch)
        if not bool(torch.isfinite(loss)):
            return f"the loss is {float(loss.detach())}"
        self.optimiser.zero_grad()
        loss.backward()
        if settings.clip:
            torch.nn.utils.clip_grad_norm_(list(self.trained.values()), settings.clip)
        self.optimiser.step()
        self.alphas.append(alpha)
        bad = [name for name, p in self.trained.items() if not bool(torch.isfinite(p).all())]
        return f"{bad[0]} holds values that are no numbers" if bad else ""

    def _retain_loss(self, picked: np.ndarray[Any, Any]) -> Tensor:
        items = [self.retain[i] for i in picked]
        if self.settings.retain == "answers":
            return answer_losses(self.model, items).mean()
        before = self.kept_logits[torch.from_numpy(picked)]
        said = self._said(items, grad=True)
        return kl_div(said, before, log_target=True, reduction="batchmean")

    def _values(self) -> dict[str, Tensor]:
        return {name: parameter.detach().clone() for name, parameter in self.trained.items()}

    def _write(self, values: dict[str, Tensor]) -> None:
        for name, value in values.items():
            self.trained[name].data.copy_(value)

    def _identity(self) -> str:
        return repr((self.settings.spec, self.model.revision, self.forget, self.retain))

    def _state(self, step: int, seconds: float) -> State:
        mean = (self.weight.total, self.weight.count)
        return State(
            *(self._identity(), step, seconds, self._values(), self.optimiser.state_dict()),
            mean=mean,
            alphas=list(self.alphas),
        )

    def _restore(self, state: State) -> tuple[int, float]:
        self._write(state.values)
        self.optimiser.load_state_dict(state.optimiser)
        self.weight.total, self.weight.count = state.mean
        self.alphas = list(state.alphas)
        return state.step, state.seconds


def answer_losses(model: Any, items: Sequence[Item]) -> Tensor:
    """Mean negative log-probability of the tokens of each answer, [n].

    Args:
        model: A causal language model.
        items: Prompts and answers.
    """
    rows = [
        model.split({"text": Completion(prompt, (answer,))})["lm"][0] for prompt, answer in items
    ]
    scores: Tensor = model.encode("lm", model.collate("lm", rows))
    return -scores[:, 0]


def _parts(items: Sequence[Item], size: int = 64) -> list[Sequence[Item]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
