"""The house is as it is drawn: who imports whom, how long a file may be, what is documented."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "vlbias").rglob("*.py"))
Function = ast.FunctionDef | ast.AsyncFunctionDef
BINARY = (
    ".whl", ".egg", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".zip", ".7z", ".tar", ".rar", ".jar",
    ".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".onnx", ".gguf", ".h5", ".hdf5", ".parquet",
    ".feather", ".arrow", ".npz", ".npy", ".mat", ".pkl", ".pickle", ".joblib", ".db", ".sqlite",
    ".so", ".dll", ".dylib", ".pyd", ".pyc", ".a", ".o", ".exe", ".jpg", ".jpeg", ".png", ".gif",
    ".webp", ".bmp", ".tif", ".tiff", ".ico", ".pdf", ".ttf", ".otf", ".woff", ".woff2", ".mp4",
)  # fmt: skip


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def functions(path: Path) -> Iterator[tuple[str, Function, bool]]:
    """Every function of a file with its dotted name and whether it is public."""

    def walk(node: ast.AST, name: str, public: bool) -> Iterator[tuple[str, Function, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | Function):
                seen = public and not child.name.startswith("_")
                full = f"{name}.{child.name}"
                if isinstance(child, Function):
                    yield full, child, seen
                # what is inside a function is nobody's interface
                yield from walk(child, full, seen and isinstance(child, ast.ClassDef))
            else:
                yield from walk(child, name, public)

    yield from walk(ast.parse(path.read_text()), str(path.relative_to(ROOT)), True)


def body_lines(function: Function) -> int:
    """Lines below the signature and the docstring, which may be as long as they must."""
    first = function.body[bool(ast.get_docstring(function)) :]
    return (function.end_lineno or 0) - first[0].lineno + 1 if first else 0


def test_the_import_contracts_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(str(ROOT))
    assert lint_imports(config_filename="pyproject.toml", no_cache=True) == EXIT_STATUS_SUCCESS


@pytest.mark.parametrize(
    "modules",
    [
        "vlbias, vlbias.cli, vlbias.models, vlbias.data, vlbias.outcomes",
        "vlbias.store.run_folder, vlbias.analysis, vlbias.report.page, vlbias.studies.bias.figures",
    ],
)
def test_what_needs_no_model_loads_no_torch(modules: str) -> None:
    heavy = "{'torch', 'torchvision', 'transformers', 'open_clip'}"
    answer = python("-c", f"import sys, {modules}; print({heavy} & set(sys.modules))")
    assert answer.stdout.strip() == "set()", answer.stdout + answer.stderr


def test_light_modules_load_no_data_frames() -> None:
    answer = python("-c", "import sys, vlbias, vlbias.cli; print('pandas' in sys.modules)")
    assert answer.stdout.strip() == "False", answer.stdout + answer.stderr


def test_public_names_exist() -> None:
    import vlbias

    for name in vlbias.__all__:
        assert getattr(vlbias, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        vlbias.no_such_name  # noqa: B018


def test_datasets_is_no_package() -> None:
    """With an __init__.py it would shadow the library of that name for everything else."""
    assert not list((ROOT / "datasets").rglob("__init__.py"))
    imports = re.compile(r"^\s*(import|from) datasets\b", re.MULTILINE)
    assert not [path for path in SOURCES if imports.search(path.read_text())]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_are_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 300
    long = {name: body_lines(function) for name, function, _ in functions(path)}
    assert {name: lines for name, lines in long.items() if lines > 50} == {}


def test_no_file_is_long_and_the_package_s_are_short() -> None:
    paths = [path for path in tracked() if path.suffix == ".py" and path.exists()]
    lines = {path: len(path.read_text().splitlines()) for path in paths}
    assert {str(path.relative_to(ROOT)): n for path, n in lines.items() if n > 300} == {}
    assert median(n for path, n in lines.items() if ROOT / "vlbias" in path.parents) <= 130


def test_no_class_is_long() -> None:
    long = {
        f"{path.relative_to(ROOT)}: {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for folder in ("vlbias", "experiments", "tests")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    }
    assert {name: lines for name, lines in long.items() if lines > 150} == {}


def test_whatever_is_public_is_documented() -> None:
    bare = [
        name
        for path in SOURCES
        for name, function, public in functions(path)
        if public and not ast.get_docstring(function) and not _is_overload(function)
    ]
    assert bare == []


def _is_overload(function: Function) -> bool:
    return any("overload" in ast.unparse(decorator) for decorator in function.decorator_list)


def test_every_signature_is_annotated() -> None:
    bare = []
    for path in SOURCES:
        for name, function, _ in functions(path):
            given = function.args
            arguments = [*given.posonlyargs, *given.args, *given.kwonlyargs]
            bare += [
                f"{name}({argument.arg})"
                for argument in arguments
                if argument.annotation is None and argument.arg not in ("self", "cls")
            ]
            bare += [] if function.returns is not None else [f"{name} ->"]
    assert bare == []


def test_exceptions_are_caught_by_name() -> None:
    """Only a cell's boundary catches everything, records it and counts it."""
    broad = [
        str(path.relative_to(ROOT))
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in ("Exception", "BaseException"))
    ]
    assert broad == ["vlbias/runs/cells.py"]


