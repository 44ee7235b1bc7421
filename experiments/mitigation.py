"""Runs a study of mitigations, writes its page, and prints its table as Markdown.

    python experiments/mitigation.py experiments/coco_people_mitigation.toml

Killed at any moment, the same command goes on where it was. `--dry-run` estimates the time.
"""

from __future__ import annotations

from script import finished, main_of, markdown, options, table

from vlbias.studies.mitigation.page.tables import ablation_table, summary_table


def main() -> None:
    """The study of the command line."""
    page = finished(options(__doc__, "coco_people_mitigation.toml").parse_args())
    if page is None:
        return
    verdicts = table(page, "verdicts")
    verdicts["varied"] = verdicts["varied"].astype(object).fillna("")
    tables = (markdown(part(verdicts)) for part in (summary_table, ablation_table))
    print(page.summary, *tables, sep="\n\n")


if __name__ == "__main__":
    main_of(main)
