"""A site in a traced tower, and how a donor's value is written into rows there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vlbias.causal.call_order import Point
from vlbias.causal.site import Site
from vlbias.causal.staged_model import Batch, Port, Tower
from vlbias.errors import BadStudy, UnknownName

__all__ = ["PatchTarget", "Tokens", "aligned_pairs", "combined_write", "unit_mask", "write_rows"]


@dataclass(frozen=True)
class Tokens:
    """What is known of the tokens of some rows.

    Args:
        lengths: Key of the batch to the tokens of each row, [rows], where rows are padded.
        spans: Name of a span to its mask, [rows, tokens].
        start: How many tokens were left off at the beginning of every row; what stands there is the same
            in the rows that are exchanged, so that positions before it change nothing.
    """

    lengths: Mapping[str | None, Tensor] = field(default_factory=dict)
    spans: Mapping[str, Tensor] = field(default_factory=dict)
    start: int = 0

    @classmethod
    def of(cls, tower: Tower, batch: Batch, keys: Collection[str], start: int = 0) -> Tokens:
        """What a tower's batch says of its rows, whose first `start` tokens were left off."""
        spans = {}
        if tower.spans is not None:
            prefix = tower.spans
            spans = {
                key.removeprefix(prefix): mask
                for key, mask in batch.items()
                if key.startswith(prefix)
            }
        return cls({key: batch[key] for key in keys}, spans, start)

    def rows(self, index: Tensor | list[int]) -> Tokens:
        """The same of the rows `index`."""
        return Tokens(
            {key: tokens[index] for key, tokens in self.lengths.items()},
            {name: mask[index] for name, mask in self.spans.items()},
            self.start,
        )

    def mask(self, site: Site, length: str | None, tensor: Tensor) -> Tensor:
        """Which tokens a site's positions are, [rows or 1, tokens].

        Args:
            site: The site.
            length: Key of the rows' numbers of tokens there, if they are padded.
            tensor: At the site, rows first.

        Raises:
            BadStudy: if a row has no such position.
            UnknownName: if no span is called so, with suggestions.
        """
        whole = tensor.shape[1] + self.start
        lengths = self.lengths.get(length)
        short = lengths is not None and whole < int(lengths.max())
        if tensor.ndim != 3 or short:
            raise BadStudy("mediators", str(site), "no positions: this port has no token axis")
        if lengths is None:
            lengths = torch.tensor([tensor.shape[1]], device=tensor.device)
        picked = tensor.new_zeros((len(lengths), tensor.shape[1]), dtype=torch.bool)
        for position in site.positions or ():
            if isinstance(position, str):
                picked = picked | self._span(site, position, tensor.shape[1])
                continue
            index = lengths + position if position < 0 else torch.full_like(lengths, position)
            if bool(((index < 0) | (index >= lengths)).any()):
                shortest = int(lengths.min())
                expected = f"positions that every row has; the shortest has {shortest} tokens"
                raise BadStudy("mediators", str(site), expected)
            index = index - self.start
            picked |= index[:, None] == torch.arange(tensor.shape[1], device=tensor.device)
        return picked

    def _span(self, site: Site, name: str, width: int) -> Tensor:
        if name not in self.spans:
            raise UnknownName(f"span of the texts (mediator {site})", name, self.spans)
        mask = self.spans[name]
        if not bool(mask.any(1).all()):
            raise BadStudy("mediators", str(site), f"a span {name!r} in every text")
        return mask[:, self.start : self.start + width]


UNKNOWN_TOKENS = Tokens()
"""Rows of which nothing is known: none is padded, none has spans."""


