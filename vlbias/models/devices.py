"""Where a model can run: the one place that says whether there is such a device here."""

from __future__ import annotations

import warnings

import torch

from vlbias.errors import BadStudy

__all__ = ["refuse_device"]


def refuse_device(device: str) -> None:
    """Nothing, if a number can be put on a device and read back.

    Raises:
        BadStudy: otherwise; says what there is here.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a missing driver is said below
            torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, ImportError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise BadStudy("device", device, f"one of {', '.join(_there())} ({reason})") from error


def _there() -> list[str]:
    cuda = [f"'cuda:{number}'" for number in range(torch.cuda.device_count())]
    return ["'cpu'", *cuda, *(["'mps'"] if torch.backends.mps.is_available() else [])]
