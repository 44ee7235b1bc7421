"""What an adapter promises, as checks that any model can be put through."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_flatten

from vlbias.causal.conformance_tools import Interrupt, hooked, state_of
from vlbias.causal.contrast import Contrast
from vlbias.causal.engine import Arm, Engine, altered_channels
from vlbias.causal.example import Example, Inputs, mix
from vlbias.causal.site import Mediator, Site
from vlbias.causal.staged import Readout, StagedModel, Tower
from vlbias.causal.sweep import SweepPlan
from vlbias.errors import VlbiasError

__all__ = ["Finding", "conformance"]

LOUD = 1000.0
ROUNDING = 2.0**-22
"""Two units in the last place of float32: detectors have layers behind their last stage, which round
differently in another batch."""
_TOGETHER = 8
"""Sites that are tested in one pass."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what it is, whether it held, and the numbers it rests on."""

    name: str
    passed: bool
    detail: str


def conformance(
    model: StagedModel,
    base: Sequence[Inputs],
    cf: Sequence[Inputs],
    *,
    tolerance: float = 1e-5,
    tell: Callable[[Finding], None] = lambda finding: None,
    step: Callable[[int, int], None] = lambda done, total: None,
) -> list[Finding]:
    """Put a model through the adapter contract.

    Checks that the same batch gives the same answer, that a resumed pass repeats its recording bit by
    bit, that all stages together and each root stage alone carry what they should, that a port's
    replacement equals a plain hook's, that rows do not see their neighbours, that the net is left as
    found, also after an error, and that the readout is what the adapter says. Outcomes must move by
    at least 1,000 times the tolerance, or the checks prove nothing.

    Args:
        model: The model with its weights.
        base: Inputs of a few examples, at least two.
        cf: The same examples in another world in which every channel differs.
        tolerance: Relative to the largest outcome; 1e-5 suits float32.
        tell: Hears every finding as soon as it is there.
        step: Hears how many steps are done, of how many; sites of a large model take minutes each.

    Returns:
        One finding per check, in order; a check that raises is a finding that failed.
    """
    examples = [
        Example(str(i), str(i), {"base": a, "cf": b, **_mixed(a, b)})
        for i, (a, b) in enumerate(zip(base, cf, strict=True))
    ]
    done = 0

    def advance(steps: int) -> None:
        nonlocal done
        done += steps
        step(done, len(checks) + 2 * sites)  # two of the checks go from site to site

    sites = sum(len(some) for tower in model.towers for some in _some_sites(model, tower))
    job = _Job(model, examples, tolerance, advance)
    checks: dict[str, Callable[[], tuple[bool, str]]] = {
        "outcomes can be heard": job.loud,
        "same batch, same answer": job.repeatable,
        "readout has the keys it promises": job.gives,
        "replay is bit-exact": job.replays,
        "all stages together turn one world into the other": job.complete,
        "a root stage equals its channel": job.roots,
        "a port's replacement equals a plain hook's": job.ports,
        "rows do not see their neighbours": job.independent,
        "the net is left as found": job.restored,
    }
    findings: list[Finding] = []
    for name, check in checks.items():
        try:
            passed, detail = check()
        except (
            VlbiasError,
            RuntimeError,
            ValueError,
            TypeError,
            LookupError,
            AttributeError,
            AssertionError,
        ) as error:
            passed, detail = False, f"{type(error).__name__}: {error}"
        findings.append(Finding(name, passed, detail))
        tell(findings[-1])
        advance(1)
    return findings


def _mixed(base: Inputs, cf: Inputs) -> Mapping[str, Inputs]:
    return {f"cf-{channel}": mix(base, cf, {channel}) for channel in base}


