"""Addresses of mediators: typed inside the program, one line of text at its borders."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from vlbias.errors import BadStudy

__all__ = ["Mediator", "Site"]

_GRAMMAR = re.compile(
    r"(?P<stage>[a-z][a-z_0-9]*)"
    r"(?:/(?P<port>[a-z][a-z_0-9]*)(?:\.(?P<layer>[0-9]{1,9}))?)?"
    r"(?:\[(?P<units>[0-9]{1,9}(?:,[0-9]{1,9})*)\])?"
    r"(?:@(?P<positions>(?:-?[0-9]{1,9}|[a-z][a-z_]*)(?:,(?:-?[0-9]{1,9}|[a-z][a-z_]*))*))?"
)
_FORM = "stage[/port[.layer]][[units]][@positions], such as 'text_encoder/head.3[0,5]@-1' or 'lm/mlp.2@word'"


@dataclass(frozen=True, slots=True)
class Site:
    """One place in a staged model where a value can be read or replaced.

    `Site("image_encoder")` is the whole output of a stage. With a `port` it is a component inside
    the stage ("attn", "mlp", "head", "neuron", "resid"), narrowed by `units` of its last axis and
    by `positions` of its token axis; negative positions count from the end of each row's own text,
    and a name stands for the tokens of a span that the rows name so.

    Raises:
        BadStudy: if layer, units or positions are given without a port.
    """

    stage: str
    port: str | None = None
    layer: int | None = None
    units: tuple[int, ...] | None = None
    positions: tuple[int | str, ...] | None = None

    def __post_init__(self) -> None:
        narrowed = (self.layer, self.units, self.positions) != (None, None, None)
        if self.port is None and narrowed:
            raise BadStudy(
                "mediators", str(self), "a port before layer, units or positions: " + _FORM
            )

    @classmethod
    def parse(cls, text: str) -> Site:
        """The site that `text` names; `Site.parse(str(site)) == site`.

        Raises:
            BadStudy: if the text does not follow the form.
        """
        match = _GRAMMAR.fullmatch(text)
        if match is None:
            raise BadStudy("mediators", text[:200], _FORM)

        def numbers(part: str | None) -> tuple[int, ...] | None:
            return None if part is None else tuple(int(n) for n in part.split(","))

        def places(part: str | None) -> tuple[int | str, ...] | None:
            if part is None:
                return None
            return tuple(n if n[0].isalpha() else int(n) for n in part.split(","))

        layer = None if match["layer"] is None else int(match["layer"])
        return cls(
            match["stage"],
            match["port"],
            layer,
            numbers(match["units"]),
            places(match["positions"]),
        )

    def __str__(self) -> str:
        text = self.stage
        if self.port is not None:
            text += f"/{self.port}"
        if self.layer is not None:
            text += f".{self.layer}"
        if self.units is not None:
            text += f"[{','.join(map(str, self.units))}]"
        if self.positions is not None:
            text += f"@{','.join(map(str, self.positions))}"
        return text


@dataclass(frozen=True, slots=True)
class Mediator:
    """Sites whose values are exchanged together, under one name."""

    name: str
    sites: tuple[Site, ...]

    @classmethod
    def of(cls, sites: Iterable[Site | str], name: str | None = None) -> Mediator:
        """A mediator of the given sites, named after them unless a name is given.

        Raises:
            BadStudy: if there is no site at all.
        """
        typed = tuple(Site.parse(site) if isinstance(site, str) else site for site in sites)
        if not typed:
            raise BadStudy("mediators", name, "at least one site")
        return cls(name or "+".join(map(str, typed)), typed)