@dataclass(frozen=True)
class PatchTarget:
    """One site of a mediator as the tower's trace sees it.

    `length` is the key of the batch that tells how many tokens of a row are its own.
    """

    site: Site
    port: Port | None
    point: Point
    moment: int
    length: str | None = None

    def write(
        self,
        tensor: Tensor,
        donor: Tensor,
        tokens: Tokens = UNKNOWN_TOKENS,
        units: Tensor | None = None,
    ) -> Tensor:
        """`tensor` with this site's units and positions taken from `donor` of the same shape.

        Args:
            tensor: Rows first.
            donor: Of the same shape.
            tokens: Of the rows.
            units: In place of the site's units those of each row, [rows, units].

        Raises:
            BadStudy: if a row has no such position.
        """
        if units is None and self.site.units is None and self.site.positions is None:
            return donor
        fold = self._fold(tensor, tokens)
        if fold is not None:
            folded = self.write(tensor.unflatten(0, fold), donor.unflatten(0, fold), tokens, units)
            return folded.flatten(0, 1)
        count = self.units_of(tensor)
        if units is None:
            units = unit_mask([self.site], count, tensor.device)
        else:
            units = units.repeat_interleave(len(tensor) // len(units), 0)
        picked = units.view(len(units), *[1] * (tensor.ndim - 2), count, 1)
        if self.site.positions is not None:
            picked = picked & tokens.mask(self.site, self.length, tensor)[:, :, None, None]
        mine, other = tensor.unflatten(-1, (count, -1)), donor.unflatten(-1, (count, -1))
        return torch.where(picked, other, mine).flatten(-2)

    def differing(
        self,
        tensor: Tensor,
        donor: Tensor,
        tokens: Tokens = UNKNOWN_TOKENS,
        rows: int | None = None,
    ) -> Tensor:
        """The units [rows, units] in which `donor` differs at this site's positions.

        Args:
            tensor: Rows first.
            donor: Of the same shape.
            tokens: Of the rows.
            rows: How many they are, where windows of a row stay together.

        Raises:
            BadStudy: if a row has no such position.
        """
        fold = self._fold(tensor, tokens)
        if fold is not None:
            return self.differing(tensor.unflatten(0, fold), donor.unflatten(0, fold), tokens)
        count = self.units_of(tensor)
        differ = (tensor != donor).unflatten(-1, (count, -1)).any(-1)
        if self.site.positions is not None:
            differ = differ & tokens.mask(self.site, self.length, tensor)[:, :, None]
        folded: Tensor = differ.reshape(len(tensor) if rows is None else rows, -1, count)
        return folded.any(1)

    def units_of(self, tensor: Tensor) -> int:
        """Into how many units the last axis of a tensor at this site splits."""
        fixed = None if self.port is None else self.port.units_at(self.site.layer)
        return int(fixed or tensor.shape[-1])

    def _fold(self, tensor: Tensor, tokens: Tokens) -> tuple[int, int] | None:
        """Rows and tokens, where a model lays the tokens of all rows one behind the other."""
        if tensor.ndim == 2 and self.site.positions is not None and self.length in tokens.lengths:
            return len(tokens.lengths[self.length]), -1
        return None


def aligned_pairs(tower: Tower, batch: Batch, own: Tensor, donor: Tensor) -> Tensor:
    """For which pairs of rows [P] values inside a tower can be exchanged.

    What the tower names as `aligned` must be equal, and every named span must hold the same tokens:
    texts of as many tokens whose words lie elsewhere would give one word the other's value.

    Args:
        tower: The tower.
        batch: Its rows.
        own: Row of each pair.
        donor: The row it takes values from.
    """
    fine = torch.ones(len(own), dtype=torch.bool, device=own.device)
    for key, tensor in batch.items():
        if key in tower.aligned or (tower.spans is not None and key.startswith(tower.spans)):
            same = tensor[own] == tensor[donor]
            fine &= same.reshape(len(own), tensor[0].numel()).all(1)
    return fine


def unit_mask(sites: Sequence[Site], count: int, device: torch.device) -> Tensor:
    """Which of `count` units each site names, [sites, units]; all where it names none."""
    table = torch.zeros((len(sites), count), dtype=torch.bool)
    table[[row for row, site in enumerate(sites) if site.units is None]] = True
    named = [(row, unit) for row, site in enumerate(sites) for unit in site.units or ()]
    if named:
        rows, units = torch.tensor(named).T
        table[rows, units] = True
    return table.to(device)


def write_rows(
    tensor: Tensor,
    target: PatchTarget,
    span: list[int],
    donor: Tensor,
    rows: int,
    tokens: Tokens,
) -> None:
    """Write the donor's value of the jobs in `span` into `tensor`, in place.

    Args:
        tensor: At the target's point, rows of all jobs first; windows of a job stay together.
        target: The site.
        span: Which jobs.
        donor: The value of their donors at the same point.
        rows: How many jobs there are.
        tokens: Of each job's row.
    """
    folded = tensor.view(rows, tensor.shape[0] // rows, *tensor.shape[1:])
    mine = folded[span].flatten(0, 1)
    new = target.write(mine, donor, tokens.rows(span))
    folded[span] = new.view(len(span), -1, *tensor.shape[1:])


def combined_write(
    writes: list[tuple[PatchTarget, list[int]]], donor: Tensor, rows: int, tokens: Tokens
) -> Callable[[Tensor], Tensor]:
    """A function that makes several targets' replacements at one point, jobs as in `write_rows`."""

    def write(tensor: Tensor) -> Tensor:
        new = tensor.clone()
        folded = donor.view(rows, donor.shape[0] // rows, *donor.shape[1:])
        for target, span in writes:
            write_rows(new, target, span, folded[span].flatten(0, 1), rows, tokens)
        return new

    return write
