"""Every command and snippet of README.md and docs/, as far as each can be tried here.

What is *run as written*, with small stand-ins for model and photos: init, check, run (dry and in earnest),
report, list mediators, power, and the first Python example (in test_api.py). What is *parsed against the
real command line* and not run, since it takes hours, a GPU or a download: all other `vlbias` lines, and
`python SCRIPT` lines, whose script must exist and know every option. `pip` and `pytest` lines are checked
against pyproject.toml, `mkdocs` and packaging in test_package.py. Every Python block is run as written, in
one process and in order; `stand_ins` says what stands for big models and data.
"""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import typer
from data_layouts import write_own
from typer.testing import CliRunner

import vlbias as vb
from vlbias import cli

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
TOOLS = {"pip", "pytest", "mkdocs", "twine"}


def blocks(text: str, language: str = "") -> Iterator[str]:
    for found in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.S | re.M):
        if found[1] == language:
            yield found[2]


def commands() -> list[tuple[str, str]]:
    found = []
    for path in PAGES:
        for block in blocks(path.read_text()):
            for line in block.splitlines():
                for part in line.split("&&"):
                    if part.strip().split(" ")[0] in {"vlbias", "python", *TOOLS}:
                        words = shlex.split(part, comments=True)
                        found.append((path.relative_to(ROOT).as_posix(), shlex.join(words)))
    return sorted(set(found))


def of(tool: str) -> list[tuple[str, str]]:
    return [(page, line) for page, line in commands() if line.split()[0] == tool]


def test_there_are_commands_of_every_kind() -> None:
    assert {line.split()[0] for _, line in commands()} >= {"vlbias", "python", "pip", "pytest"}
    assert len(of("vlbias")) > 20


@pytest.mark.parametrize(("page", "line"), of("vlbias"))
def test_the_command_line_knows_this_command(page: str, line: str) -> None:
    _, name, *arguments = shlex.split(line)
    group = typer.main.get_command(cli.app)
    assert name in group.commands, page  # type: ignore[attr-defined]
    group.commands[name].make_context(name, arguments)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("page", "line"), of("python"))
def test_scripts_exist_and_know_their_options(page: str, line: str) -> None:
    words = shlex.split(line)[1:]
    if words[0] == "-m":
        assert words[1] in ("build",), page
        return
    script = ROOT / words[0]
    assert script.is_file(), page
    text = script.read_text()
    # options may be declared in a module beside the script, or in the package
    beside = "".join(
        p.read_text() for p in (*script.parent.rglob("*.py"), *(ROOT / "vlbias/data").glob("*.py"))
    )
    for word in words[1:]:
        if word.startswith("--"):
            assert f'"{word.split("=")[0]}"' in text + beside, (
                f"{page}: {script.name} has no {word}"
            )


def test_extras_and_markers_exist() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    for page in PAGES:
        for named in re.findall(r'(?:vlbias|-e \.|"\.)\[([a-z,]+)\]', page.read_text()):
            assert set(named.split(",")) <= set(extras), page
    markers = {
        line.partition(":")[0] for line in PROJECT["tool"]["pytest"]["ini_options"]["markers"]
    }
    for _, line in of("pytest"):
        named = re.findall(r"\b(?!not\b|and\b|or\b)([a-z]+)\b", line.partition("-m")[2])
        assert set(named) <= markers, line


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_python_blocks_compile_and_name_what_exists(path: Path) -> None:
    for block in blocks(path.read_text(), "python"):
        tree = ast.parse(block)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vlbias"):
                module = importlib.import_module(str(node.module))
                assert all(hasattr(module, alias.name) for alias in node.names)
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "vb":
                assert hasattr(importlib.import_module("vlbias"), node.attr), node.attr


SMALLER = {
    "photos=1500": "photos=15",
    "n_boot=2000": "n_boot=50",
    'vb.report("runs/study")': 'vb.report("runs/study", draws=50)',
}
"""Numbers of a snippet that would take minutes here."""


