"""The page under axe-core in Chromium: no violation, light and dark, wide and narrow.

Needs axe-core, which is no part of the project: `npm install axe-core` in the folder of the repository, or
the path of its axe.min.js in VLBIAS_AXE.
"""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from vlbias.studies.reporting import report

ROOT = Path(__file__).resolve().parents[1]
AXE = Path(os.environ.get("VLBIAS_AXE", ROOT / "node_modules" / "axe-core" / "axe.min.js"))
BROWSER = next(
    (found for name in ("chromium", "google-chrome") if (found := shutil.which(name))), None
)
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(BROWSER is None, reason="no chromium here"),
    pytest.mark.skipif(not AXE.is_file(), reason="no axe-core here: npm install axe-core"),
]
RUN = """<script>
addEventListener("load", () => {
  document.querySelectorAll("details").forEach(fold => { fold.open = true; });
  axe.run(document, {resultTypes: ["violations"]}).then(found => {
    const told = found.violations.map(one => ({
      id: one.id, help: one.help, count: one.nodes.length, node: one.nodes[0].html.slice(0, 200),
      why: one.nodes[0].failureSummary,
    }));
    document.title = "AXE " + JSON.stringify({told, passes: found.passes.length});
  });
});
</script></body>"""


@pytest.fixture(scope="module", params=[1, 2], ids=["one run", "two runs"])
def page(
    request: pytest.FixtureRequest, toy_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("page")
    runs = [toy_folder, shutil.copytree(toy_folder, folder / "again")][: request.param]
    written = report(runs, folder / "page", draws=50).html
    probed = written.with_name("probed.html")
    script = f"<script>{AXE.read_text(encoding='utf-8')}</script>{RUN}"
    probed.write_text(written.read_text().replace("</body>", script))
    return probed


@pytest.mark.parametrize(
    ("width", "scheme"), [(1280, 1), (400, 0)], ids=["wide light", "narrow dark"]
)
def test_axe_finds_nothing(page: Path, width: int, scheme: int, tmp_path: Path) -> None:
    answer = subprocess.run(
        [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
         f"--blink-settings=preferredColorScheme={scheme}", f"--user-data-dir={tmp_path}",
         f"--window-size={width},900", "--virtual-time-budget=60000", "--dump-dom", f"file://{page}"],
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    found = re.search(r"<title>AXE (.*?)</title>", answer.stdout)
    assert found, answer.stderr[-2000:]
    said = json.loads(html.unescape(found[1]))
    assert said["told"] == [], json.dumps(said["told"], indent=1)
    assert said["passes"] > 20
