"""The notebooks run as they are, each on what ships with vlbias, and carry no output of their own."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path
from time import monotonic

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "experiments" / "notebooks").glob("*.ipynb"))
LONGEST = 90.0
"""Seconds that a notebook may take on two cores that it has for itself."""


def test_there_are_notebooks() -> None:
    assert {path.stem for path in NOTEBOOKS} >= {
        "first_minutes", "language_model", "own_photos_and_model", "where_in_a_model"
    }  # fmt: skip


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_output(path: Path) -> None:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")] == []
    assert cells[0]["cell_type"] == "markdown"


@pytest.mark.integration
@pytest.mark.skipif(find_spec("nbclient") is None, reason="nbclient is not installed")
@pytest.mark.filterwarnings("ignore")  # of the kernel's libraries, not of the notebook
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    notebook = nbformat.read(path, as_version=4)
    began, used = monotonic(), os.times()
    NotebookClient(
        notebook,
        timeout=1200,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()
    took = monotonic() - began
    spent = os.times().children_user - used.children_user
    shown = json.dumps([cell.get("outputs") for cell in notebook.cells])
    assert "image/png" in shown or "text/html" in shown
    assert len(shown) < 2_000_000
    # a machine that is busy with other work takes longer; its own work must still be small
    assert took < LONGEST or spent < LONGEST
