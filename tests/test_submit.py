"""Array jobs: scripts of four batch systems, run by a stand-in for the system, give one process's cells."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cohort_files import write_small
from commands import call, contents

from vlbias.errors import BadOption, BadTable
from vlbias.runs.batch_system import SYSTEMS, array_script, submit, tasks_for
from vlbias.store.run_folder import Run
from vlbias.store.sessions import read_sessions

TASK = "#!/bin/sh\nfor i in {numbers}; do {variable}=$i sh $1 > {log}/$i 2>&1 || exit 1; done\necho 'job 7'\n"


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Makes a program of a name that runs a script's tasks one after the other, as its system would."""

    def make(name: str, text: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    return make


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_tasks_of_a_script_own_all_cells_once(system: str, tmp_path: Path) -> None:
    chosen = SYSTEMS[system]
    text = array_script(chosen, ["echo"], name="n", tasks=3, logs=tmp_path, minutes=90)
    said = [
        subprocess.run(
            ["sh"], input=text, env={chosen.index: str(chosen.first + task)},
            capture_output=True, text=True, check=True,
        ).stdout
        for task in range(3)
    ]  # fmt: skip
    assert said == [f"--shard {task}/3\n" for task in range(3)]
    heads = [line for line in text.splitlines() if line.startswith(chosen.prefix + " ")]
    assert len(heads) >= 4
    assert any(re.search(rf"{chosen.first}-{chosen.first + 2}\b", line) for line in heads)
    assert any("1:30:00" in line or "=90" in line or "-W 90" in line for line in heads)


def test_tasks_take_the_time_that_was_asked_for() -> None:
    assert tasks_for(cells=100, seconds=60, setup=0, minutes=10) == 10
    assert tasks_for(cells=100, seconds=60, setup=300, minutes=10) == 20
    assert tasks_for(cells=5, seconds=3600, setup=10, minutes=1) == 5
    assert tasks_for(cells=5, seconds=0.1, setup=10, minutes=1) == 1


@pytest.mark.integration
def test_a_submitted_study_has_the_cells_of_one_process(
    tmp_path: Path, stand_in: Callable[[str, str], None]
) -> None:
    study = write_small(tmp_path / "small", patients=2000)
    stand_in("sbatch", TASK.format(numbers="0 1", variable="SLURM_ARRAY_TASK_ID", log=tmp_path))
    found = call("submit", study, "--array", 2, "--go", "-o", tmp_path / "runs")
    assert found.exit_code == 0, found.exception
    assert "job 7" in found.output
    folder = tmp_path / "runs" / "small"
    assert Run(folder).missing == []
    assert len(read_sessions(folder)) == 2
    assert call("run", study, "-o", tmp_path / "alone").exit_code == 0
    assert contents(folder / "cells") == contents(tmp_path / "alone" / "small" / "cells")


@pytest.mark.integration
def test_tasks_are_sized_by_cells_that_are_kept(tmp_path: Path) -> None:
    study = write_small(tmp_path / "small", patients=2000)
    found = call("submit", study, "--minutes", 0.001, "-o", tmp_path / "runs")
    assert found.exit_code == 0, found.exception
    run = Run(tmp_path / "runs" / "small")
    cells = len(run.manifest["cells"])
    assert 2 <= len(run.files) <= 3 < cells
    assert f"{cells} cells in {cells} tasks" in found.output
    script = (tmp_path / "runs" / "small.slurm.sh").read_text()
    assert f"--array=0-{cells - 1}" in script
    assert "submit it: sbatch" in found.output


def test_what_cannot_be_submitted_is_named(
    tmp_path: Path, stand_in: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "a.sh"
    script.write_text("")
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        with pytest.raises(BadOption, match="a machine with sbatch"):
            submit(SYSTEMS["slurm"], script)
    stand_in("sbatch", "#!/bin/sh\necho 'invalid partition' >&2\nexit 1\n")
    with pytest.raises(BadTable, match="invalid partition"):
        submit(SYSTEMS["slurm"], script)
    for options, said in (
        (("--array", 0), "at least one task"),
        (("--minutes", 0), "more than 0"),
        (("--system", "slurn"), "Did you mean 'slurm'"),
        (("-o", tmp_path / "a b"), "without blanks"),
    ):
        assert said in str(call("submit", "study.toml", *options).exception)
