"""A site in a traced tower, and how a donor's value is written into rows there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vlbias.causal.site import Site
from vlbias.causal.staged import Port
from vlbias.causal.trace import Point
from vlbias.errors import BadStudy

__all__ = ["Target", "live", "write_rows"]


@dataclass(frozen=True)
class Target:
    """One site of a mediator as the tower's trace sees it.

    `length` is the key of the batch that tells how many tokens of a row are its own.
    """

    site: Site
    port: Port | None
    point: Point
    moment: int
    length: str | None = None

    def write(self, tensor: Tensor, donor: Tensor, lengths: Tensor | None = None) -> Tensor:
        """`tensor` with this site's units and positions taken from `donor` of the same shape.

        Args:
            tensor: Rows first.
            donor: Of the same shape.
            lengths: Tokens of each row, [rows], where rows are padded.

        Raises:
            BadStudy: if a row has no such position.
        """
        if self.site.units is None and self.site.positions is None:
            return donor
        fixed = None if self.port is None else self.port.units_at(self.site.layer)
        units = fixed or tensor.shape[-1]
        mask = tensor.new_zeros((1, *tensor.shape[1:-1], units, 1), dtype=torch.bool)
        where: list[Any] = [slice(None)] * mask.ndim
        if self.site.units is not None:
            where[-2] = list(self.site.units)
        picked = torch.zeros_like(mask)
        picked[tuple(where)] = True
        if self.site.positions is not None:
            picked = picked & self._tokens(tensor, lengths)[:, :, None, None]
        mine, other = tensor.unflatten(-1, (units, -1)), donor.unflatten(-1, (units, -1))
        return torch.where(picked, other, mine).flatten(-2)

    def _tokens(self, tensor: Tensor, lengths: Tensor | None) -> Tensor:
        if tensor.ndim != 3:
            raise BadStudy("mediators", str(self.site), "no positions: this port has no token axis")
        if lengths is None:
            lengths = torch.tensor([tensor.shape[1]], device=tensor.device)
        wanted = torch.tensor(self.site.positions, device=tensor.device)
        index = torch.where(wanted < 0, wanted + lengths[:, None], wanted)
        if bool(((index < 0) | (index >= lengths[:, None])).any()):
            raise BadStudy(
                "mediators",
                str(self.site),
                f"positions that every row has; the shortest has {int(lengths.min())} tokens",
            )
        tokens = tensor.new_zeros((len(lengths), tensor.shape[1]), dtype=torch.bool)
        return tokens.scatter_(1, index, True)


def write_rows(
    tensor: Tensor,
    target: Target,
    span: list[int],
    donor: Tensor,
    rows: int,
    lengths: Mapping[str, Tensor],
) -> None:
    """Write the donor's value of the jobs in `span` into `tensor`, in place.

    Args:
        tensor: At the target's point, rows of all jobs first; windows of a job stay together.
        target: The site.
        span: Which jobs.
        donor: The value of their donors at the same point.
        rows: How many jobs there are.
        lengths: Tokens of each job's row by key of the batch, where rows are padded.
    """
    folded = tensor.view(rows, tensor.shape[0] // rows, *tensor.shape[1:])
    mine = folded[span].flatten(0, 1)
    tokens = None if target.length is None else lengths[target.length][span]
    new = target.write(mine, donor, tokens)
    folded[span] = new.view(len(span), -1, *tensor.shape[1:])


def live(
    writes: list[tuple[Target, list[int]]], donor: Tensor, rows: int, lengths: Mapping[str, Tensor]
) -> Callable[[Tensor], Tensor]:
    """A function that makes several targets' replacements at one point, jobs as in `write_rows`."""

    def write(tensor: Tensor) -> Tensor:
        new = tensor.clone()
        folded = donor.view(rows, donor.shape[0] // rows, *donor.shape[1:])
        for target, span in writes:
            write_rows(new, target, span, folded[span].flatten(0, 1), rows, lengths)
        return new

    return write
