"""Reading a table of a run folder: what cannot be read is named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from vlbias.errors import BadTable

__all__ = ["read_frame"]


def read_frame(path: Path, needs: Sequence[str] = (), **options: Any) -> pd.DataFrame:
    """The data frame of a parquet file.

    Args:
        path: The file.
        needs: Columns that it must have.
        **options: Of `pandas.read_parquet`.

    Raises:
        BadTable: if it cannot be read, or lacks a column.
    """
    try:
        frame: pd.DataFrame = pd.read_parquet(path, **options)
    except (OSError, ValueError, TypeError, KeyError, pa.ArrowException) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0][:80]
        raise BadTable(f"{path} is damaged ({said}); run `vlbias resume` first") from error
    lacking = [name for name in needs if name not in frame]
    if lacking:
        raise BadTable(f"{path} is damaged: it has no column {lacking[0]!r}")
    return frame
