"""A study of a cohort: from files to page, resumed, with every bad input named before work begins."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from cohort_files import write_small
from commands import call
from explained import Heads, unexplained
from typer.testing import CliRunner

from vlbias import cli
from vlbias.errors import BadData, BadStudy, UnknownName, VlbiasError
from vlbias.runs.events import Events
from vlbias.store.run_folder import Run
from vlbias.studies import lifecycle
from vlbias.studies.check_study import diagnose
from vlbias.studies.cohort import claims
from vlbias.studies.cohort.numbers import numbers
from vlbias.studies.kind import Kind
from vlbias.studies.reporting import report

KIND = Kind("cohort", "")


def tables_of(folder: Path) -> dict[str, pd.DataFrame]:
    found = numbers(Run(folder))
    return {name: getattr(found, name) for name in found.__dataclass_fields__}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small(tmp_path_factory.mktemp("cohort") / "small")


@pytest.fixture(scope="module")
def folder(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished run; stopped after its first cell, and resumed."""
    out = tmp_path_factory.mktemp("runs")

    def stop(done: int, total: int, _: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    plan = lifecycle.make_plan(lifecycle.load_study(study))
    with pytest.raises(KeyboardInterrupt):
        lifecycle.run_plan(plan, out, workers=1, events=Events(cells=stop))
    kept = {path.name: path.stat().st_mtime_ns for path in (out / "small/cells").glob("*.json")}
    assert len(kept) == 1
    result = lifecycle.run_plan(plan, out, workers=2)
    assert (result.skipped, result.failed) == (1, ())
    after = {path.name: path.stat().st_mtime_ns for path in (out / "small/cells").glob("*.json")}
    assert kept.items() <= after.items()
    return result.folder


def test_a_resumed_run_has_the_tables_of_an_uninterrupted_one(
    folder: Path, study: Path, tmp_path: Path
) -> None:
    other = lifecycle.run(study, tmp_path).folder
    for name, frame in tables_of(other).items():
        pd.testing.assert_frame_equal(frame, tables_of(folder)[name])


def test_effects_add_up_and_lie_near_the_truth(folder: Path, study: Path) -> None:
    triples = tables_of(folder)["triples"]
    total = triples["TE"]
    for parts in (("PNDE", "TNIE"), ("TNDE", "PNIE"), ("ACME", "ADE")):
        assert (total - sum(triples[part] for part in parts)).abs().max() < 1e-12
    truth = pd.read_csv(study.parent / "truth.tsv", sep="\t")
    both = triples.merge(truth, on=["exposure", "mediator", "outcome"], suffixes=("", "_true"))
    natural = both[both["effects"] == "natural"]
    assert len(natural) >= 6
    assert ((natural["ACME"] - natural["ACME_true"]).abs() < 4 * natural["ACME_se"]).all()
    between = both[both["effects"] == "interventional"]
    gap = (between["ACME"] - between["ACME_interventional"]).abs()
    assert len(between) >= 1
    assert (gap < 4 * between["ACME_se"]).all()


def test_intermediate_confounding_is_marked_with_its_reason(folder: Path) -> None:
    triples = tables_of(folder)["triples"]
    between = triples[triples["effects"] == "interventional"]
    assert not between["identified"].any()
    assert between["reason"].str.contains("interventional effects are given instead").all()
    assert (between["intermediate"] != "").all()


def test_controls_are_outside_the_family(folder: Path) -> None:
    tables = tables_of(folder)
    assert set(tables["controls"]["adjustment"]) == {"graph", "unadjusted"}
    assert tables["calibration"]["controls"].max() == len(tables["controls"]) / 2
    assert len(tables["effects"]) == 8 * (len(tables["triples"]) + len(tables["unadjusted"]))


def test_every_finding_of_the_page_is_a_claim_and_none_is_of_a_real_drug(folder: Path) -> None:
    run = Run(folder)
    section = KIND.section(run, numbers(run))
    names = {claim.name for claim in claims.CLAIMS}
    assert {sentence.claim for sentence in (section.headline, *section.readings)} <= names
    assert section.headline.startswith(
        "Simulated cohort, of which nothing follows for any real drug"
    )
    page = report(folder, folder.parent / "page").html.read_text()
    assert re.search(r"<h2 id=.run-1.>[^<]*: a simulated cohort of [0-9,]+ patients</h2>", page)
    assert "no model" not in page.partition("<main")[2].partition("</h2>")[0]
    text = re.sub(r"<(style|script).*?</\1>|<[^>]+>", " ", page, flags=re.DOTALL)
    assert "This cohort is simulated" in text
    for word in ("harmful", "is safe", "side effect of"):
        assert text.count(word) <= 1, "once, among what is not to be written"
    assert "src=" not in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_every_column_is_explained(folder: Path) -> None:
    page = report(folder, folder.parent / "columns")
    assert unexplained(page.tables) == set()
    assert Heads(page.html).codes() == set()


def test_check_list_and_dry_run_say_what_can_be_tested(study: Path, tmp_path: Path) -> None:
    assert [remark.verdict for remark in diagnose(study)] == ["ok", "ok", "ok", "ok"]
    listed = CliRunner().invoke(cli.app, ["list", "triples", str(study)])
    assert listed.exit_code == 0, listed.output
    assert "causes exposure" in listed.output
    assert "interventional effects are given instead" in listed.output
    dry = CliRunner().invoke(cli.app, ["run", str(study), "--dry-run", "-o", str(tmp_path)])
    assert "natural effects        identified in 8" in dry.output
    assert "estimated time" in dry.output


def test_init_writes_a_study_that_runs(tmp_path: Path) -> None:
    write_small(tmp_path / "data", events=True, patients=2000).unlink()
    (tmp_path / "data" / "truth.csv").unlink(missing_ok=True)
    begun = call("init", tmp_path / "data", "--kind", "cohort", "--out", tmp_path / "mine.toml")
    assert begun.exit_code == 0, begun.output
    assert "10 drugs" in begun.output
    assert call("check", tmp_path / "mine.toml").exit_code == 0
    ran = call("run", tmp_path / "mine.toml", "--out", tmp_path / "runs")
    assert ran.exit_code == 0, ran.output


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ((), "has no graph: a table with the columns source, relation and target"),
        (("graph.tsv",), "should have one table of patients beside the graph"),
        (("graph.tsv", "a.csv", "b.csv"), "found: a.csv, b.csv"),
    ],
)
def test_init_says_which_file_is_missing(tmp_path: Path, files: tuple[str, ...], said: str) -> None:
    for name in files:
        head = "source\trelation\ttarget\nA\tcauses-prescription\tD\nA\tcauses-onset\tB\n"
        (tmp_path / name).write_text(head if name == "graph.tsv" else "patient,A\n1,0\n")
    found = call("init", tmp_path, "--kind", "cohort", "--out", tmp_path / "mine.toml")
    assert said in str(found.exception)


