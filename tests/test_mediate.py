"""`vb.mediate`: one call on a frame, with a graph or covariates, and readable answers."""

from __future__ import annotations

from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
import pytest

import vlbias as vb
from vlbias.data.graph import CausalGraph
from vlbias.errors import BadData, BadOption, BadTable, UnknownName
from vlbias.models.tabular import Tabular

PAIRS = [("ill", "drug"), ("ill", "later"), ("frail", "ill"), ("frail", "drug"), ("frail", "later")]
NAMES = {"exposure": "ill", "mediator": "drug", "outcome": "later"}


def frame(n: int = 2000, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    c = rng.random(n) < 0.3
    a = rng.random(n) < 0.2 + 0.3 * c
    m = rng.random(n) < 0.1 + 0.5 * a + 0.2 * c
    y = rng.random(n) < 0.1 + 0.1 * a + 0.2 * m + 0.2 * c
    place = rng.integers(0, 40, n)
    return pd.DataFrame({"ill": a, "drug": m, "later": y, "frail": c, "practice": place}).astype(
        int
    )


def test_a_graph_chooses_what_is_adjusted_for_and_says_why() -> None:
    found = vb.mediate(frame(), **NAMES, graph=PAIRS)
    assert found.covariates == ("frail",)
    assert found.adjustment.reasons == {"frail": "causes exposure and mediator and outcome"}
    assert found.effects == "natural"
    acme = found.frame.set_index("effect").loc["ACME"]
    assert acme["lo"] < 0.5 * 0.2 < acme["hi"]
    text = repr(found)
    assert text.startswith("ill → drug → later, 2000 rows\nadjusted for frail; identified by")
    assert f"ACME  {acme['estimate']:+.4f}" in text
    assert "share mediated" in text


def test_every_form_of_a_graph_gives_the_same(tmp_path: Path) -> None:
    rows = [(cause, "causes", effect) for cause, effect in PAIRS]
    path = tmp_path / "graph.tsv"
    lines = ["source\trelation\ttarget", *("\t".join(row) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    csv = tmp_path / "frame.csv"
    frame().to_csv(csv, index=False)
    first = vb.mediate(frame(), **NAMES, covariates=["frail"])
    assert first.adjustment is None
    for graph in (PAIRS, nx.DiGraph(PAIRS), CausalGraph.of(rows), path, str(path)):
        other = vb.mediate(csv, **NAMES, graph=graph)
        pd.testing.assert_frame_equal(other.frame, first.frame)


def test_missing_values_are_counted() -> None:
    table = frame().astype(float)
    table.loc[:9, "frail"] = np.nan
    for options in ({"graph": PAIRS}, {"covariates": ["frail"]}):
        found = vb.mediate(table, **NAMES, **options)
        assert (found.n, dict(found.left_out)) == (1990, {"missing values": 10})
        assert "left out: 10 (missing values)" in repr(found)


def test_intermediate_confounding_gives_interventional_effects() -> None:
    table = frame()
    rng = np.random.default_rng(1)
    table["pain"] = (rng.random(2000) < 0.2 + 0.4 * table["ill"]).astype(int)
    edges = [*PAIRS, ("ill", "pain"), ("pain", "drug"), ("pain", "later")]
    found = vb.mediate(table, **NAMES, graph=edges)
    assert (found.effects, found.four.direct) == ("interventional", ("pain",))
    assert "ill → drug → later" in repr(found)
    assert "interventional effects are given instead" in repr(found)


def test_chains_clusters_levels_and_the_model() -> None:
    table = frame()
    rng = np.random.default_rng(2)
    table["dose"] = 1 + table["drug"] + rng.normal(size=2000)
    found = vb.mediate(
        table, exposure="ill", mediator=["drug", "dose"], outcome="later", covariates=["frail"],
        cluster="practice",
    )  # fmt: skip
    assert [one.name for one in found.four.equations] == ["drug", "dose", "later"]
    assert isinstance(found.model(), Tabular)
    plain = vb.mediate(table, **NAMES, covariates=["frail"])
    clustered = vb.mediate(table, **NAMES, covariates=["frail"], cluster="practice")
    assert plain.frame["estimate"].tolist() == pytest.approx(clustered.frame["estimate"].tolist())
    assert plain.frame["se"].tolist() != clustered.frame["se"].tolist()
    dose = {"exposure": "dose", "mediator": "drug", "outcome": "later"}
    one, two = (
        vb.mediate(table, **dose, covariates=[], levels=levels, interaction=False)
        for levels in ((0.0, 1.0), (0.0, 2.0))
    )
    assert abs(two.frame["estimate"][2]) > abs(one.frame["estimate"][2])


def test_the_plot_shows_every_effect() -> None:
    figure = vb.mediate(frame(), **NAMES, graph=PAIRS).plot()
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels[:3] == ["ACME", "ADE", "TE"]


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({}, BadOption, "either a graph or covariates"),
        ({"graph": PAIRS, "covariates": []}, BadOption, "either a graph or covariates"),
        ({"covariates": ["frial"]}, UnknownName, "frial"),
        ({"graph": PAIRS, "cluster": "practise"}, UnknownName, "practise"),
        ({"graph": [("a", "b")]}, BadData, "share no name"),
        ({"graph": [*PAIRS, ("later", "ill")]}, BadData, "cycle"),
        ({"graph": "nothing.tsv"}, BadData, "nothing.tsv is no file"),
    ],
)
def test_bad_options_are_named(
    options: dict[str, object], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        vb.mediate(frame(), **NAMES, **options)


def test_bad_frames_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadTable, match="10 rows are too few"):
        vb.mediate(frame(10), **NAMES, graph=PAIRS)
    with pytest.raises(BadData, match="must hold numbers"):
        vb.mediate(frame().assign(later="yes"), **NAMES, graph=PAIRS)
    with pytest.raises(BadTable, match="'later' is 1 in every row"):
        vb.mediate(frame().assign(later=1), **NAMES, graph=PAIRS)
    with pytest.raises(BadData, match="is no file"):
        vb.mediate(tmp_path / "no.csv", **NAMES, graph=PAIRS)
    with pytest.raises(BadOption, match="one mediator with a graph"):
        vb.mediate(
            frame(), exposure="ill", mediator=["drug", "frail"], outcome="later", graph=PAIRS
        )
