"""Sentences of the page of a run of texts: what was found, and how it is to be read."""

from __future__ import annotations

from vlbias.report.claims import Sentence
from vlbias.report.names import contrast_in_words
from vlbias.report.tables import with_limits
from vlbias.store.run_folder import Run
from vlbias.studies.language.claims import claim
from vlbias.studies.language.numbers import Tables

__all__ = ["headline", "readings"]


def headline(run: Run, tables: Tables) -> Sentence:
    """What the first contrast of the study changes, summed up in three ways."""
    main = tables.totals[tables.totals["contrast"] == next(iter(run.manifest["contrasts"]))]
    main = main[main["target"] == main["target"].iloc[0]]
    rows = main[main["samples"] == "all"].set_index("summary")
    mean, median, geometric = (rows.loc[name] for name in ("mean", "median", "geometric"))
    log = rows.loc["log"]
    verdict = "cannot be told from none" if log["lo"] <= 0 <= log["hi"] else "is more than chance"
    return claim("total-effect").say(
        contrast=main["contrast"].iloc[0],
        mean=with_limits(mean),
        median=median["estimate"],
        geometric=with_limits(geometric),
        n=int(mean["n"]),
        verdict=verdict,
    )


def readings(tables: Tables) -> list[Sentence]:
    """The mean effect of every contrast and candidate, over all samples and over the filtered ones."""
    rows = tables.totals[(tables.totals["summary"] == "mean") & (tables.totals["effect"] == "TE")]
    # a world against itself is a check, and groups stand in the table
    base, other = (rows["contrast"].str.partition("->")[column] for column in (0, 2))
    rows = rows[(base != other) & rows["samples"].isin(["all", "filtered"])]
    return [
        claim("mean-effect").say(
            when=contrast_in_words(row["contrast"]),
            contrast=row["contrast"],
            target=row["target"],
            samples=row["samples"],
            mean=with_limits(row),
            n=row["n"],
            positive=f"{row['positive']:.0%}",
        )
        for _, row in rows.iterrows()
    ]
