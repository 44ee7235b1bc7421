"""What a run of mitigations stored: scores, ranks and answers of every condition.

Beside what every run folder has: fits/<key>/ is a fitted mitigation or placebo, as `Fitted.load` reads
it; cells/<key>.parquet the long table, one condition on one split a cell; cells/<key>.npz the norms of
every token before and after, and of its change; overhead/<key>.json what a method costs at run time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vlbias.errors import BadTable, UnknownName
from vlbias.files import read_sealed
from vlbias.store.finished import refuse_unfinished
from vlbias.store.run_folder import Run
from vlbias.store.seals import fit_flaw

__all__ = ["RANKS", "Conditions"]

RANKS = ("photo to caption", "caption to photo")
"""Targets of the outcome "rank": the place of a photo's own caption, and of a caption's own photo."""
_COLUMNS = ["mitigation", "outcome", "sample_id", "target", "value"]


@dataclass(frozen=True)
class Conditions:
    """The conditions of a finished study of mitigations.

    Args:
        run: Its run folder.

    Raises:
        BadTable: if the run is none of mitigations, or cells are missing or damaged.
    """

    run: Run

    def __post_init__(self) -> None:
        # runs of version 0.1.0 name no kind in their study
        if "mitigation" not in self.run.manifest["study"]:
            raise BadTable(
                f"{self.run.folder} is no run of mitigations; give the folder of a study with a table "
                "[mitigation]"
            )
        refuse_unfinished(self.run)

    @property
    def parts(self) -> dict[str, dict[str, str]]:
        """Key of every cell to its condition, split and kind."""
        parts: dict[str, dict[str, str]] = self.run.manifest["parts"]
        return parts

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row a condition, the model as it is first: name, setting, role, draw, strength, and more."""
        frame = pd.DataFrame(self.run.manifest["conditions"])
        about = pd.DataFrame.from_dict(self.run.manifest["settings"], orient="index")
        columns = ["method", "varied", "place"]
        joined = frame.join(about[columns], on="setting")
        joined[columns] = joined[columns].fillna("")
        return joined

    def placebos(self, about: Mapping[str, Any]) -> dict[str, str]:
        """The placebos of a condition at its strength: number to name.

        Args:
            about: A row of `frame`.
        """
        rows = self.frame[
            (self.frame["setting"] == about["setting"])
            & (self.frame["role"] == "placebo")
            & (self.frame["strength"] == about["strength"])
        ]
        return {f"placebo {row['draw']}": row["name"] for _, row in rows.iterrows()}

    def scores(self, condition: str, outcome: str, targets: Sequence[str]) -> NDArray[np.float32]:
        """Values [samples, targets] of one condition; NaN for photos of splits it was not run on.

        Raises:
            UnknownName: if there is no such condition.
        """
        if condition not in self._tables:
            raise UnknownName("condition of this run", condition, self._tables)
        table = self._tables[condition]
        table = table[table["outcome"] == outcome]
        found = np.full((len(self.run.samples), len(targets)), np.nan, np.float32)
        place = {sample: i for i, sample in enumerate(self.run.samples["sample_id"])}
        column = {target: i for i, target in enumerate(targets)}
        rows = table["sample_id"].map(place).to_numpy(np.intp)
        found[rows, table["target"].map(column).to_numpy(np.intp)] = table["value"]
        return found

    def keys(self, condition: str, split: str, kind: str = "scores") -> list[str]:
        """Keys of the cells of a condition on a split."""
        wanted = {"condition": condition, "split": split, "kind": kind}
        return [key for key, part in self.parts.items() if part == wanted]

    def maps(self) -> dict[str, dict[str, NDArray[np.float64]]]:
        """Condition to mean norms per token: "before", "after" and "change", each [tokens]."""
        return {
            name: {what: arrays[what] for what in ("before", "after", "change")}
            for name, arrays in self._maps()
            if "before" in arrays
        }

    def photo_maps(self) -> dict[str, dict[str, NDArray[np.float64]]]:
        """Condition to the first photos' ids and the share of each token's norm that changes [tokens]."""
        return {
            name: dict(zip(arrays["photo_id"].tolist(), arrays["photo_share"], strict=True))
            for name, arrays in self._maps()
            if "photo_id" in arrays
        }

    def _maps(self) -> Iterator[tuple[str, dict[str, NDArray[Any]]]]:
        for key, part in self.parts.items():
            if part["kind"] == "map":
                with np.load(self._path(key)) as arrays:
                    yield part["condition"], {name: arrays[name] for name in arrays.files}

    def overheads(self) -> list[dict[str, Any]]:
        """What every method costs at run time, as `overhead/` holds it; nothing if the study times nothing.

        Raises:
            BadTable: if a file is damaged, or is not there yet.
        """
        if not self.run.manifest["study"]["mitigation"]["timed"]:
            return []
        own = self.frame[self.frame["role"] == "mitigated"]
        timed = dict(zip(own["fit"], own["setting"], strict=True))
        return [_overhead(self.run, key, setting) for key, setting in timed.items()]

    def fits(self) -> list[dict[str, Any]]:
        """Seconds and photos of every fit, and what it noted.

        Raises:
            BadTable: if a fit is damaged.
        """
        found = []
        for key, part in self.frame[self.frame["fit"] != ""].groupby("fit", sort=False):
            folder = self.run.folder / "fits" / str(key)
            if flaw := fit_flaw(folder, sealed=self.run.sealed):
                raise _damaged(flaw, self.run)
            about = _sealed(folder / "fit.json", self.run, of=f"fits/{key}")
            about.pop("files", None)
            notes = json.loads((folder / "mitigation.json").read_text()).get("notes", {})
            first = part.iloc[0]
            row = {"setting": first["setting"], "role": first["role"], "draw": first["draw"]}
            found.append({**row, **about, "notes": notes})
        return found

    def unusable(self, split: str) -> pd.DataFrame:
        """Photos of a split that a condition could not be run on: columns condition, why, photos."""
        rows = []
        for key, part in self.parts.items():
            if (part["split"], part["kind"]) == (split, "scores"):
                table = pq.read_table(self._path(key), columns=["sample_id", "status"]).to_pandas()
                left_out = table[table["status"] != "ok"].astype(str).drop_duplicates()
                for why, photos in left_out.groupby("status").size().items():
                    rows.append({"condition": part["condition"], "why": why, "photos": photos})
        return pd.DataFrame(rows, columns=["condition", "why", "photos"])

    @cached_property
    def _tables(self) -> dict[str, pd.DataFrame]:
        by: dict[str, list[pd.DataFrame]] = {}
        for key, part in self.parts.items():
            if part["kind"] == "scores":
                table = pq.read_table(self._path(key), columns=_COLUMNS).to_pandas()
                by.setdefault(part["condition"], []).append(
                    table.astype({"sample_id": str, "target": str})
                )
        return {name: pd.concat(tables, ignore_index=True) for name, tables in by.items()}

    def _path(self, key: str) -> Path:
        ending = "npz" if self.parts[key]["kind"] == "map" else "parquet"
        return self.run.folder / "cells" / f"{key}.{ending}"


def _overhead(run: Run, key: str, setting: str) -> dict[str, Any]:
    path = run.folder / "overhead" / f"{key}.json"
    if not path.is_file():
        raise BadTable(
            f"{run.folder}: the overhead of {setting} is not there; run the study again, which times it"
        )
    return _sealed(path, run, of=f"overhead/{path.stem}")


def _sealed(path: Path, run: Run, *, of: str) -> dict[str, Any]:
    try:
        return read_sealed(path, of=of, always=run.sealed)
    except BadTable as error:
        raise _damaged(error, run) from error


def _damaged(flaw: object, run: Run) -> BadTable:
    return BadTable(f"{flaw}; run `vlbias resume {run.folder}` first")
