"""The state of training that was broken off, as one file that is written whole."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import fields as fields_of
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from vlbias.errors import BadData
from vlbias.files import whole

__all__ = ["State", "load_state", "save_state"]


@dataclass(frozen=True, eq=False)
class State:
    """Everything that the next step depends on.

    Args:
        identity: Of the training: settings, model and data.
        step: How many steps are made.
        seconds: Time that they took.
        values: Of the parameters that are trained.
        optimiser: Its state.
        mean: Sum and number of the retain losses of the first epoch.
        alphas: Weight of the retain loss at each step.
    """

    identity: str
    step: int
    seconds: float
    values: dict[str, Tensor]
    optimiser: dict[str, Any]
    mean: tuple[float, int]
    alphas: list[float]


def save_state(path: Path | None, state: State) -> None:
    """Write a state; nothing if there is no path."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {one.name: getattr(state, one.name) for one in fields_of(State)}
    with whole(path) as temporary:
        torch.save(content, temporary)


def load_state(path: Path | None, identity: str) -> State | None:
    """The state in a file; None if there is none, or it is of another training.

    Raises:
        BadData: if it cannot be read.
    """
    if path is None or not path.is_file():
        return None
    try:
        fields = torch.load(path, weights_only=True)
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
        raise BadData(
            f"{path}: the state of training cannot be read ({error}); delete the file to begin anew"
        ) from error
    return State(**fields) if fields.get("identity") == identity else None
