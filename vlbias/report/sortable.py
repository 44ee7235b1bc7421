"""A table that a reader can sort and filter, by a small script inside the page; readable without it."""

from __future__ import annotations

from html import escape

import pandas as pd

from vlbias.report.tables import html

__all__ = ["sortable"]

_SCRIPT = """
(() => {
  const root = document.currentScript.parentElement;
  const table = root.querySelector("table"), search = root.querySelector("input");
  if (!table) return;
  const body = table.tBodies[0], rows = [...body.rows], count = root.querySelector("output");
  const value = (row, column) => row.cells[column].textContent.trim();
  const filter = () => {
    const words = search.value.toLowerCase().split(/\\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every(word => text.includes(word));
      shown += !row.hidden;
    }
    count.textContent = `${shown} of ${rows.length} rows`;
  };
  const sort = (head, column) => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const texts = rows.map(row => value(row, column));
    const numeric = texts.every(text => text === "–" || text !== "" && !isNaN(text));
    const key = new Map(rows.map((row, i) => [row, numeric ? parseFloat(texts[i]) : texts[i]]));
    const compare = (a, b) => numeric ? a - b : a.localeCompare(b, undefined, {numeric: true});
    rows.sort((a, b) => {
      const x = key.get(a), y = key.get(b);
      if (numeric && (isNaN(x) || isNaN(y))) return isNaN(x) - isNaN(y);
      return up ? compare(x, y) : compare(y, x);
    });
    body.append(...rows);
  };
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.style.cssText = "font:inherit;color:inherit;background:none;border:0;padding:0;cursor:pointer";
    button.title = "sort by this column";
    button.addEventListener("click", () => sort(head, column));
    head.append(button);
  });
  search.addEventListener("input", filter);
  root.querySelector("p").hidden = false;
  filter();
})();
"""


def sortable(frame: pd.DataFrame, caption: str) -> str:
    """The frame as an HTML table with a field that filters its rows and heads that sort it.

    Args:
        frame: What is shown.
        caption: What the table is called by those who do not see where it stands.
    """
    label = escape(f"Filter: {caption}")
    return (
        '<div class="sortable"><p hidden><label>Filter rows: <input type="search" '
        f'aria-label="{label}"></label> <output></output></p>'
        f"{html(frame, caption)}<script>{_SCRIPT}</script></div>"
    )
