"""Tables that can be sorted and filtered: readable without a script, and working in a real browser."""

from __future__ import annotations

import html as escapes
import json
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from vlbias.report.sortable import sortable
from vlbias.report.tables import html

BROWSER = next(
    (found for name in ("chromium", "google-chrome") if (found := shutil.which(name))), None
)
FRAME = pd.DataFrame(
    {
        "name": ["beta", "alpha x", "gamma </script>", "delta x"],
        "value": [2.0, 1e-12, float("nan"), -3.0],
    }
)
PROBE = """<script>
const rows = () => [...document.querySelectorAll("tbody tr")].filter(row => !row.hidden)
  .map(row => row.cells[0].textContent);
const heads = [...document.querySelectorAll("th button")], said = {start: rows()};
heads[1].click(); said.up = rows(); said.aria = heads[1].parentElement.getAttribute("aria-sort");
heads[1].click(); said.down = rows();
heads[0].click(); said.names = rows();
const field = document.querySelector("input");
field.value = "X alp"; field.dispatchEvent(new Event("input")); said.filtered = rows();
said.count = document.querySelector("output").textContent;
document.title = "PROBE " + JSON.stringify(said);
</script>"""


def test_the_table_is_the_plain_one_and_cells_are_escaped() -> None:
    text = sortable(FRAME, "a <title>")
    assert html(FRAME, "a <title>") in text
    assert "gamma </script>" not in text
    assert text.count("<script>") == text.count("</script>") == 1
    assert "<p hidden><label>" in text, "without a script there is no field that does nothing"


def test_an_empty_table_has_no_rows_to_sort() -> None:
    assert "<p>None.</p>" in sortable(FRAME.iloc[:0], "empty")


@pytest.mark.integration
@pytest.mark.skipif(BROWSER is None, reason="no chromium here")
def test_it_sorts_and_filters_in_a_browser(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(f"<!doctype html><body>{sortable(FRAME, 'a title')}{PROBE}</body>")
    answer = subprocess.run(
        [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
         f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", f"file://{page}"],
        capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    found = re.search(r"<title>PROBE (.*?)</title>", answer.stdout)
    assert found, answer.stderr[-2000:]
    assert "CONSOLE" not in answer.stderr, answer.stderr
    said = json.loads(escapes.unescape(found[1]))
    gamma = "gamma </script>"
    assert said["start"] == ["beta", "alpha x", gamma, "delta x"]
    assert said["up"] == ["delta x", "alpha x", "beta", gamma], "what has no number is last"
    assert said["down"] == ["beta", "alpha x", "delta x", gamma]
    assert said["aria"] == "ascending"
    assert said["names"] == ["alpha x", "beta", "delta x", gamma]
    assert said["filtered"] == ["alpha x"]
    assert said["count"] == "1 of 4 rows"