def test_init_of_a_cohort_takes_no_model_and_one_of_photos_needs_one(tmp_path: Path) -> None:
    found = call("init", tmp_path, "--kind", "cohort", "--model", "toy")
    assert "no model: none is run" in str(found.exception)
    assert "a registered name, a hub name or a folder" in str(call("init", tmp_path).exception)


def test_events_give_a_study_too(tmp_path: Path) -> None:
    study = write_small(tmp_path / "dated", patients=2000, events=True)
    triples = tables_of(lifecycle.run(study, tmp_path / "runs").folder)["triples"]
    assert (triples["n"] <= 2000).all()
    assert len(triples) >= 5


def hand_made(folder: Path, cohort: str, graph: str, extra: str = "") -> Path:
    (folder / "cohort.csv").write_text(cohort)
    (folder / "graph.tsv").write_text(graph)
    path = folder / "study.toml"
    path.write_text(
        f'kind = "cohort"\nname = "hand"\n{extra}\n[cohort]\npath = "cohort.csv"\n[graph]\npath = "graph.tsv"\n'
    )
    return path


GRAPH = "\n".join(
    ("source\trelation\ttarget", "a\tcauses-prescription\tm", "a\tcauses-onset\ty",
     "c\tcauses-onset\ty", "c\tcauses-prescription\tm", "")
)  # fmt: skip
ROWS = [f"{n},{n % 2},{n % 3 % 2},{n % 5 % 2},{n % 7 % 2}" for n in range(200)]
COHORT = "patient,a,m,y,c\n" + "\n".join(ROWS) + "\n"


