"""What people ask for beside a page: figures as files, a LaTeX table, and one command over several models."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import typer
from matplotlib.figure import Figure
from PIL import Image

from vlbias.cli import run_commands
from vlbias.errors import BadStudy
from vlbias.report.blocks import Section, block
from vlbias.report.claims import Sentence
from vlbias.report.figure_files import figure_name, write_figures
from vlbias.report.latex import escaped, latex_table


def test_figures_are_files_in_the_order_of_the_page(tmp_path: Path) -> None:
    figure = Figure()
    figure.subplots().plot([0, 1])
    blocks = [
        block("B of every world!", "", figure=figure),
        block("A table", "", table=pd.DataFrame()),
    ]
    written = write_figures(tmp_path / "figures", blocks)
    assert [path.name for path in written] == ["01-b-of-every-world.png", "01-b-of-every-world.svg"]
    assert Image.open(written[0]).getpixel((0, 0))[:3] == (255, 255, 255), (
        "on white, also in a dark page"
    )
    assert "var(--" not in written[1].read_text(), "drawing programs know no variables"
    assert figure_name("x" * 99, 7) == "07-" + "x" * 60


def test_the_table_has_limits_and_names_no_command_of_latex() -> None:
    run: Any = SimpleNamespace(manifest={"study": {"name": "a_b"}, "model": {"name": "50% & more"}})
    metrics = [
        {"name": "B, cross-fit", "value": 0.25, "args": {"B_lower_95": 0.1, "B_upper_95": 0.4}},
        {"name": "p", "value": 0.01, "args": {}},
    ]
    section = Section(Sentence("x", "y"), [], [], metrics=metrics)
    text = latex_table([(run, section)])
    assert r"a\_b & 50\% \& more & B, cross-fit & $0.250$ & $[0.100, 0.400]$ \\" in text
    assert text.count(r"\\") == 3
    assert text.index(r"\toprule") < text.index(r"\midrule") < text.index(r"\bottomrule")
    assert latex_table([(run, Section(Sentence("x", "y"), [], []))]) == "% no metric\n"
    assert (
        escaped("\\input{x}~^") == r"\textbackslash{}input\{x\}\textasciitilde{}\textasciicircum{}"
    )


class _Study(SimpleNamespace):
    def model_copy(self, update: dict[str, str]) -> _Study:
        return _Study(**{**vars(self), **update})


def test_models_that_fail_stop_none_of_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    seen = []

    def read(name: str) -> Any:
        if name == "wrong":
            raise BadStudy("model", name, "a model")
        return _Study(name="study", model=name)

    def go(study: Any) -> None:
        if study.model == "broken":
            raise typer.Exit(1)
        seen.append(study.name)

    with pytest.raises(typer.Exit):
        run_commands._go_through(["wrong", "org/first", "broken", "second"], read, go, Path("runs"))
    assert seen == ["study-org-first", "study-second"]
    said = capsys.readouterr()
    assert "next: vlbias report runs/study-org-first runs/study-second" in said.out
    assert "failed: wrong, broken" in said.err
