"""What the debiasing loop measures for one set of heads, and the table of all of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vlbias import api
from vlbias.analysis.inference import cluster_weights
from vlbias.analysis.odds import aligned_filter
from vlbias.causal.cloze import Cloze
from vlbias.causal.example import Example
from vlbias.causal.site import Site
from vlbias.causal.staged_model import find_port
from vlbias.files import write_json
from vlbias.mitigations.ablation import MeanAblation, matched_sites
from vlbias.mitigations.base import Fitted, Learned
from vlbias.models.language.adapter import LanguageModel
from vlbias.models.language.perplexity import perplexity
from vlbias.runs.events import Events
from vlbias.store.run_folder import Run
from vlbias.studies.language.numbers import numbers
from vlbias.studies.lifecycle import make_plan, read_study, run_plan

__all__ = ["Setting", "Trial", "ranking", "settings", "table"]

CONTRAST = "null->swap-gender"


def ranking(model: str, data: Path | None, fit: int, out: Path, events: Events) -> list[str]:
    """All heads, largest mean log indirect effect on professions first; a run of its own, resumable."""
    study = read_study(Path(__file__).parent / "lm_professions.toml", model=model, limit=fit)
    changes = {"path": data.resolve()} if data else {}
    study = study.model_copy(
        update={
            "name": f"professions-heads-{fit}",
            "contrasts": ("null->set-gender",),
            "mediators": ("lm/head.*[*]",),
            "outcomes": ("log-odds",),
            "shard_size": 4,
            "align": "wording",
            "dataset": study.dataset.model_copy(update=changes),
        }
    )
    result = run_plan(make_plan(study, events.note), out, events=events)
    effects = numbers(Run(result.folder), draws=200, note=events.note).effects
    rows = effects[(effects["effect"] == "NIE") & (effects["summary"] == "log")]
    rows = rows[rows["samples"] == "all"].sort_values("estimate", ascending=False)
    return list(rows["mediator"])


@dataclass(frozen=True)
class Setting:
    """A set of heads: what it is called, how many, and which."""

    name: str
    k: int
    heads: tuple[str, ...]


def settings(
    model: LanguageModel, ranked: Sequence[str], sizes: Sequence[int], draws: int, seed: int
) -> list[Setting]:
    """No heads, the best of a ranking, and as many of the same layers at random, a draw after the other."""
    rng = np.random.default_rng(seed)
    found = [Setting("none", 0, ()), *(Setting("found", k, tuple(ranked[:k])) for k in sizes)]
    for number in range(draws):
        for k in sizes:
            drawn = matched_sites(model, ranked[:k], rng)
            found.append(Setting(f"random{number}", k, drawn))
    return found


@dataclass
class Trial:
    """Measures sets of heads on WinoBias and on held-out text; each once, kept as a file.

    Args:
        model: A causal language model.
        examples: Of WinoBias: means are taken on the test split's prompts, effects on the dev split's.
        paragraphs: Held-out text.
        folder: Where measurements are kept.
    """

    model: LanguageModel
    examples: Sequence[Example]
    paragraphs: Sequence[str]
    folder: Path
    _means: Fitted | None = field(default=None, init=False)

    def measure_all(self, settings: Sequence[Setting], events: Events) -> list[dict[str, Any]]:
        """Every setting's measurement, in order; those that are there already are read."""
        folder, found = self.folder / "settings", []
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{setting.name}-{setting.k}.json" for setting in settings]
        done = sum(path.is_file() for path in paths)
        events.cells(done, len(paths), 0)
        for path, setting in zip(paths, settings, strict=True):
            if not path.is_file():
                write_json(path, self._measured(setting))
                done += 1
                events.cells(done, len(paths), 1)
            measured = json.loads(path.read_text())
            if measured["heads"] != list(setting.heads):
                raise SystemExit(f"{path} is of other heads; give another --out")
            found.append(measured)
        return found

    def _measured(self, setting: Setting) -> dict[str, Any]:
        dev = self._of("dev")
        model = self.model.scores_only()
        fitted = (
            self._ablated(setting.heads).applied(model) if setting.heads else nullcontext(model)
        )
        with fitted as mitigated:
            frame = api.potential_outcomes(
                mitigated, dev, [], ["log-odds"],
                contrasts=[CONTRAST], classes=("anti", "stereo"),
            )  # fmt: skip
            perplexed = perplexity(self.model, self.paragraphs)
        arms = frame.pivot(index="sample_id", columns="arm", values="value")
        ordered = arms.loc[[e.id for e in dev]]
        return {
            **asdict(setting),
            "perplexity": perplexed,
            **{arm: ordered[arm].tolist() for arm in ("00", "11")},
        }

    def _of(self, split: str) -> list[Example]:
        return [e for e in self.examples if e.attributes["split"] == split]

    def _ablated(self, heads: Sequence[str]) -> Fitted:
        """Mean-ablation of these heads; the means of all heads are fitted once and kept."""
        if self._means is None:
            folder = self.folder / "means"
            if not (folder / "mitigation.json").is_file():
                layers = find_port(self.model, Site("lm", "head", 0)).layers  # type: ignore[union-attr]
                whole = MeanAblation(sites=tuple(f"lm/head.{i}" for i in range(layers or 0)))
                rng = np.random.default_rng(0)
                whole.fit(self.model, self._prompts(), rng=rng).save(folder)
            self._means = Fitted.load(folder)
        means = {}
        for head in heads:
            site = Site.parse(head)
            port = find_port(self.model, site)
            mean = self._means.learned.tensors[f"lm/head.{site.layer}"]
            units = 1 if port is None else port.units_at(site.layer)
            means[head] = mean.unflatten(0, (units or 1, -1))[list(site.units or ())].flatten()
        return Fitted(MeanAblation(sites=tuple(heads)), Learned(means))

    def _prompts(self, most: int = 20) -> list[Example]:
        """Prompts of the test split with either pronoun, the groups that means are balanced over."""
        found = []
        for example in self._of("test")[:most]:
            for world in ("null", "swap-gender"):
                text = Cloze(example.worlds[world]["text"].text, ("he", "she"))
                name = f"{example.id}/{world}"
                group = {"group": world}
                found.append(
                    Example(name, example.cluster, {"null": {"text": text}}, attributes=group)
                )
        return found


