from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from huggingface_hub import utils as hub
from transformers import SiglipTextConfig
from transformers.utils import logging as theirs
from typer.testing import CliRunner

from vlbias import cli
from vlbias.models import load_model
from vlbias.progress import loading_quietly, watched
from vlbias.runs.events import Countdown

LOGGER = logging.getLogger("transformers.configuration_utils")


@pytest.fixture
def heard(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> Iterator[pytest.LogCaptureFixture]:
    """What transformers logs: it hands its records to nobody else, and repeats no warning."""
    # other tests' libraries may have left it less talkative
    caplog.set_level(logging.WARNING, LOGGER.name)
    monkeypatch.setattr(LOGGER, "disabled", False)
    monkeypatch.setattr(logging.root.manager, "disable", 0)
    LOGGER.addHandler(caplog.handler)
    LOGGER.warning_once.cache_clear()  # type: ignore[attr-defined]
    yield caplog
    LOGGER.removeHandler(caplog.handler)


def test_bars_and_the_word_on_defaults_are_silent_for_a_while(
    heard: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    assert theirs.is_progress_bar_enabled()
    with loading_quietly():
        assert not theirs.is_progress_bar_enabled()
        assert not hub.are_progress_bars_disabled(), "downloads keep their bars"
        SiglipTextConfig()
        load_model("planted-dual-image")
    assert heard.messages == []
    assert "Loading weights" not in capfd.readouterr().err
    assert theirs.is_progress_bar_enabled()
    LOGGER.warning_once.cache_clear()  # type: ignore[attr-defined]
    SiglipTextConfig()
    assert any("got 49406" in said for said in heard.messages), "one who imports vlbias hears it"


def test_other_warnings_are_heard(heard: pytest.LogCaptureFixture) -> None:
    with loading_quietly():
        SiglipTextConfig(vocab_size=46, bos_token_id=99, eos_token_id=1, pad_token_id=0)
    assert any("got 99" in said for said in heard.messages)


def test_all_is_restored_after_an_error(heard: pytest.LogCaptureFixture) -> None:
    filters = list(LOGGER.filters)
    with pytest.raises(ValueError, match="broken"), loading_quietly():
        raise ValueError("broken")
    assert theirs.is_progress_bar_enabled()
    assert LOGGER.filters == filters


def test_bars_that_were_off_stay_off() -> None:
    theirs.disable_progress_bar()
    try:
        with loading_quietly():
            assert hub.are_progress_bars_disabled()
        assert not theirs.is_progress_bar_enabled()
    finally:
        theirs.enable_progress_bar()


@pytest.mark.parametrize("command", [["list", "mediators"], ["check"]])
def test_commands_print_nothing_of_their_own(
    command: list[str], model_folder: Callable[[str], Path], capfd: pytest.CaptureFixture[str]
) -> None:
    LOGGER.warning_once.cache_clear()  # type: ignore[attr-defined]
    folder = str(model_folder("siglip"))
    capfd.readouterr()
    result = CliRunner().invoke(cli.app, [*command, folder])
    assert result.exit_code == 0, result.output
    shown = result.output + capfd.readouterr().err
    assert "Loading weights" not in shown
    assert "bos_token_id" not in shown


@pytest.mark.parametrize("seconds", [[10.0, 50.0], [40.0, 40.0], [1.0, 3.0]])
def test_the_time_left_is_steady_though_cells_differ(
    seconds: list[float], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now, cells = 0.0, 20
    for clock in ("rich.console.monotonic", "vlbias.progress.monotonic"):
        monkeypatch.setattr(clock, lambda: now)
    with watched() as (events, _):
        for done in range(1, cells + 1):
            now += seconds[done % 2]
            events.cells(done, cells, 1)
    left = {
        int(done): float(said)
        for done, said in re.findall(r"cell (\d+)/\d+, about (\d+) s left", capsys.readouterr().err)
    }
    mean = sum(seconds) / 2
    said = sorted(left)
    assert said[-1] == cells
    waits = [(later - done) * mean for done, later in pairwise(said)]
    assert max(waits) <= max(mean, 5 + max(seconds)), "a line a cell, or every five seconds"
    assert sorted(waits)[1] >= min(mean, 5), "and no more; the last one is always said"
    off = [left[done] / (mean * (cells - done)) - 1 for done in left if 5 <= done < cells]
    assert max(map(abs, off)) < 0.25


def test_a_countdown_says_now_and_then_how_long_the_rest_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr("vlbias.runs.events.time.monotonic", lambda: now[0])
    said: list[str] = []
    countdown = Countdown(said.append, 8, "heads")
    for what in ("first", "second"):
        for _ in countdown.over(range(4), what):
            now[0] += 2
    assert said == [
        "first: 3 of 8 heads, about 10 s left",
        "second: 6 of 8 heads, about 4 s left",
    ]
