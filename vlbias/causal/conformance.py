"""What an adapter promises, as checks that any model can be put through."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from vlbias.causal.conformance_outcomes import (
    check_all_stages,
    check_net_restored,
    check_outcomes_move,
    check_readout_keys,
    check_repeatable,
    check_root_stages,
    check_rows_independent,
)
from vlbias.causal.conformance_shortcuts import check_shortcuts
from vlbias.causal.conformance_sites import check_ports, check_replay
from vlbias.causal.conformance_subject import Subject, Verdict, site_chunks
from vlbias.causal.example import Example, Inputs, mix
from vlbias.causal.staged_model import StagedModel
from vlbias.errors import VlbiasError

__all__ = ["Finding", "conformance"]


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
    replacement equals a plain hook's, that rows do not see their neighbours, that what the engine leaves
    out changes nothing, that the net is left as found, also after an error, and that the readout is what
    the adapter says. Outcomes must move by at least 1,000 times the tolerance, or the checks prove nothing.

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

    sites = sum(len(some) for tower in model.towers for some in site_chunks(model, tower))
    subject = Subject(model, examples, tolerance, advance)
    checks: dict[str, Callable[[Subject], Verdict]] = {
        "outcomes can be heard": check_outcomes_move,
        "same batch, same answer": check_repeatable,
        "readout has the keys it promises": check_readout_keys,
        "replay is bit-exact": check_replay,
        "all stages together turn one world into the other": check_all_stages,
        "a root stage equals its channel": check_root_stages,
        "a port's replacement equals a plain hook's": check_ports,
        "rows do not see their neighbours": check_rows_independent,
        "what the engine leaves out changes nothing": check_shortcuts,
        "the net is left as found": check_net_restored,
    }
    findings: list[Finding] = []
    for name, check in checks.items():
        try:
            passed, detail = check(subject)
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
