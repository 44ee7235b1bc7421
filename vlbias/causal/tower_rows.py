"""The distinct rows of a tower and the pairs of them that are asked for, and how they are batched."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from vlbias.causal.example import channel_key
from vlbias.causal.photo_sizes import PhotoSizes
from vlbias.causal.staged_model import Encoded
from vlbias.causal.sweep import Sweep, SweepPlan, unpatched
from vlbias.errors import BadData

__all__ = ["Rows", "batches", "merged_sweeps", "sweep_rows"]


class Rows:
    """The distinct rows of one tower, and the ordered pairs of them that contrasts ask for."""

    def __init__(self) -> None:
        self._closed = False
        self.values: list[Any] = []
        self.pairs: dict[tuple[int, int], int] = {}
        self._index: dict[Hashable, int] = {}
        self._known: dict[Hashable, list[int]] = {}

    def close(self) -> None:
        """Take no new rows or pairs: these have been encoded."""
        self._closed = True

    def _refuse_new(self, value: Any) -> None:
        if self._closed:
            raise BadData(
                f"{str(value)[:120]!r} was not among the examples given to `share`; share all examples that "
                "will be run, or none"
            )

    def rows_of(self, values: tuple[Any, ...]) -> list[int]:
        """The numbers of these rows, new ones added."""
        keys = tuple(channel_key(value) for value in values)
        if keys not in self._known:
            for key, value in zip(keys, values, strict=True):
                if key not in self._index:
                    self._refuse_new(value)
                    self._index[key] = len(self.values)
                    self.values.append(value)
            self._known[keys] = [self._index[key] for key in keys]
        return self._known[keys]

    def pair(self, one: Tensor, other: Tensor, *, one_way: bool = False) -> None:
        """Ask for every pair (own, donor) of the two sides, both ways round unless one way is enough."""
        for i, j in dict.fromkeys(
            zip(one.flatten().tolist(), other.flatten().tolist(), strict=True)
        ):
            for pair in ((i, j),) if one_way else ((i, j), (j, i)):
                if pair not in self.pairs:
                    self._refuse_new((self.values[i], self.values[j]))
                self.pairs.setdefault(pair, len(self.pairs))

    def pairs_of(self, own: Tensor, donor: Tensor) -> Tensor:
        """The numbers of the pairs, in the shape of `own`."""
        flat = zip(own.flatten().tolist(), donor.flatten().tolist(), strict=True)
        return torch.tensor([self.pairs[pair] for pair in flat]).view_as(own)


def batches(
    sizes: Sequence[Hashable], pairs: Collection[tuple[int, int]], most: int
) -> Iterator[list[int]]:
    """Rows in batches of about `most`, each of one size, never parting two rows of a pair.

    Then every number of a pair, its unmediated outcomes included, comes from one batch, and an
    effect that is zero by construction is exactly zero.

    Args:
        sizes: Of the rows; see `PhotoSizes.of`.
        pairs: Of rows of one size.
        most: Rows of a batch, unless pairs hold more together.
    """
    root = list(range(len(sizes)))

    def find(row: int) -> int:
        while root[row] != row:
            root[row] = row = root[root[row]]
        return row

    for i, j in pairs:
        root[find(j)] = find(i)
    families: dict[Hashable, dict[int, list[int]]] = {}
    for row, size in enumerate(sizes):
        families.setdefault(size, {}).setdefault(find(row), []).append(row)
    for group in families.values():
        batch: list[int] = []
        for family in group.values():
            if batch and len(batch) + len(family) > most:
                yield batch
                batch = []
            batch = batch + family
        yield batch


def sweep_rows(plan: SweepPlan, rows: Rows, batch_rows: int, photos: PhotoSizes) -> Sweep:
    """The sweep of all rows of a tower; the two rows of a pair are always in one batch.

    Two rows of different sizes are never in one, and cannot exchange values.

    Args:
        plan: Of the tower.
        rows: Its distinct rows and the pairs that are asked for.
        batch_rows: About so many rows are recorded at once.
        photos: The sizes of the rows' photos.
    """
    sizes = [photos.of(plan.tower.name, value) for value in rows.values]
    alike = {pair: n for pair, n in rows.pairs.items() if sizes[pair[0]] == sizes[pair[1]]}
    parts = []
    for members in batches(sizes, alike, batch_rows):
        place = {row: i for i, row in enumerate(members)}
        numbers = [n for pair, n in alike.items() if pair[0] in place]
        pairs = [(place[i], place[j]) for i, j in alike if i in place]
        batch = plan.model.collate(plan.tower.name, [rows.values[row] for row in members])
        parts.append((members, numbers, plan.run(batch, pairs)))
    sweep = merged_sweeps(parts)
    return sweep if len(alike) == len(rows.pairs) else _with_unlike(plan, sweep, rows, alike)


def _with_unlike(
    plan: SweepPlan, sweep: Sweep, rows: Rows, alike: Mapping[tuple[int, int], int]
) -> Sweep:
    """The sweep of the pairs `alike`, with all other pairs, which are not aligned."""
    unlike = [(pair, n) for pair, n in rows.pairs.items() if pair not in alike]
    device = sweep.aligned.device
    own, donor = (torch.tensor([p[side] for p, _ in unlike], device=device) for side in (0, 1))
    never = torch.zeros(len(unlike), dtype=torch.bool, device=device)
    order = torch.tensor([*sorted(alike.values()), *(n for _, n in unlike)]).argsort()

    def beside(known: Encoded, more: Encoded) -> Encoded:
        return tree_map(lambda a, b: torch.cat([a, b])[order.to(a.device)], known, more)

    patched = {}
    for mediator in plan.mediators:
        values = unpatched(plan, mediator, sweep.encoded, own, donor, never)
        patched[mediator.name] = beside(sweep.patched[mediator.name], values)
    return Sweep(sweep.encoded, patched, beside(sweep.aligned, never))


def merged_sweeps(parts: Sequence[tuple[list[int], list[int], Sweep]]) -> Sweep:
    """One sweep of several: each part with its rows and the numbers of its pairs."""

    def scatter(pieces: Sequence[tuple[list[int], Encoded]]) -> Encoded:
        order = torch.tensor([i for index, _ in pieces for i in index]).argsort()
        return tree_map(
            lambda *leaves: torch.cat(leaves)[order.to(leaves[0].device)],
            *(piece for _, piece in pieces),
        )

    names = parts[0][2].patched
    return Sweep(
        scatter([(rows, sweep.encoded) for rows, _, sweep in parts]),
        {name: scatter([(n, sweep.patched[name]) for _, n, sweep in parts]) for name in names},
        scatter([(n, sweep.aligned) for _, n, sweep in parts]),
    )
