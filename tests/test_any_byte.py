"""Any byte of any file of a run, changed: it is noticed by name, or no number of the report moves."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import said
from damaged_runs import RUNS, Damage, damages, restored, runs_files, tables_of
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from vlbias.errors import VlbiasError

OLD = Path(__file__).parent / "old_runs"
# shrinking would compute a report a hundred times
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
FEW = settings(
    max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), phases=PHASES
)
MANY = settings(FEW, max_examples=2000)
Finished = Callable[[str], tuple[Path, dict[str, bytes]]]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The finished run of a kind and its tables; every test puts back what it damages."""
    made: dict[str, tuple[Path, dict[str, bytes]]] = {}

    def run(kind: str) -> tuple[Path, dict[str, bytes]]:
        if kind not in made:
            folder = RUNS[kind](tmp_path_factory.mktemp(kind))
            made[kind] = folder, tables_of(folder)
        return made[kind]

    return run


def noticed_or_the_same(run: tuple[Path, dict[str, bytes]], which: int, damage: Damage) -> None:
    folder, before = run
    with restored(runs_files(folder), which, damage) as path:
        try:
            now = tables_of(folder)
        except VlbiasError as error:
            said(error)
            return
    moved = [name for name in before if now[name] != before[name]]
    assert not moved, f"{path.relative_to(folder)} after {damage}: {moved}"


@pytest.mark.integration
@pytest.mark.parametrize("kind", ["bias", "mitigation", "language"])
@FEW
@given(which=st.integers(0, 999), damage=damages)
def test_damage_is_noticed_or_moves_no_number(
    finished: Finished, kind: str, which: int, damage: Damage
) -> None:
    noticed_or_the_same(finished(kind), which, damage)


@pytest.mark.slow
@pytest.mark.parametrize("kind", RUNS)
@MANY
@given(which=st.integers(0, 999), damage=damages)
def test_any_of_much_damage_is_noticed_or_moves_no_number(
    finished: Finished, kind: str, which: int, damage: Damage
) -> None:
    noticed_or_the_same(finished(kind), which, damage)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("old")
    with zipfile.ZipFile(OLD / "photos.zip") as archive:
        archive.extractall(root)
    return root / "run"


@pytest.mark.integration
@settings(FEW, max_examples=20)
@given(which=st.integers(0, 999), damage=damages)
def test_folders_without_checksums_are_read_or_refused_by_name(
    old: Path, which: int, damage: Damage
) -> None:
    with restored(runs_files(old), which, damage):
        try:
            tables_of(old)
        except VlbiasError as error:
            said(error)
