"""What all jobs of a sweep share: the pairs of rows they are made for, and how they may be run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from vlbias.causal.patching import PatchTarget, Tokens
from vlbias.causal.staged_model import StagedModel, Tower
from vlbias.causal.tape import Tape

__all__ = ["Jobs"]


@dataclass(frozen=True)
class Jobs:
    """P ordered pairs of recorded rows; options as those of a `SweepPlan`.

    A job is one pair with one mediator. It continues the pair's own row, and takes the mediator's
    value from the pair's donor row.

    Args:
        model: The model.
        tower: The tower that was recorded.
        targets: Mediator name to its targets, the first that is reached first.
        own: Row that each pair continues, [P].
        donor: Row that gives it the mediator, [P].
        mediator_batch: At most so many jobs run as rows of one batch.
        lazy: Leave out jobs whose answer is known.
        narrow: Run the tail of a stage on the token that is read.
    """

    model: StagedModel
    tower: Tower
    targets: Mapping[str, Sequence[PatchTarget]]
    own: Tensor
    donor: Tensor
    mediator_batch: int
    lazy: bool
    narrow: bool

    def differing(self, wanted: Tensor) -> Tensor:
        """Numbers of the wanted pairs [P] whose two rows are not the same one."""
        return (wanted & (self.own != self.donor)).nonzero().flatten()

    def tokens(self, tape: Tape, rows: Tensor) -> Tokens:
        """What is known of the tokens of recorded rows."""
        return Tokens.of(self.tower, tape.batch, self._lengths, tape.start).rows(rows)

    @cached_property
    def _lengths(self) -> list[str]:
        keys = {target.length for targets in self.targets.values() for target in targets}
        return [key for key in keys if key is not None]
