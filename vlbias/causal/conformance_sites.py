"""What an adapter promises of its sites: each is replaced, and compared with what it must give."""

from __future__ import annotations

from torch.utils._pytree import tree_flatten

from vlbias.causal.conformance_subject import Subject, Verdict, site_chunks
from vlbias.causal.conformance_tools import hooked
from vlbias.causal.site import Mediator
from vlbias.causal.sweep import SweepPlan

__all__ = ["check_ports", "check_replay"]


def check_replay(subject: Subject) -> Verdict:
    """A pass resumed with a row's own value repeats the recording, bit by bit."""
    worst, sites = 0.0, 0
    for tower, batch in subject.batches():
        rows = next(iter(batch.values())).shape[0]
        for some in site_chunks(subject.model, tower):
            # one site a batch: a product of matrices rounds otherwise in a batch of another size
            plan = SweepPlan(
                subject.model, tower, [Mediator.of([site]) for site in some],
                mediator_batch=rows, shortcut=False, lazy=False, narrow=False,
            )  # fmt: skip
            sweep = plan.run(batch, [(i, i) for i in range(rows)])
            whole = tree_flatten(sweep.encoded)[0]
            for patched in sweep.patched.values():
                pairs = zip(tree_flatten(patched)[0], whole, strict=True)
                worst = max(worst, *(float((a - b).abs().max()) for a, b in pairs))
            sites += len(some)
            subject.advance(len(some))
    return worst == 0, f"largest difference {worst:.1e} over {sites} sites, must be 0"


def check_ports(subject: Subject) -> Verdict:
    """A replacement through a port equals the one made by a plain hook."""
    worst, count = 0.0, 0
    for tower, batch in subject.batches():
        # the first row and its own other world: texts of other examples have other lengths
        rows = next(iter(batch.values())).shape[0]
        pair = {key: value[[0, rows // 2]] for key, value in batch.items()}
        for some in site_chunks(subject.model, tower):
            mediators = [Mediator.of([site]) for site in some]
            plan = SweepPlan(subject.model, tower, mediators, shortcut=False, lazy=False)
            sweep = plan.run(pair, [(0, 1)])
            for site in some if bool(sweep.aligned.all()) else ():
                expected = hooked(subject.model, tower, pair, plan, site, 1)
                scale = max(float(expected.abs().max()), 1.0)
                found = tree_flatten(sweep.patched[str(site)])[0][0]
                worst = max(worst, float((found[0] - expected).abs().max()) / scale)
                count += 1
            subject.advance(len(some))
    passed = worst <= subject.tolerance and count > 0
    return passed, f"largest difference {worst:.1e} over {count} sites"
