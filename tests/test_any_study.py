"""Any TOML is a study, or is refused by name: by `load_study`, by `check`, and by the plan of a run."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import said
from hypothesis import HealthCheck, Phase, given, settings
from study_texts import STUDIES, study_texts, toml_of, write_data

from vlbias.errors import VlbiasError
from vlbias.studies import KINDS
from vlbias.studies.check_study import diagnose
from vlbias.studies.lifecycle import load_study, make_plan


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("studies")
    write_data(root)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    # a device that is read without end shall fail here, not take the machine
    resource.setrlimit(resource.RLIMIT_AS, (64 << 30, limits[1]))
    yield root
    resource.setrlimit(resource.RLIMIT_AS, limits)


def read_or_named(folder: Path, text: str) -> None:
    """A study that can be written down and read again, or an error that says what is wrong."""
    path = folder / "study.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    remarks = [remark.text for remark in diagnose(path)]
    assert all(remarks), "a remark that says nothing"
    try:
        study = load_study(path)
    except VlbiasError as error:
        said(error)
        return
    kept = json.loads(json.dumps(study.model_dump(mode="json"), allow_nan=False))
    assert KINDS[study.kind].study.restore(kept) == study
    try:
        make_plan(study)
    except VlbiasError as error:
        said(error)


@pytest.mark.parametrize("kind", STUDIES)
def test_the_studies_that_are_changed_are_read(folder: Path, kind: str) -> None:
    (folder / "study.toml").write_text(toml_of(STUDIES[kind]))
    assert load_study(folder / "study.toml").kind == kind
    read_or_named(folder, toml_of(STUDIES[kind]))


def test_mitigations_of_which_nothing_could_be_reported_are_wrong_before_the_run(
    folder: Path,
) -> None:
    for point, verdict in ({"min_negatives": 1, "min_events": 0}, "ok"), ({}, "wrong"):
        content = {**STUDIES["mitigation"], "operating_point": point}
        (folder / "study.toml").write_text(toml_of(content))
        found = {remark.about: remark for remark in diagnose(folder / "study.toml")}
        assert found["size"].verdict == verdict
    assert "nothing can be reported" in found["size"].text


# shrinking would compute a report a hundred times
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
FEW = settings(
    max_examples=80, deadline=None, suppress_health_check=list(HealthCheck), phases=PHASES
)


@FEW
@given(text=study_texts())
def test_any_toml_is_a_study_or_is_refused_by_name(folder: Path, text: str) -> None:
    read_or_named(folder, text)


@pytest.mark.slow
@settings(FEW, max_examples=2000)
@given(text=study_texts())
def test_any_of_many_tomls_is_a_study_or_is_refused_by_name(folder: Path, text: str) -> None:
    read_or_named(folder, text)
