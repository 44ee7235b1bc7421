"""Names of mediators, taken apart: stage, port, layer and unit."""

from __future__ import annotations

import re

import pandas as pd

__all__ = ["with_sites"]

_SITE = re.compile(
    r"(?P<stage>[a-z_0-9]+)/(?P<port>[a-z_0-9]+)\.(?P<layer>\d+)(?:\[(?P<unit>\d+)\])?"
    r"(?:@[a-z0-9_,-]+)?"
)


def with_sites(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows whose mediator is of one layer, with the columns stage, port, layer and unit.

    Sites of one layer that are replaced together are one component, whose ports are joined by "+".
    """
    found = {name: _parts(name) for name in rows["mediator"].unique()}
    rows = rows[rows["mediator"].map(found).notna()]
    parts = pd.DataFrame(
        [found[name] for name in rows["mediator"]], rows.index, ["stage", "port", "layer", "unit"]
    )
    parts["unit"] = parts["unit"].astype("Int64")
    return pd.concat([rows, parts], axis=1)


def _parts(mediator: str) -> tuple[str, str, int, int | None] | None:
    """Stage, port, layer and unit of a mediator of one layer; None for others."""
    read = [_SITE.fullmatch(site) for site in mediator.split("+")]
    each = [match.groupdict() for match in read if match]
    if (
        len(each) < len(read)
        or len({(one["stage"], one["layer"], one["unit"]) for one in each}) > 1
    ):
        return None
    port = "+".join(one["port"] for one in each)
    unit = each[0]["unit"]
    return each[0]["stage"], port, int(each[0]["layer"]), None if unit is None else int(unit)
