"""What mitigations that change weights of named blocks share: differences between groups, blocks, strengths."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from vlbias.causal.example import Example
from vlbias.causal.site import Site
from vlbias.causal.staged_model import StagedModel
from vlbias.causal.turns import in_turn
from vlbias.edits.change import Change, kept
from vlbias.edits.weights import weight_blocks
from vlbias.errors import BadStudy
from vlbias.mitigations.base import Learned, Mitigation, Need
from vlbias.mitigations.mitigated_model import MitigatedModel, revised
from vlbias.mitigations.sites import SitePoint, site_points

__all__ = ["WeightChange", "group_effects", "other_layers"]

Floats = NDArray[np.float64]


class WeightChange(Mitigation):
    """Adds what was learned to the weights of blocks; at strength s only a share s of it.

    Subclasses have the settings `sites`, whole blocks such as "image_encoder/mlp.2", and `control` and
    `draw`, which make them their own placebo.
    """

    place: ClassVar[Literal["input", "features", "weights"]] = "weights"
    needs: ClassVar[frozenset[Need]] = frozenset({"groups", "sites"})

    sites: tuple[str, ...]
    control: str
    draw: int

    def sites_in(self, model: StagedModel) -> list[SitePoint]:
        """Its blocks, or the random ones in their place."""
        sites = self.sites
        if self.control == "random-layers":
            sites = other_layers(model, sites, np.random.default_rng(self.draw))
        weight_blocks(model, sites)  # refuses what has no weights of its own
        return site_points(model, sites)

    @abstractmethod
    def learn(
        self, model: StagedModel, examples: Sequence[Example], rng: np.random.Generator
    ) -> Learned:
        """What is added to each parameter, by its name under `model.net`."""

    @contextmanager
    def patched(
        self, model: StagedModel, learned: Learned, strength: float
    ) -> Iterator[StagedModel]:
        """The model with changed weights; the parameters are the same objects, and are restored on exit."""
        names = list(learned.tensors)
        with in_turn(model), kept(model.net, names):
            added = learned.tensors.items()
            values = {
                name: now + strength * step.to(now)
                for name, step in added
                for now in [model.net.get_parameter(name).detach()]
            }
            Change(values).write(model.net)
            yield MitigatedModel(model, revised(model.revision, self.spec, learned.key, strength))


def other_layers(
    model: StagedModel, sites: Sequence[str], rng: np.random.Generator
) -> tuple[str, ...]:
    """As many layers of the same ports, drawn from those that are not among the sites.

    Args:
        model: The model.
        sites: Whole blocks.
        rng: Draws them.

    Raises:
        BadStudy: if a port has too few other layers.
    """
    taken: dict[tuple[str, str], list[int]] = {}
    layers: dict[tuple[str, str], int] = {}
    for point in site_points(model, sites):
        site, port = point.site, point.port
        if port is None or site.layer is None or port.layers is None:
            raise BadStudy(
                "sites", str(site), "a block with a layer, such as 'image_encoder/mlp.2'"
            )
        taken.setdefault((site.stage, port.name), []).append(site.layer)
        layers[site.stage, port.name] = port.layers
    drawn = []
    for (stage, port_name), own in taken.items():
        others = sorted(set(range(layers[stage, port_name])) - set(own))
        if len(others) < len(own):
            raise BadStudy(
                "control",
                "random-layers",
                f"{len(own)} more layers of {stage}/{port_name} beside the {len(own)} that are changed; "
                f"there are {len(others)}",
            )
        chosen = sorted(int(layer) for layer in rng.permutation(others)[: len(own)])
        drawn += [str(Site(stage, port_name, layer)) for layer in chosen]
    return tuple(drawn)


def group_effects(values: Floats, groups: NDArray[np.intp], examples: Sequence[Example]) -> Floats:
    """How far each group's values lie from the mean of all groups, the objects in the photos being the same.

    The coefficients of groups in a linear regression on group and on the presence of every object, of which
    there is one pseudo-observation each, so that rare objects take nothing away from the groups.

    Args:
        values: Of every example, [n, D].
        groups: Number of each example's group, [n].
        examples: With `targets["present"]`, if it is known.

    Returns:
        [groups, D]; they add up to 0.
    """
    count = int(groups.max()) + 1
    present = [example.targets.get("present", frozenset()) for example in examples]
    names = sorted({name for names in present for name in names})
    there: Any = np.array([[name in own for name in names] for own in present], dtype=float)
    there = there.reshape(len(examples), len(names))
    # deviation coding: the coefficients of the groups add up to 0
    coded = np.eye(count)[groups][:, :-1] - (groups == count - 1)[:, None]
    design = np.concatenate([np.ones((len(examples), 1)), coded, there - there.mean(0)], axis=1)
    ridge = np.diag([0.0] * count + [1.0] * len(names))
    found = np.linalg.solve(design.T @ design + ridge, design.T @ values)[1:count]
    effects: Floats = np.concatenate([found, -found.sum(0, keepdims=True)])
    return effects
