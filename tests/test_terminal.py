"""Names from files on the terminal: letters, and nothing that steers it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from vlbias import cli
from vlbias.progress import printable, watched

STEERING = "\x1b[2J\x07\r\x9b31m\u202egnp.\u2028\ud800"


def test_control_characters_are_written_as_escapes() -> None:
    said = printable(f"a{STEERING}b\n\tc é漢😀\u200d")
    assert said == ("a\\x1b[2J\\x07\\r\\x9b31m\\u202egnp.\\u2028\\ud800b\n\tc é漢😀\u200d")
    assert printable(said) == said


def test_errors_of_a_command_steer_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "argv", ["vlbias", "report", f"{tmp_path}/\x1b[31mrun\x07"])
    with pytest.raises(SystemExit):
        cli.main()
    said = capsys.readouterr().err
    assert "\\x1b[31mrun\\x07" in said
    assert said == printable(said)


def test_what_a_job_says_steers_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with watched() as (events, say):
        events.note(f"reading {STEERING}")
        say(f"group {STEERING}: 3")
    said = capsys.readouterr().err
    assert "reading \\x1b[2J" in said
    assert "group \\x1b[2J" in said
    assert not re.search("[\x07\x9b\u202e\u2028]", said)


def test_commands_print_through_one_place() -> None:
    for path in Path(cli.__file__).parent.glob("*.py"):
        printed = re.findall(r"(?<![.\w])(?:typer\.echo|print)\(\w*", path.read_text())
        allowed = {"typer.echo(printable"} if path.name == "output.py" else {"print(printable"}
        assert set(printed) <= allowed, path.name
