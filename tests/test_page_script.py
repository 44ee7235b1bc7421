"""The script of a page in a real browser: tables sort, filter and copy; figures tell their values."""

from __future__ import annotations

import html as escapes
import json
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from vlbias import report
from vlbias.report.tables import html

BROWSER = next(
    (found for name in ("chromium", "google-chrome") if (found := shutil.which(name))), None
)
SCRIPT = (Path(report.__file__).parent / "templates" / "page.js.j2").read_text()
FRAME = pd.DataFrame(
    {
        "name": ["beta", "alpha x", "gamma </script>", "delta x", "e", "f"],
        "value": [2.0, 1e-12, float("nan"), -3.0, 5.0, 6.0],
    }
)
BODY = (
    f'<div class="scroll" aria-label="a title">{html(FRAME, "a title")}</div><figure>'
    '<div class="drawing" tabindex="0" role="img" aria-label="two points"><svg width="90" height="90">'
    '<circle cx="20" cy="20" r="5"><title>first\n+1.0</title></circle>'
    '<circle cx="60" cy="20" r="5"><title>second\n-1.0</title></circle></svg></div>'
    '<p class="keys" hidden>keys</p></figure>'
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
document.execCommand = () => { said.copied = document.activeElement.value; return true; };
[...document.querySelectorAll("button")].find(one => one.textContent === "Copy as CSV").click();
const drawing = document.querySelector(".drawing"), told = [];
for (const key of ["ArrowRight", "ArrowRight", "Home"]) {
  drawing.dispatchEvent(new KeyboardEvent("keydown", {key}));
  told.push(document.querySelector(".tip").textContent);
}
said.told = told;
said.keys = !document.querySelector(".keys").hidden;
said.at = document.querySelectorAll(".at").length;
document.title = "PROBE " + JSON.stringify(said);
</script>"""


@pytest.mark.integration
@pytest.mark.skipif(BROWSER is None, reason="no chromium here")
def test_it_sorts_and_filters_in_a_browser(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(f"<!doctype html><body>{BODY}<script>{SCRIPT}</script>{PROBE}</body>")
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
    assert said["start"] == ["beta", "alpha x", gamma, "delta x", "e", "f"]
    assert said["up"] == ["delta x", "alpha x", "beta", "e", "f", gamma], (
        "what has no number is last"
    )
    assert said["down"] == ["f", "e", "beta", "alpha x", "delta x", gamma]
    assert said["aria"] == "ascending"
    assert said["names"] == ["alpha x", "beta", "delta x", "e", "f", gamma]
    assert said["filtered"] == ["alpha x"]
    assert said["count"] == "1 of 6 rows"
    assert said["copied"] == '"condition","value"\n"alpha x","1.0e-12"', (
        "what is filtered out is not copied"
    )
    assert said["told"] == ["first\n+1.0", "second\n-1.0", "first\n+1.0"]
    assert (said["keys"], said["at"]) == (True, 1)
