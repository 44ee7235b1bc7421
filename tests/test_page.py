"""What a page promises to those who read it: structure, words beside every figure, other formats."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from explained import HEADS as TOLD
from explained import Heads, unexplained
from matplotlib.figure import Figure

from vlbias.files import read_sealed, write_sealed
from vlbias.report.blocks import Section
from vlbias.report.columns import HEADS, headed
from vlbias.report.drawing import BLUE, numbered, svg
from vlbias.report.export import model_index
from vlbias.report.funnel import dropped, funnel
from vlbias.report.page import Page
from vlbias.report.tables import html, with_limits
from vlbias.store.run_folder import Run
from vlbias.studies.bias.figures import heads, objects
from vlbias.studies.bias.page import funnel_steps
from vlbias.studies.bias.sentences import bias_in_words
from vlbias.studies.photos.guidance import GIVEN_LIMIT, PERCEIVED_LIMIT
from vlbias.studies.photos.model_card import photo_metrics
from vlbias.studies.photos.run_comparison import compare
from vlbias.studies.reporting import report

pytestmark = pytest.mark.integration


class Outline(HTMLParser):
    """What assistive technology sees of a page: headings, ids, labels, links, tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.headings: list[int] = []
        self.ids: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append((tag, given))
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if given.get("id"):
            self.ids.append(str(given["id"]))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def folders(toy_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two finished runs: the second is the first under another name and with other photos."""
    first, second = toy_folder, tmp_path_factory.mktemp("second") / "again"
    shutil.copytree(first, second, ignore=shutil.ignore_patterns("report"))
    manifest = read_sealed(second / "manifest.json", of="manifest")
    manifest["study"]["name"] = "again"
    manifest["data"]["content_hash"] = "0" * 64
    write_sealed(second / "manifest.json", manifest, of="manifest")
    return [first, second]


@pytest.fixture(scope="module")
def page(folders: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Page:
    return report(folders, tmp_path_factory.mktemp("page"), draws=100)


@pytest.fixture(scope="module")
def outline(page: Page) -> Outline:
    return Outline(page.html.read_text())


def test_headings_go_down_one_step_at_a_time(outline: Outline) -> None:
    assert outline.headings[0] == 1
    assert outline.headings.count(1) == 1
    steps = np.diff(outline.headings)
    assert steps.max() == 1, outline.headings


def test_ids_are_unique_and_links_lead_somewhere(outline: Outline) -> None:
    assert len(outline.ids) == len(set(outline.ids))
    inside = [attrs["href"] for attrs in outline.of("a")]
    assert {str(link)[1:] for link in inside} <= set(outline.ids)
    assert "#content" in inside, "a link that skips the contents"


def test_every_figure_is_told_in_words(outline: Outline) -> None:
    drawings = [attrs for attrs in outline.of("div") if attrs.get("role") == "img"]
    assert len(drawings) == len(outline.of("svg")) > 10
    for attrs in drawings:
        label = str(attrs["aria-label"])
        assert re.search(r"\d", label), f"no number of the figure is told: {label}"
        assert "nan" not in label


def test_tables_name_their_rows_and_columns_and_scroll_on_their_own(outline: Outline) -> None:
    assert {attrs.get("scope") for attrs in outline.of("th")} == {"row", "col"}
    boxes = [attrs for attrs in outline.of("div") if attrs.get("class") == "scroll"]
    assert len(boxes) == len(outline.of("table"))
    for attrs in boxes:
        assert (attrs["tabindex"], attrs["role"]) == ("0", "region")
        assert attrs["aria-label"]


def test_columns_are_explained_and_heads_are_words(page: Page) -> None:
    assert unexplained(page.tables) == set()
    found = Heads(page.html)
    assert found.codes() == set()
    assert {"B, plug-in", "within the floor", "photos without it, masculine"} <= found.heads
    text = page.html.read_text()
    assert "<td>B, cross-fit</td>" in text, "quantities in rows have the page's names too"
    assert "<td>yes</td>" in text


def test_the_guide_to_the_tables_has_the_heads_of_the_page() -> None:
    assert {name for name, head in HEADS.items() if head not in TOLD[name]} == set()
    assert headed("mediator") == "mediator"


def test_light_dark_and_print(page: Page) -> None:
    text = page.html.read_text()
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    named = set(re.findall(r"var\((--[a-z0-9-]+)", text))
    defined = set(re.findall(r"(--[a-z0-9-]+):", text))
    assert named <= defined
    assert page.html.stat().st_size < 3e6


def test_a_figure_keeps_its_colours_behind_variables_and_drops_what_nothing_names() -> None:
    figure = Figure()
    axis = figure.subplots()
    axis.plot([0, 1], color=BLUE)
    axis.set_xlabel("words <& signs>")
    drawn = svg(figure)
    assert f"stroke: var(--series-0, {BLUE})" in drawn
    assert "words &lt;&amp; signs&gt;" in drawn, "text stays text"
    assert 'id="figure_1"' not in drawn
    for name in re.findall(r"url\(#([^)]+)\)", drawn):
        assert f'id="{name}"' in drawn
    other = numbered(drawn, 3)
    assert set(re.findall(r'id="([^"]+)"', other)) >= set(re.findall(r"url\(#([^)]+)\)", other))
    assert not set(re.findall(r'id="([^"]+)"', other)) & set(re.findall(r'id="([^"]+)"', drawn))
    assert drawn == svg(figure), "the same figure gives the same bytes"


def test_two_runs_stand_side_by_side(page: Page, folders: list[Path]) -> None:
    text = page.html.read_text()
    assert "Bias of the runs side by side" in text
    assert "The runs differ in photos" in text
    assert {path.name for path in page.tables.iterdir()} == {"toy", "again"}
    assert (
        report(folders[0], page.html.parent / "one", draws=50)
        .html.read_text()
        .count("side by side")
        == 0
    )


def test_regions_of_several_runs_have_names_of_their_own(page: Page) -> None:
    named = re.findall(r'role="region" aria-label="([^"]*)"', page.html.read_text())
    assert len(named) > 20
    assert len(set(named)) == len(named)


def test_runs_of_the_same_photos_are_said_to_be(folders: list[Path], page: Page) -> None:
    tables = _tables(page)
    blocks = compare([(Run(folders[0]), tables), (Run(folders[0]), tables)])
    assert "All runs share photos" in blocks[0].text


@dataclass
class _Tables:
    """The tables of a run that a comparison reads."""

    conditions: pd.DataFrame


def _tables(page: Page) -> _Tables:
    return _Tables(pd.read_csv(page.tables / "toy" / "conditions.csv"))


def test_the_json_says_what_the_page_says(page: Page) -> None:
    runs = json.loads(page.json.read_text())["runs"]
    assert [run["name"] for run in runs] == ["toy", "again"]
    shown = page.html.read_text()
    for run in runs:
        assert run["headline"].split(" B, the sum")[0].replace("'", "&#39;") in shown
        csv = pd.read_csv(page.tables / run["name"] / "conditions.csv")
        assert [row["B_plugin"] for row in run["tables"]["conditions"]] == pytest.approx(
            csv["B_plugin"].tolist(), abs=1e-12
        )
    assert len(runs[0]["tables"]) == len(list((page.tables / "toy").glob("*.csv")))


def test_the_model_card_is_what_the_hub_reads(page: Page) -> None:
    from huggingface_hub import ModelCard
    from huggingface_hub.repocard_data import model_index_to_eval_results

    card = ModelCard(page.card.read_text())
    index = {"model-index": card.data.to_dict()["model-index"]}
    name, results = model_index_to_eval_results(index["model-index"])
    assert name == "toy"
    found = {result.metric_type: result.metric_value for result in results}
    csv = pd.read_csv(page.tables / "toy" / "conditions.csv")
    assert found["gender-bias-crossfit"] == pytest.approx(csv["B_crossfit"].iloc[0])
    assert {result.dataset_type for result in results} == {"toy"}
    assert "## Bias" in card.text
    assert GIVEN_LIMIT in card.text
    assert PERCEIVED_LIMIT not in card.text


def test_a_run_without_a_metric_gives_no_index(folders: list[Path], page: Page) -> None:
    run, null = Run(folders[0]), _tables(page).conditions.iloc[0].copy()
    assert len(photo_metrics(run, null, "dev")) == 6
    null[["B_crossfit", "B_plugin", "floor", "p", "mean_fpr", "presence_mAP"]] = np.nan
    without = Section(
        bias_in_words(pd.Series({"status": "insufficient"})),
        [],
        [],
        metrics=photo_metrics(run, null, "dev"),
    )
    assert model_index([(run, without)]) == {}


def test_the_funnel_ends_with_what_is_reported(folders: list[Path]) -> None:
    run = Run(folders[0])
    run.manifest["data"]["meta"]["funnel"] = {
        "steps": {"images": 900, "kept": 700}, "groups": {}, "dropped": {"mixed": 150, "other": 50},
    }  # fmt: skip
    table = funnel(run, funnel_steps(run)).set_index("step")
    assert table["left"].tolist() == [900, 700, 600, 400]
    assert table["lost"].tolist() == [0, 200, 100, 200]
    assert table.index[-1] == "reported: test"
    assert dropped(run)["photos"].sum() == table.loc["kept", "lost"]


def test_a_table_escapes_what_a_name_holds() -> None:
    frame = pd.DataFrame({"name <b>": ["<script>", None], "x": [0.00001, 12.5]})
    text = html(frame, "a & b")
    assert "<script>" not in text
    assert "<caption>a &amp; b</caption>" in text
    assert text.count('<th scope="row">') == 2
    assert text.count('<th scope="col">') == 2
    assert ">1.0e-05<" in text
    assert html(frame.head(0)) == "<p>None.</p>"


def test_heat_maps_have_a_cell_for_every_head() -> None:
    rows = [
        {"contrast": "null->both", "functional": "B_lin", "effect": "NIE", "p_adjusted": 0.5,
         "estimate": layer - unit, "lo": -1.0, "hi": 1.0,
         "mediator": f"image_encoder/head.{layer}[{unit}]"}
        for layer in range(3) for unit in range(2)
    ]  # fmt: skip
    figure = heads(pd.DataFrame(rows), "null->both")
    cells = np.asarray(figure.axes[0].collections[0].get_array())
    assert cells.reshape(3, 2).tolist() == [[0, -1], [1, 0], [2, 1]]


def test_the_axis_of_objects_says_what_is_subtracted_from_what() -> None:
    table = pd.DataFrame(
        {"object": ["cup", "tie"], "status": "ok", "gap": [-0.2, 0.3], "lo": [-0.3, 0.2],
         "hi": [-0.1, 0.4], "p_max_t": [0.01, 0.8]}
    )  # fmt: skip
    (axis,) = objects(table, "rate of a minus that of b").axes
    assert axis.get_xlabel() == "rate of a minus that of b"
    assert [label.get_text() for label in axis.get_yticklabels()] == ["cup", "tie"]
    told = {text.get_text() for text in axis.get_legend().get_texts()}  # type: ignore[union-attr]
    assert told == {"does not survive correction over objects", "survives correction over objects"}


def test_an_estimate_without_limits_says_so() -> None:
    assert with_limits(pd.Series({"estimate": 1.0, "lo": np.nan, "hi": 1.0})).endswith("limits")
