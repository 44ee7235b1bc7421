"""What every edit gives: new values of some parameters, put into a model for a while or written as one."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vlbias.causal.turns import in_turn
from vlbias.errors import BadModel
from vlbias.files import read_object, whole, write_json

__all__ = ["Change", "Cost", "kept", "only_trained"]


class _Savable(Protocol):
    name: str
    revision: str
    net: nn.Module

    def save(self, folder: Path) -> None: ...


M = TypeVar("M", bound=Any)


@dataclass(frozen=True)
class Cost:
    """What a change costs.

    Args:
        relative: Frobenius norm of the change over that of the parameters it touches.
        largest: The same of the parameter where it is largest.
        parameters: Numbers that are touched.
        seconds: Time that making it took.
    """

    relative: float
    largest: float
    parameters: int
    seconds: float


@dataclass(frozen=True, eq=False)
class Change:
    """New values of parameters.

    Args:
        values: Name of a parameter under `net` to its value.
        notes: How it was made: settings, layers, seconds; JSON.
    """

    values: Mapping[str, Tensor]
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """A short hash of all values."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.values.items()):
            plain = tensor.detach().cpu().contiguous()
            digest.update(name.encode() + plain.view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:16]

    def cost(self, net: nn.Module) -> Cost:
        """What it costs in a network that does not have it yet."""
        moved, before, ratios = 0.0, 0.0, [0.0]
        for name, value in self.values.items():
            old = _parameter(net, name).detach()
            step = float((value.to(old) - old).double().square().sum())
            size = float(old.double().square().sum())
            moved, before = moved + step, before + size
            ratios.append((step / size) ** 0.5 if size else float("inf"))
        numbers = sum(value.numel() for value in self.values.values())
        seconds = float(self.notes.get("seconds", 0.0))
        return Cost((moved / before) ** 0.5 if before else 0.0, max(ratios), numbers, seconds)

    @contextmanager
    def applied(self, model: M) -> Iterator[M]:
        """The changed model, as long as the context lasts; its revision names the change.

        The network is the same object, changed for the time being. On exit, also after an error or an
        interrupt, every bit of it is as it was.

        Raises:
            BadModel: if the model has no such parameter, or one of another shape.
        """
        with in_turn(model), kept(model.net, list(self.values)):
            self.write(model.net)
            changed = copy.copy(model)
            changed.revision = f"{model.revision}+{self.key}"
            yield changed

    def write(self, net: nn.Module) -> None:
        """Write the values into a network, for good.

        Raises:
            BadModel: if it has no such parameter, or one of another shape.
        """
        for name, value in self.values.items():
            old = _parameter(net, name)
            if old.shape != value.shape:
                raise BadModel(
                    f"{name} has the shape {tuple(old.shape)}, the change {tuple(value.shape)}: it was made "
                    "for another model"
                )
        for name, value in self.values.items():
            _parameter(net, name).data.copy_(value)

    def folded(self, model: _Savable, folder: Path | str) -> None:
        """Write the changed model as a folder that `from_pretrained` and `vlbias.load_model` take.

        A model of a GGUF file is written in full precision.

        Args:
            model: Unchanged; left as it is.
            folder: Where to write; made if need be.

        Raises:
            BadModel: if the folder is not empty.
        """
        folder = Path(folder)
        if folder.exists() and any(folder.iterdir()):
            raise BadModel(f"{folder} is not empty; write into a new folder")
        folder.mkdir(parents=True, exist_ok=True)
        with self.applied(model) as changed:
            changed.save(folder)
        self.save(folder / "change")

    def save(self, folder: Path | str) -> None:
        """Write change.safetensors and change.json, each whole."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {k: v.detach().cpu().contiguous() for k, v in self.values.items()}
        with whole(folder / "change.safetensors") as temporary:
            save_file(tensors, temporary)
        write_json(
            folder / "change.json", {"format": 1, "key": self.key, "notes": dict(self.notes)}
        )

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """What `save` wrote.

        Raises:
            BadModel: if the folder is none of these, or the values are not those that were saved.
        """
        folder = Path(folder)
        expected = "expected what Change.save wrote: change.safetensors and change.json"
        about = read_object(folder / "change.json", BadModel, expected)
        try:
            change = cls(load_file(folder / "change.safetensors"), dict(about["notes"]))
        except (OSError, LookupError, TypeError, ValueError, SafetensorError) as error:
            raise BadModel(f"{folder} holds no saved change ({error}); {expected}") from error
        if change.key != about.get("key"):
            raise BadModel(f"{folder}: the values are not those that were saved; save them again")
        return change


@contextmanager
def kept(net: nn.Module, names: Sequence[str]) -> Iterator[None]:
    """Give parameters of a network their present values back on exit, bit by bit.

    Args:
        net: The network; what is done to these parameters inside the context is undone.
        names: Of the parameters.

    Raises:
        BadModel: if there is no such parameter.
    """
    saved = {name: _parameter(net, name).detach().clone() for name in names}
    asked = {name: _parameter(net, name).requires_grad for name in names}
    try:
        yield
    finally:
        for name, value in saved.items():
            parameter = _parameter(net, name)
            parameter.data.copy_(value)
            parameter.requires_grad_(asked[name])
            parameter.grad = None


@contextmanager
def only_trained(net: nn.Module, names: Sequence[str]) -> Iterator[None]:
    """Only the named parameters can be trained, as long as the context lasts."""
    asked = [(parameter, parameter.requires_grad) for parameter in net.parameters()]
    trained = {id(net.get_parameter(name)) for name in names}
    try:
        for parameter, _ in asked:
            parameter.requires_grad_(id(parameter) in trained)
        yield
    finally:
        for parameter, before in asked:
            parameter.requires_grad_(before)


def _parameter(net: nn.Module, name: str) -> nn.Parameter:
    try:
        return net.get_parameter(name)
    except AttributeError as error:
        raise BadModel(f"the model has no parameter {name!r}: {error}") from error
