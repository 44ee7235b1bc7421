"""The package: what is not Python travels with it, and the documentation builds without a warning."""

from __future__ import annotations

import fnmatch
import os
import subprocess
import sys
import tomllib
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def data_files() -> list[Path]:
    return [
        path
        for path in sorted((ROOT / "vlbias").rglob("*"))
        if path.is_file() and path.suffix not in (".py", ".pyc")
    ]


def test_every_data_file_is_declared() -> None:
    declared = PROJECT["tool"]["setuptools"]["package-data"]
    patterns = [
        f"{package.replace('.', '/')}/{pattern}"
        for package, names in declared.items()
        for pattern in names
    ]
    lost = [
        path.relative_to(ROOT).as_posix()
        for path in data_files()
        if not any(
            fnmatch.fnmatch(path.relative_to(ROOT).as_posix(), pattern)
            and path.relative_to(ROOT).as_posix().count("/") == pattern.count("/")
            for pattern in patterns
        )
    ]
    assert lost == [], "not in [tool.setuptools.package-data]: a wheel would lack them"


def test_every_page_of_the_documentation_is_in_its_contents() -> None:
    yaml = pytest.importorskip("yaml")
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text())

    def leaves(node: object) -> list[str]:
        if isinstance(node, str):
            return [node]
        values = node.values() if isinstance(node, dict) else node
        return [leaf for value in values for leaf in leaves(value)]  # type: ignore[attr-defined]

    there = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert sorted(leaves(config["nav"])) == sorted(there)
    assert config["strict"] is True


@pytest.mark.integration
@pytest.mark.skipif(find_spec("mkdocs") is None, reason="mkdocs is not installed: vlbias[docs]")
def test_the_documentation_builds_without_a_warning(tmp_path: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr[-3000:]
    assert "Causal engine" in (tmp_path / "api/causal/index.html").read_text()


@pytest.mark.integration
@pytest.mark.skipif(find_spec("setuptools") is None, reason="setuptools is not installed")
def test_a_wheel_holds_the_package_and_its_data(tmp_path: Path) -> None:
    code = (
        "import os, shutil, sys; from pathlib import Path\n"
        f"source, out = Path({str(ROOT)!r}), Path({str(tmp_path)!r})\n"
        "work = out / 'source'; work.mkdir()\n"
        "for name in ('pyproject.toml', 'README.md', 'LICENSE'):\n"
        "  shutil.copy(source / name, work)\n"
        "shutil.copytree(source / 'vlbias', work / 'vlbias', ignore=shutil.ignore_patterns('__pycache__'))\n"
        "os.chdir(work)\n"
        "from setuptools import build_meta; print(build_meta.build_wheel(str(out)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr[-2000:]
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {path.relative_to(ROOT).as_posix() for path in data_files()}
    wanted |= {p.relative_to(ROOT).as_posix() for p in (ROOT / "vlbias").rglob("*.py")}
    assert wanted <= names
    assert not [name for name in names if name.startswith(("tests/", "experiments/", "datasets/"))]
