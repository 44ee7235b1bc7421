"""The page in a real browser, where there is one: no console error, no request, nothing too wide."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from vlbias.studies.reporting import report

BROWSER = next(
    (found for name in ("chromium", "google-chrome") if (found := shutil.which(name))), None
)
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(BROWSER is None, reason="no chromium here"),
]
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars", "--enable-logging=stderr", "--v=0",
)  # fmt: skip
PROBE = """<script>
addEventListener("load", () => {
  const root = document.documentElement;
  const seen = performance.getEntriesByType("resource").length;
  const ink = getComputedStyle(document.querySelector(".drawing svg text")).fill;
  const paper = getComputedStyle(document.body).backgroundColor;
  document.title = `PROBE ${root.scrollWidth} ${innerWidth} ${seen} ${ink} ${paper}`;
});
</script></body>"""


@pytest.fixture(scope="module")
def page(toy_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    written = report(toy_folder, tmp_path_factory.mktemp("page"), draws=50).html
    probed = written.with_name("probed.html")
    probed.write_text(written.read_text().replace("</body>", PROBE))
    return probed


def opened(page: Path, width: int, profile: Path, *options: str) -> tuple[list[str], str]:
    """The numbers that the probe read, and what the browser logged."""
    answer = subprocess.run(
        [str(BROWSER), *FLAGS, *options, f"--user-data-dir={profile}",
         f"--window-size={width},900", "--dump-dom", f"file://{page}"],
        capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    found = re.search(r"<title>PROBE (\d+) (\d+) (\d+) (rgb\(.*?\)) (rgb\(.*?\))", answer.stdout)
    assert found, answer.stderr[-2000:]
    return list(found.groups()), answer.stderr


@pytest.mark.parametrize("width", [1280, 500, 400])
def test_renders_without_errors_or_requests_and_fits(
    page: Path, width: int, tmp_path: Path
) -> None:
    (wide, inner, requests, *_), log = opened(page, width, tmp_path / "profile")
    assert "CONSOLE" not in log, log
    assert int(requests) == 0
    assert int(wide) <= int(inner), "only tables and figures may scroll, each in its own box"


def test_figures_follow_the_dark_scheme(page: Path, tmp_path: Path) -> None:
    light, dark = (
        opened(page, 1280, tmp_path / str(scheme),
               f"--blink-settings=preferredColorScheme={scheme}")[0][3:]
        for scheme in (1, 0)
    )  # fmt: skip
    for ink, paper in (light, dark):
        assert _contrast(ink, paper) > 7, (ink, paper)
    assert light[1] != dark[1]


def _contrast(first: str, second: str) -> float:
    """The contrast ratio of WCAG 2.2 of two colours as a browser writes them."""
    bright, dim = sorted((_luminance(colour) for colour in (first, second)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