class _Job:
    def __init__(
        self,
        model: StagedModel,
        examples: Sequence[Example],
        tolerance: float,
        advance: Callable[[int], None] = lambda steps: None,
    ) -> None:
        self.model, self.examples, self.tolerance = model, list(examples), tolerance
        self.channels = sorted(examples[0].worlds["base"])
        self.advance = advance

    def arms(
        self, mediators: Sequence[Mediator], cf: str = "cf", *, shortcut: bool = False
    ) -> Arms:
        contrasts = [Contrast("base", cf)]
        engine = Engine(
            self.model, contrasts, mediators, altered=altered_channels(self.examples, contrasts)
        )
        for plan in engine.plans.values():
            plan.shortcut = plan.narrow = plan.lazy = shortcut
        return {(arm.mediator, arm.arm): arm for arm in engine.run(self.examples)}

    def gap(self, one: Readout, other: Readout) -> float:
        """Largest difference, relative to the largest number."""
        worst = 0.0
        for key in one:
            scale = max(float(one[key].abs().max()), 1.0)
            worst = max(worst, float((one[key] - other[key]).abs().max()) / scale)
        return worst

    def loud(self) -> tuple[bool, str]:
        moved = {}
        for channel in self.channels:
            arms = self.arms([], f"cf-{channel}")
            moved[channel] = self.gap(arms["", "11"].readout, arms["", "00"].readout)
        quiet = [c for c, size in moved.items() if size < LOUD * self.tolerance]
        text = ", ".join(
            f"{channel} moves the outcome by {size:.1e}" for channel, size in moved.items()
        )
        return not quiet, f"{text}; needed {LOUD * self.tolerance:.0e}"

    def repeatable(self) -> tuple[bool, str]:
        one, other = (self.arms([])["", "00"].readout for _ in range(2))
        worst = self.gap(one, other)
        return worst == 0, f"largest difference {worst:.1e}, must be 0"

    def gives(self) -> tuple[bool, str]:
        keys = set(self.arms([])["", "00"].readout)
        return (
            keys <= self.model.gives,
            f"gives {sorted(keys)}, promises {sorted(self.model.gives)}",
        )

    def replays(self) -> tuple[bool, str]:
        worst, sites = 0.0, 0
        for tower, batch in self._batches():
            rows = next(iter(batch.values())).shape[0]
            for some in _some_sites(self.model, tower):
                # one site a batch: a product of matrices rounds otherwise in a batch of another size
                plan = SweepPlan(
                    self.model, tower, [Mediator.of([site]) for site in some],
                    mediator_batch=rows, shortcut=False, lazy=False, narrow=False,
                )  # fmt: skip
                sweep = plan.run(batch, [(i, i) for i in range(rows)])
                whole = tree_flatten(sweep.encoded)[0]
                for patched in sweep.patched.values():
                    pairs = zip(tree_flatten(patched)[0], whole, strict=True)
                    worst = max(worst, *(float((a - b).abs().max()) for a, b in pairs))
                sites += len(some)
                self.advance(len(some))
        return worst == 0, f"largest difference {worst:.1e} over {sites} sites, must be 0"

    def complete(self) -> tuple[bool, str]:
        stages = [Site(stage.name) for tower in self.model.towers for stage in tower.stages]
        arms = self.arms([Mediator.of(stages, "all")])
        worst = max(
            self.gap(arms["all", "01"].readout, arms["", "11"].readout),
            self.gap(arms["all", "10"].readout, arms["", "00"].readout),
        )
        allowed = ROUNDING if "boxes" in self.model.gives else 0.0
        return worst <= allowed, f"largest difference {worst:.1e}, allowed {allowed:.1e}"

    def roots(self) -> tuple[bool, str]:
        worst, tried = 0.0, []
        for tower in self.model.towers:
            roots = [stage for stage in tower.stages if not stage.parents]
            for channel in tower.channels:
                stage = _root_of(channel, roots)
                if stage is None:
                    continue
                tried.append(f"{stage} for {channel}")
                swapped = self.arms([Mediator.of([Site(stage)], "root")])["root", "01"].readout
                mixed = self.arms([], f"cf-{channel}")["", "11"].readout
                worst = max(worst, self.gap(swapped, mixed))
        return worst <= self.tolerance and bool(
            tried
        ), f"{', '.join(tried)}: difference {worst:.1e}"

    def ports(self) -> tuple[bool, str]:
        worst, count = 0.0, 0
        for tower, batch in self._batches():
            # the first row and its own other world: texts of other examples have other lengths
            rows = next(iter(batch.values())).shape[0]
            pair = {key: value[[0, rows // 2]] for key, value in batch.items()}
            for some in _some_sites(self.model, tower):
                mediators = [Mediator.of([site]) for site in some]
                plan = SweepPlan(self.model, tower, mediators, shortcut=False, lazy=False)
                sweep = plan.run(pair, [(0, 1)])
                for site in some if bool(sweep.aligned.all()) else ():
                    expected = hooked(self.model, tower, pair, plan, site, 1)
                    scale = max(float(expected.abs().max()), 1.0)
                    found = tree_flatten(sweep.patched[str(site)])[0][0]
                    worst = max(worst, float((found[0] - expected).abs().max()) / scale)
                    count += 1
                self.advance(len(some))
        passed = worst <= self.tolerance and count > 0
        return passed, f"largest difference {worst:.1e} over {count} sites"

    def independent(self) -> tuple[bool, str]:
        together = self.arms([])["", "00"].readout
        worst = 0.0
        for i, example in enumerate(self.examples):
            alone = _Job(self.model, [example], self.tolerance).arms([])["", "00"].readout
            worst = max(
                worst, self.gap({key: value[i : i + 1] for key, value in together.items()}, alone)
            )
        return worst <= self.tolerance, f"alone against in a batch: {worst:.1e}"

    def restored(self) -> tuple[bool, str]:
        before = state_of(self.model.net)
        stages = [Mediator.of([Site(s.name)]) for tower in self.model.towers for s in tower.stages]
        self.arms(stages)
        left = state_of(self.model.net) != before
        interrupted = 0
        for tower, _ in self._batches():
            last = self.model.net.get_submodule(tower.stages[-1].module)
            handle = last.register_forward_hook(Interrupt(after=1 + interrupted))
            found = state_of(self.model.net)
            try:
                self.arms(stages)
            except KeyboardInterrupt:
                interrupted += 1
            left |= state_of(self.model.net) != found
            handle.remove()
        return (
            not left and interrupted > 0,
            f"{interrupted} passes interrupted, something left: {left}",
        )

    def _batches(self) -> Iterator[tuple[Tower, dict[str, Tensor]]]:
        for tower in self.model.towers:
            rows = [
                row
                for world in ("base", "cf")
                for example in self.examples
                for row in self.model.split(example.worlds[world])[tower.name]
            ]
            yield tower, self.model.collate(tower.name, rows)


Arms = dict[tuple[str, str], Arm]


def _some_sites(model: StagedModel, tower: Tower) -> list[list[Site]]:
    """Every stage; of every port the first, a middle and the last layer, whole or its first unit.

    A few at a time, so that a large model's check can say how far it is.
    """
    sites = [Site(stage.name) for stage in tower.stages]
    inside = {stage.name for stage in tower.stages}
    for port in model.ports:
        if port.stage not in inside:
            continue
        layers = [None] if port.layers is None else sorted({0, port.layers // 2, port.layers - 1})
        for layer in layers:
            units = (0,) if port.units or port.name == "neuron" else None
            sites.append(Site(port.stage, port.name, layer, units))
    return [sites[i : i + _TOGETHER] for i in range(0, len(sites), _TOGETHER)]


def _root_of(channel: str, roots: Sequence[Any]) -> str | None:
    """The root stage that reads a channel: the only one, or the one named after it."""
    named = [stage.name for stage in roots if stage.name.startswith(channel)]
    return roots[0].name if len(roots) == 1 else next(iter(named), None)
