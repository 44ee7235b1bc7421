"""What the conformance checks look with: one plain hook, an interruption, the state of a net."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map

from vlbias.causal.site import Site
from vlbias.causal.staged_model import StagedModel, Tower
from vlbias.causal.sweep import SweepPlan

__all__ = ["Interrupt", "hooked", "state_of"]


class Interrupt:
    """A hook that lets so many calls pass, then raises KeyboardInterrupt."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self, *_: Any) -> None:
        """Count one call.

        Raises:
            KeyboardInterrupt: if it is one too many.
        """
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


def hooked(
    model: StagedModel,
    tower: Tower,
    batch: dict[str, Tensor],
    plan: SweepPlan,
    site: Site,
    donor: int,
) -> Tensor:
    """Row 0 with the site's value from row `donor`, by one plain hook in one full pass."""
    target = plan.target(site)
    module = model.net.get_submodule(target.point[0])

    def edit(tensor: Tensor) -> Tensor:
        rows = next(iter(batch.values())).shape[0]
        folded: Tensor = tensor.unflatten(0, (rows, -1)).clone()
        folded[0] = target.write(folded[0], folded[donor])
        return folded.flatten(0, 1)

    def before(_: nn.Module, args: Any) -> Any:
        return (edit(args[0]), *args[1:])

    def after(_: nn.Module, __: Any, output: Any) -> Any:
        rows = next(iter(batch.values())).shape[0]

        def changed(leaf: Any) -> Any:
            of_rows = isinstance(leaf, Tensor) and leaf.ndim > 0 and leaf.shape[0] % rows == 0
            return edit(leaf) if of_rows else leaf

        return tree_map(changed, output)

    slot = target.point[1]
    handle = (
        module.register_forward_pre_hook(before)
        if slot == "in"
        else module.register_forward_hook(after, prepend=True)
    )
    try:
        with torch.inference_mode():
            encoded = tree_flatten(model.encode(tower.name, batch))[0][0]
    finally:
        handle.remove()
    row: Tensor = encoded[0]
    return row


def state_of(net: nn.Module) -> list[Any]:
    """Hooks and patched forwards of every module, to be compared with an earlier state."""
    return [
        (name, len(m._forward_hooks), len(m._forward_pre_hooks), "forward" in m.__dict__)
        for name, m in net.named_modules()
    ]