@pytest.mark.parametrize(
    ("cohort", "graph", "error", "said"),
    [
        (COHORT.replace("a,m,y,c", "q,r,s,t"), GRAPH, BadData, "share no code"),
        (COHORT.replace("a,m", "a,x"), GRAPH, BadData, "mediator is not in the cohort"),
        ("patient,a,m,y,c\n" + "\n".join(ROWS[:10]), GRAPH, BadData, "in too few patients"),
        (COHORT, GRAPH.replace("causes-onset", "worsens"), UnknownName, "type of edge"),
        (COHORT, GRAPH + "y\tcauses-onset\ta\n", BadData, "cycle among their causes"),
        (COHORT + ROWS[0] + "\n", GRAPH, BadData, "more than one row for 1 patients"),
        (COHORT, "source\trelation\ttarget\na\tis-a\tb\n", BadData, "no triple"),
    ],
)  # fmt: skip
def test_bad_input_is_named_before_work_begins(
    tmp_path: Path, cohort: str, graph: str, error: type[VlbiasError], said: str
) -> None:
    study = hand_made(tmp_path, cohort, graph)
    with pytest.raises(error, match=said):
        lifecycle.make_plan(lifecycle.load_study(study))


def test_bad_keys_are_named(tmp_path: Path) -> None:
    study = hand_made(tmp_path, COHORT, GRAPH)
    content = study.read_text()
    for old, new, said in (
        ('path = "cohort.csv"', 'path = "absent.csv"', "a file that exists"),
        ('path = "graph.tsv"', 'paths = "graph.tsv"', "no such key"),
        ('name = "hand"', 'name = "hand"\ntriples = "progresion"', "progression"),
    ):
        study.write_text(content.replace(old, new))
        with pytest.raises((BadStudy, UnknownName), match=said):
            lifecycle.load_study(study)


def test_check_names_codes_that_are_in_one_file_only(tmp_path: Path) -> None:
    graph = GRAPH + "a\tcauses-onset\tz\n"
    said = {
        remark.about + remark.verdict: remark.text
        for remark in diagnose(hand_made(tmp_path, COHORT.replace(",c\n", ",d\n", 1), graph))
    }
    notes = [
        remark.text for remark in diagnose(tmp_path / "study.toml") if remark.verdict == "note"
    ]
    assert notes[0].startswith("2 codes of the graph are not in the cohort: c, z;")
    assert notes[1].startswith("1 columns of the cohort are not in the graph: d;")
    assert said["wholeok"].startswith(
        "1 of 3 triples can be tested; vlbias list triples says why not"
    )


def test_constant_columns_missing_codes_and_separation_are_said(tmp_path: Path) -> None:
    """The covariate k is 1 for all, u is not in the cohort, and nobody without a has m."""
    rows = [f"{n},{n % 2},{(n % 2) * (n % 3 % 2)},{n % 5 % 2},{n % 7 % 2},1" for n in range(400)]
    graph = GRAPH + "k\tcauses-onset\ty\nu\tcauses-onset\ta\n"
    study = hand_made(tmp_path, "patient,a,m,y,c,k\n" + "\n".join(rows) + "\n", graph)
    row = tables_of(lifecycle.run(study, tmp_path / "runs").folder)["triples"].iloc[0]
    assert row["constant"] == "k"
    assert "u: not in the cohort" in row["dropped"]
    assert "Firth's penalised likelihood" in row["notes"]
    assert "0 patients without the exposure and with the mediator" in row["positivity"]
    assert not row["found"]


def test_a_folder_of_other_data_is_refused(folder: Path, study: Path, tmp_path: Path) -> None:
    changed = write_small(tmp_path / "small", patients=2000)
    with pytest.raises(VlbiasError, match="data changed since this run began"):
        lifecycle.run(changed, folder.parent)


def test_cells_are_json_and_say_what_was_done(folder: Path) -> None:
    rows = [row for path in Run(folder).files for row in json.loads(path.read_text())]
    assert all(row["status"] == "ok" for row in rows)
    adjusted = [row for row in rows if row["adjustment"] == "graph" and row["covariates"]]
    assert all(row["why"] for row in adjusted)
