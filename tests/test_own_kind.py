"""docs/own-kind.md: its kind of study is made from the page alone, run, resumed and reported."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import vlbias.studies
from vlbias import cli
from vlbias.studies import KINDS
from vlbias.studies.kind import Kind

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs/own-kind.md").read_text()


def code() -> dict[str, str]:
    """File name to the code of the page."""
    blocks = re.findall(r"^```python\n# (\S+)\n(.*?)^```$", PAGE, re.S | re.M)
    return dict(blocks)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The study of the page, with its kind in a folder beside those of the package."""
    files = code()
    folder = tmp_path / "kinds" / "letters"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    line = files.pop("KINDS")
    for name, text in files.items():
        (folder / name).write_text(text)
    places = [*vlbias.studies.__path__, str(folder.parent)]
    monkeypatch.setattr(vlbias.studies, "__path__", places)
    # the line of the page is the last expression of its block
    kind = eval(line.strip().splitlines()[-1], {"Kind": Kind})
    monkeypatch.setitem(KINDS, kind.name, kind)
    path = tmp_path / "three.toml"
    toml = re.search(r"^```toml\n(.*?)^```$", PAGE, re.S | re.M)
    assert toml is not None
    path.write_text(toml[1])
    return path


def vlb(*arguments: object) -> str:
    answer = CliRunner().invoke(cli.app, list(map(str, arguments)))
    assert answer.exit_code == 0, (answer.stdout, answer.exception)
    return answer.stdout


def test_the_code_of_the_page_is_short() -> None:
    lines = [line for text in code().values() for line in text.splitlines() if line.strip()]
    assert len(lines) <= 60


@pytest.mark.integration
def test_the_kind_of_the_page_runs_resumes_and_is_reported(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    assert "letters of words" in vlb("list", "kinds")
    assert "nothing is wrong" in vlb("check", study)
    assert "3 words" in vlb("run", study, "--out", out, "--dry-run")
    assert "3 cells computed, 0 were there" in vlb("run", study, "--out", out)
    first = next((out / "three/cells").glob("*.json"))
    first.unlink()
    assert "1 cells computed, 2 were there" in vlb("resume", out / "three")
    assert "tangerine has most letters: 9." in vlb("report", out / "three")
    table = (out / "three/report/tables/three/letters.csv").read_text()
    assert table == "word,letters\napple,5\nfig,3\ntangerine,9\n"


def test_a_key_of_another_kind_is_refused_by_the_name_of_that_kind(study: Path) -> None:
    study.write_text(study.read_text() + 'mediators = ["lm/mlp.*"]\n')
    answer = CliRunner().invoke(cli.app, ["run", str(study)])
    assert "kinds that have it: bias, language" in str(answer.exception)