@pytest.mark.skipif(find_spec("ruff") is None, reason="ruff is not installed")
@pytest.mark.parametrize("command", [["check"], ["format", "--check"]])
def test_ruff_is_content(command: list[str]) -> None:
    answer = python("-m", "ruff", *command, "-q", ".")
    assert answer.returncode == 0, (answer.stdout + answer.stderr)[-3000:]


@pytest.mark.skipif(find_spec("mypy") is None, reason="mypy is not installed")
@pytest.mark.integration
def test_mypy_is_content() -> None:
    answer = python("-m", "mypy")
    assert answer.returncode == 0, (answer.stdout + answer.stderr)[-3000:]


def tracked() -> list[Path]:
    answer = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if answer.returncode:
        pytest.skip("no git checkout")
    return [ROOT / name for name in answer.stdout.split("\0") if name]


def test_binary_files_are_the_package_s_own_or_old_runs() -> None:
    """Models and data of the package, and run folders of 0.1.0 that it must still read; no other."""
    allowed = ("vlbias/data/", "tests/old_runs/")
    names = (path.relative_to(ROOT).as_posix() for path in tracked())
    strange = [
        name for name in names if name.lower().endswith(BINARY) and not name.startswith(allowed)
    ]
    assert strange == []


def test_nothing_of_one_machine_is_in_the_repository() -> None:
    """No home folder, no mirror of a package registry: both hold only where they were written."""
    machine = re.compile(
        r"(?<![\w.])/(home|Users|root|work|mnt|tmp)/\w+|index-url|extra-index|simple/? registry"
        r"|https?://[^\s/\"']*(artifactory|nexus|proxy|mirror|devpi)[^\s/\"']*"
    )
    found = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue
        if path != Path(__file__).resolve():
            found += [f"{path.relative_to(ROOT)}: {hit.group()}" for hit in machine.finditer(text)]
    assert found == []


def test_every_kind_of_study_has_the_same_files_and_the_contract_knows_it() -> None:
    from vlbias.studies import KINDS

    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (apart,) = (c["modules"] for c in contracts["contracts"] if "kinds of study" in c["name"])
    assert set(apart) == {f"vlbias.studies.{name}" for name in KINDS}
    for name in KINDS:
        folder = ROOT / "vlbias" / "studies" / name
        there = {path.stem for path in folder.iterdir()}
        assert {"study", "plan", "work", "numbers", "figures", "page"} <= there, name


def test_one_place_decides_what_kind_a_study_is() -> None:
    asks = re.compile(r"isinstance\([^)]*Study\)|\"kind\"")
    rooms = ROOT / "vlbias" / "studies"
    outside = [path for path in SOURCES if rooms not in path.parents]
    found = [path.relative_to(ROOT).as_posix() for path in outside if asks.search(path.read_text())]
    # a message names the kind whose key is unknown; nothing is decided there
    assert found == ["vlbias/runs/study.py"]
