"""Fitted equations of observed variables as a staged model: the engine's arms are then those of the g-formula.

An observed variable is no number that a model computes, but a distribution. A mediator's stage therefore gives
its **mechanism**: the linear predictor as a function of earlier mediators, at the exposure and covariates of
its world. Exchanging the stage between two worlds exchanges the mechanism, which is what a natural effect asks
for. The outcome has such a stage, too; the last stage, "expectation", sums over the states of all mediators.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vlbias.causal.equation import Equation
from vlbias.causal.example import Example, Inputs
from vlbias.causal.staged_model import Batch, Port, Readout, Stage, Tower
from vlbias.errors import BadModel

__all__ = ["Tabular", "patient_examples"]

_TOWER = "patient"
_LAST = "expectation"
_NODES = 32


class _Mechanism(nn.Module):
    """A variable's linear predictor by products of earlier mediators, [rows, products].

    Args:
        equation: The variable's equation.
        mediators: All mediators.
        inputs: Names of the columns of exposure and covariates.
    """

    def __init__(self, equation: Equation, mediators: Sequence[str], inputs: Sequence[str]) -> None:
        super().__init__()
        place = {name: number for number, name in enumerate(inputs)}
        self.products = sorted(
            {tuple(one for one in term if one in mediators) for term in equation.terms}
        )
        self.family, self.variance = equation.family, equation.variance
        self.terms = [
            (
                self.products.index(tuple(one for one in term if one in mediators)),
                [place[one] for one in term if one not in mediators],
            )
            for term in equation.terms
        ]
        self.coefficients = nn.Parameter(
            torch.tensor(equation.coefficients, dtype=torch.float64), requires_grad=False
        )

    def forward(self, inputs: Tensor) -> Tensor:
        parts = [torch.zeros(len(inputs), dtype=torch.float64) for _ in self.products]
        for coefficient, (product_, columns) in zip(self.coefficients, self.terms, strict=True):
            parts[product_] = parts[product_] + coefficient * inputs[:, columns].prod(1)
        return torch.stack(parts, 1)

    def predictor(self, mechanism: Tensor, values: Mapping[str, Tensor]) -> Tensor:
        """The linear predictor [rows] where earlier mediators have given values."""
        found = torch.zeros(len(mechanism), dtype=torch.float64)
        for place, names in enumerate(self.products):
            part = mechanism[:, place]
            for name in names:
                part = part * values[name]
            found = found + part
        return found


class _Net(nn.Module):
    """A mechanism for every equation, and the expectation over the states of all mediators."""

    def __init__(
        self, equations: Sequence[Equation], stages: Sequence[str], inputs: Sequence[str]
    ) -> None:
        super().__init__()
        names = [one.name for one in equations[:-1]]
        mechanisms = [_Mechanism(one, names, inputs) for one in equations]
        self.stages = list(stages)
        for stage, mechanism in zip(stages, mechanisms, strict=True):
            self.add_module(stage, mechanism)
        self.add_module(_LAST, _Expectation(mechanisms, names))

    def forward(self, inputs: Tensor) -> Tensor:
        mechanisms = [getattr(self, stage)(inputs) for stage in self.stages]
        expected: Tensor = getattr(self, _LAST)(*mechanisms)
        return expected


class _Expectation(nn.Module):
    def __init__(self, mechanisms: Sequence[_Mechanism], names: Sequence[str]) -> None:
        super().__init__()
        # plain attributes: the modules belong to the net
        self._mechanisms, self._outcome = list(mechanisms[:-1]), [mechanisms[-1]]
        self.names = list(names)

    def forward(self, *mechanisms: Tensor) -> Tensor:
        (outcome,), own = self._outcome, mechanisms[-1]
        expected = torch.zeros(len(own), dtype=torch.float64)
        for probability, values in self._states(mechanisms[:-1], len(own)):
            eta = outcome.predictor(own, values)
            expected = expected + probability * (
                torch.sigmoid(eta) if outcome.family == "binary" else eta
            )
        return expected

    def _states(
        self, mechanisms: Sequence[Tensor], n: int
    ) -> Iterator[tuple[Tensor, Mapping[str, Tensor]]]:
        nodes = [_nodes(one) for one in self._mechanisms]
        for choice in product(*nodes):
            probability, values = torch.ones(n, dtype=torch.float64), dict[str, Tensor]()
            for name, one, mechanism, (state, weight) in zip(
                self.names, self._mechanisms, mechanisms, choice, strict=True
            ):
                eta = one.predictor(mechanism, values)
                if one.family == "binary":
                    mean = torch.sigmoid(eta)
                    probability = probability * (mean if state else 1 - mean)
                    values[name] = torch.full((n,), state, dtype=torch.float64)
                else:
                    probability = probability * weight
                    values[name] = eta + one.variance**0.5 * state
            yield probability, values


def _nodes(mechanism: _Mechanism) -> list[tuple[float, float]]:
    """States of a mediator: 0 and 1, or standard normal nodes, each with its weight."""
    if mechanism.family == "binary":
        return [(0.0, 0.0), (1.0, 0.0)]
    places, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    total = float(weights.sum())
    return [(float(z), float(w) / total) for z, w in zip(places, weights, strict=True)]


class Tabular:
    """Equations of mediators in causal order, and of an outcome, as a staged model.

    Stages are named after the variables in small letters; `stage_of` tells which.

    Args:
        equations: The mediators' in causal order, then the outcome's.
        exposure: Name of the exposure; the only input in which two worlds differ.
        covariates: Names of the other inputs, in the order in which examples give them.

    Raises:
        BadModel: if an equation reads a variable that is no input and no earlier mediator.
    """

    name = "tabular"
    gives = frozenset({"y"})

    def __init__(
        self, equations: Sequence[Equation], exposure: str, covariates: Sequence[str] = ()
    ) -> None:
        self.equations, self.exposure = tuple(equations), exposure
        self.covariates = tuple(covariates)
        inputs = (exposure, *covariates)
        known = set(inputs)
        for one in equations:
            unknown = {name for term in one.terms for name in term} - known
            if unknown:
                raise BadModel(
                    f"the equation of {one.name!r} reads {sorted(unknown)}; expected inputs and earlier "
                    f"mediators: {sorted(known)}"
                )
            known.add(one.name)
        stages = _stage_names([one.name for one in equations])
        self.stage_of = {one.name: stage for one, stage in zip(equations, stages, strict=True)}
        self.net: nn.Module = _Net(equations, stages, inputs).eval()
        self.towers: tuple[Tower, ...] = (
            Tower(
                _TOWER,
                ("exposure", "covariates"),
                (*(Stage(stage, stage) for stage in stages), Stage(_LAST, _LAST, tuple(stages))),
            ),
        )
        self.ports: tuple[Port, ...] = ()
        text = repr([asdict(one) for one in equations]) + repr(inputs)
        self.revision = hashlib.sha256(text.encode()).hexdigest()[:16]

    def split(self, inputs: Inputs) -> Mapping[str, tuple[Any, ...]]:
        """One row an example: exposure and covariates."""
        return {_TOWER: ((float(inputs["exposure"]), *map(float, inputs["covariates"])),)}

    def collate(self, tower: str, rows: Sequence[Any]) -> Batch:
        """Inputs [rows, 1 + covariates]."""
        return {"inputs": torch.tensor(rows, dtype=torch.float64)}

    def encode(self, tower: str, batch: Batch) -> Tensor:
        """The expected outcome [rows]."""
        expected: Tensor = self.net(batch["inputs"])
        return expected

    def join(self, values: Mapping[str, Any], index: Mapping[str, Tensor]) -> Readout:
        """The expected outcome of the rows that are asked for, as y [B]."""
        return {"y": values[_TOWER][index[_TOWER][:, 0]]}


def patient_examples(
    covariates: Sequence[Sequence[float]], levels: tuple[float, float] = (0.0, 1.0)
) -> list[Example]:
    """An example for each row of covariates, in the worlds "unexposed" and "exposed".

    Args:
        covariates: In the order of the model's covariates.
        levels: Values of the exposure in the two worlds.
    """
    worlds = ("unexposed", "exposed")
    return [
        Example(
            f"row/{number}",
            f"row/{number}",
            {
                world: {"exposure": float(level), "covariates": tuple(map(float, row))}
                for world, level in zip(worlds, levels, strict=True)
            },
        )
        for number, row in enumerate(covariates)
    ]


def _stage_names(names: Sequence[str]) -> list[str]:
    found = [_LAST]
    for name in names:
        plain = re.sub(r"[^a-z0-9_]", "_", name.lower())
        plain = plain if re.match(r"[a-z]", plain) else f"v_{plain}"
        while plain in found:
            plain += "_"
        found.append(plain)
    return found[1:]