def table(found: Sequence[dict[str, Any]], seed: int, draws: int = 2000) -> str:
    """The measurements in Markdown: effects, their change with limits, and where the found heads rank.

    The filter is that of the model as it is, so that all rows are of the same examples. Limits are
    percentiles over resampled examples, the same for every row.
    """
    change = {(m["name"], m["k"]): np.array(m["11"]) - np.array(m["00"]) for m in found}
    plain = change["none", 0]
    kept = aligned_filter(plain).kept
    weights = cluster_weights(len(plain), draws, np.random.default_rng(seed))
    rows = []
    for one in found:
        mine = change[one["name"], one["k"]]
        rows.append(
            {
                "heads": one["name"], "k": one["k"],
                "TE": np.expm1(mine).mean(), "TE filtered": np.expm1(mine[kept]).mean(),
                "geometric": np.expm1(mine.mean()),
                **_difference(np.expm1(mine), np.expm1(plain), weights, "change of TE"),
                **_difference(np.expm1(mine[kept]), np.expm1(plain[kept]), weights[:, kept], "filtered"),
                "perplexity": one["perplexity"],
            }
        )  # fmt: skip
    frame = pd.DataFrame(rows)
    lines = ["| " + " | ".join(frame.columns) + " |", "|" + "---|" * len(frame.columns)]
    for _, row in frame.iterrows():
        cells = [f"{v:.3f}" if isinstance(v, float) else str(v) for v in row]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *_ranks(frame), ""])


def _difference(mine: Any, plain: Any, weights: Any, name: str) -> dict[str, Any]:
    gap = mine - plain
    counts = weights.sum(1)
    if not len(gap) or not counts.all():  # a draw without any of them says nothing
        return {name: f"{gap.mean():+.3f} (too few for limits)" if len(gap) else "none kept"}
    drawn = weights @ gap / counts
    lo, hi = np.quantile(drawn, [0.025, 0.975])
    return {name: f"{gap.mean():+.3f} [{lo:+.3f}, {hi:+.3f}]"}


def _ranks(frame: pd.DataFrame) -> list[str]:
    lines = []
    for k, part in frame[frame["k"] > 0].groupby("k"):
        found = part[part["heads"] == "found"].iloc[0]
        random = part[part["heads"] != "found"]
        for column in ("TE", "TE filtered"):
            below = int((random[column] <= found[column]).sum())
            p = (below + 1) / (len(random) + 1)
            lines.append(
                f"- k = {k}, {column}: found {found[column]:.3f}, {len(random)} random sets of the same layers "
                f"{random[column].mean():.3f} ({random[column].min():.3f} to {random[column].max():.3f}); "
                f"{below} of them are as low (one-sided permutation p = {p:.3f}); perplexity "
                f"{found['perplexity']:.2f} against {random['perplexity'].mean():.2f}"
            )
    return lines