def stand_ins(page: str, model: Any, load: Callable[[str], Any]) -> dict[str, Any]:
    """What the snippets of a page expect to be there."""
    if page == "docs/mitigations.md":
        some = vb.load_dataset("coco-gender", limit=20)
        return {"vb": vb, "model": model, "rng": np.random.default_rng(0), "fit_examples": some[:16],
                "test_examples": some[16:]}  # fmt: skip
    if page == "docs/own-model.md":
        return {
            "net": model.net,
            "clip": load("openclip").net,
            "transform": None,
            "tokenizer": None,
            "processor": SimpleNamespace(image_processor=None, tokenizer=None),
        }
    return {}


@pytest.mark.integration
def test_python_blocks_run_as_written_in_one_process(
    photos: Path,
    load: Callable[[str], Any],
    study_file: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prepare = [sys.executable, str(ROOT / "datasets/coco/prepare.py"), str(photos)]
    subprocess.run([*prepare, "--out", str(tmp_path / "coco"), "--min-captions", "1"], check=True)
    study_file(('name = "tiny"', 'name = "study"'))
    monkeypatch.setenv("VLBIAS_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    model = load("dinov2-bert")
    monkeypatch.setitem(vb.__dict__, "load_model", lambda name: model)
    count = 0
    for path in PAGES:
        page = path.relative_to(ROOT).as_posix()
        names = stand_ins(page, model, load)
        for block in blocks(path.read_text(), "python"):
            for big, small in SMALLER.items():
                block = block.replace(big, small)
            exec(compile(block, page, "exec"), names)
            count += 1
    assert count > 12
    assert (tmp_path / "runs/study/report/index.html").is_file()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_to_files(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (path.parent / target).exists(), target


def test_modules_that_are_named_exist() -> None:
    for path in PAGES:
        for name in re.findall(r"^::: (\S+)|`(vlbias\.[a-z_.]+)`", path.read_text(), re.M):
            module, _, attribute = next(filter(None, name)).rpartition(".")
            try:
                importlib.import_module(f"{module}.{attribute}")
            except ModuleNotFoundError:
                assert hasattr(importlib.import_module(module), attribute), name


@pytest.mark.integration
def test_own_photos_and_own_model_from_folder_to_report(
    tmp_path: Path, model_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands of "Your model" and "Your photos" in README.md, in order, as they are written."""
    header = ("image", "group", "labels", "text", "boxes")
    write_own(tmp_path / "photos", header, 30, ("masculine", "feminine"))
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "README.md").read_text()
    part = text[text.index("## Your model") : text.index("### The study on real photos")]
    lines = [
        words
        for block in blocks(part)
        for line in block.splitlines()
        if (words := shlex.split(line, comments=True)) and words[0] == "vlbias"
    ]
    assert [words[1] for words in lines] == [
        "check",
        "list",
        "init",
        "check",
        "run",
        "run",
        "report",
    ]
    folder = str(model_folder("dinov2-bert"))
    for words in lines:
        arguments = [folder if word == "FOLDER_OR_HUB_NAME" else word for word in words[1:]]
        if words[1] == "report":
            arguments += ["--draws", "50"]
        result = CliRunner().invoke(cli.app, arguments)
        assert result.exit_code == 0, (words, result.stdout, result.exception)
    report = tmp_path / "runs/study/report"
    assert "nothing can be said about bias at this size" in (report / "index.html").read_text()
    assert (report / "model-card.md").is_file()
    page = (report / "index.html").read_text()
    assert "given with the data: column &#39;group&#39; of photos.csv" in page
    assert "captioner" not in page, "no captions were read for these groups"


def test_power_as_written() -> None:
    lines = {line for _, line in of("vlbias") if line.split()[1] == "power"}
    assert lines
    for line in lines:
        result = CliRunner().invoke(cli.app, shlex.split(line)[1:])
        assert result.exit_code == 0, line
        assert "smallest detectable B" in result.stdout
