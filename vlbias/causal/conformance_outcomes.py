"""What an adapter promises of whole passes: checks on potential outcomes, and on the net afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from vlbias.causal.cloze import Cloze
from vlbias.causal.conformance_subject import Subject, Verdict, largest_gap
from vlbias.causal.conformance_tools import Interrupt, state_of
from vlbias.causal.example import Example, GroundedText, Picture
from vlbias.causal.region import Region
from vlbias.causal.site import Mediator, Site

__all__ = [
    "check_all_stages",
    "check_net_restored",
    "check_outcomes_move",
    "check_readout_keys",
    "check_repeatable",
    "check_root_stages",
    "check_rows_independent",
    "narrowed",
]

LOUD = 1000.0
"""So many times the tolerance must the outcomes move."""
ROUNDING = 2.0**-22
"""Two units in the last place of float32: detectors have layers behind their last stage, which round
differently in another batch."""


def check_outcomes_move(subject: Subject) -> Verdict:
    """Every channel moves the outcomes enough for the other checks to mean something."""
    moved = {}
    for channel in subject.channels:
        arms = subject.arms([], f"cf-{channel}")
        moved[channel] = largest_gap(arms["", "11"].readout, arms["", "00"].readout)
    quiet = [c for c, size in moved.items() if size < LOUD * subject.tolerance]
    text = ", ".join(
        f"{channel} moves the outcome by {size:.1e}" for channel, size in moved.items()
    )
    return not quiet, f"{text}; needed {LOUD * subject.tolerance:.0e}"


def check_repeatable(subject: Subject) -> Verdict:
    """The same batch gives the same readout."""
    one, other = (subject.arms([])["", "00"].readout for _ in range(2))
    worst = largest_gap(one, other)
    return worst == 0, f"largest difference {worst:.1e}, must be 0"


def check_readout_keys(subject: Subject) -> Verdict:
    """The readout has no key that the adapter does not promise."""
    keys = set(subject.arms([])["", "00"].readout)
    return (
        keys <= subject.model.gives,
        f"gives {sorted(keys)}, promises {sorted(subject.model.gives)}",
    )


def check_all_stages(subject: Subject) -> Verdict:
    """Exchanging all stages turns one world into the other."""
    stages = [Site(stage.name) for tower in subject.model.towers for stage in tower.stages]
    arms = subject.arms([Mediator.of(stages, "all")])
    worst = max(
        largest_gap(arms["all", "01"].readout, arms["", "11"].readout),
        largest_gap(arms["all", "10"].readout, arms["", "00"].readout),
    )
    allowed = ROUNDING if "boxes" in subject.model.gives else 0.0
    return worst <= allowed, f"largest difference {worst:.1e}, allowed {allowed:.1e}"


def check_root_stages(subject: Subject) -> Verdict:
    """Exchanging a root stage equals exchanging the channel that it reads."""
    worst, tried = 0.0, []
    for tower in subject.model.towers:
        roots = [stage for stage in tower.stages if not stage.parents]
        for channel in tower.channels:
            names = _roots_of(channel, roots)
            if not names:
                continue
            tried.append(f"{' and '.join(names)} for {channel}")
            root = Mediator.of(map(Site, names), "root")
            swapped = subject.arms([root])["root", "01"].readout
            mixed = subject.arms([], f"cf-{channel}")["", "11"].readout
            worst = max(worst, largest_gap(swapped, mixed))
    return worst <= subject.tolerance and bool(tried), f"{', '.join(tried)}: difference {worst:.1e}"


def check_rows_independent(subject: Subject) -> Verdict:
    """A row gives the same alone and in a batch: with photos of other sizes, and with texts of other lengths.

    Photos of other sizes never share a batch, so that texts are compared on photos as they are.
    """
    worst = 0.0
    for changed in (narrowed, shortened):
        examples = [changed(example, i) for i, example in enumerate(subject.examples)]
        several = Subject(subject.model, examples, subject.tolerance)
        together = several.arms([])["", "00"].readout
        for i, example in enumerate(examples):
            alone = Subject(subject.model, [example], subject.tolerance).arms([])["", "00"].readout
            row = {key: value[i : i + 1] for key, value in together.items()}
            worst = max(worst, largest_gap(row, alone))
    return worst <= subject.tolerance, f"alone against in a batch: {worst:.1e}"


def narrowed(example: Example, number: int) -> Example:
    """The example with its photos narrower, each number by another share."""

    def narrower(value: Any) -> Any:
        if not isinstance(value, Picture):
            return value
        image = value.open()
        width = max(1, image.width * (4 - number % 3) // 4)
        share = width / image.width
        regions = tuple(_scaled(region, share) for region in value.regions)
        return Picture(image.resize((width, image.height)), regions=regions)

    worlds = {
        name: {channel: narrower(value) for channel, value in world.items()}
        for name, world in example.worlds.items()
    }
    return replace(example, worlds=worlds)


def shortened(example: Example, number: int) -> Example:
    """The example with the first half of the words of its texts, for every other number."""

    def shorter(value: Any) -> Any:
        if isinstance(value, str):
            return _half(value)
        if isinstance(value, GroundedText):
            words = value.before.rstrip(" .")
            return replace(value, before=_half(words) + value.before[len(words) :])
        if isinstance(value, Cloze):
            return replace(
                value, text=_half(value.text, max((s[2] for s in value.spans), default=0))
            )
        if isinstance(value, tuple) and all(isinstance(one, str) for one in value):
            return tuple(map(_half, value))
        return value

    if number % 2:
        return example
    worlds = {
        name: {channel: shorter(value) for channel, value in world.items()}
        for name, world in example.worlds.items()
    }
    return replace(example, worlds=worlds)


def _half(text: str, least: int = 0) -> str:
    """The first half of the words, and at least so many characters."""
    words = text.split(" ")
    for count in range((len(words) + 1) // 2, len(words)):
        found = " ".join(words[:count])
        if len(found) >= least and found.strip():
            return found
    return text


def _scaled(region: Region, share: float) -> Region:
    """The boxes of a region in a narrower photo; a mask is left out, as its pixels are gone."""
    boxes = tuple((x0 * share, y0, x1 * share, y1) for x0, y0, x1, y1 in region.boxes)
    return replace(region, boxes=boxes, mask=None)


def check_net_restored(subject: Subject) -> Verdict:
    """No hook or patched forward is left on the net, also after an interruption."""
    before = state_of(subject.model.net)
    stages = [Mediator.of([Site(s.name)]) for tower in subject.model.towers for s in tower.stages]
    subject.arms(stages)
    left = state_of(subject.model.net) != before
    interrupted = 0
    for tower, _ in subject.batches():
        last = subject.model.net.get_submodule(tower.stages[-1].module)
        handle = last.register_forward_hook(Interrupt(after=1 + interrupted))
        found = state_of(subject.model.net)
        try:
            subject.arms(stages)
        except KeyboardInterrupt:
            interrupted += 1
        left |= state_of(subject.model.net) != found
        handle.remove()
    return (
        not left and interrupted > 0,
        f"{interrupted} passes interrupted, something left: {left}",
    )


def _roots_of(channel: str, roots: Sequence[Any]) -> list[str]:
    """The root stages that read a channel: the only one, or those named after it."""
    if len(roots) == 1:
        return [roots[0].name]
    return [stage.name for stage in roots if stage.name.startswith(channel)]
