"""Rank-one edits of linear memories: exactness, predicted interference, the flash law, the layer rule."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from linear_memories import ANSWERS, WIDTH, Memories, memories, nearly_orthogonal

from vlbias.edits.solve import (
    RankOneUpdate,
    interference,
    least_squares_update,
    rank_one_update,
)


@pytest.fixture(scope="module")
def memory() -> Memories:
    return memories(0, count=1, facts=120, prone=0.0)


def test_edits_are_exact_and_what_they_do_to_others_is_predicted(memory: Memories) -> None:
    """B2, against the explicit sum of outer products with C⁻¹k."""
    start, keys, moments = memory.weights[0], memory.keys[0], memory.moments[0]
    weight, inverse, rng = start.clone(), torch.linalg.inv(moments), np.random.default_rng(1)
    edited, others = range(60), range(60, 120)
    summed, moved = torch.zeros_like(weight), torch.zeros(len(others), len(weight)).double()
    for fact in edited:
        key, goal = keys[:, fact], memory.values[:, int(rng.integers(ANSWERS))]
        residual = goal - weight @ key
        summed += torch.outer(residual / (key @ inverse @ key), inverse @ key)
        update = rank_one_update(weight, residual, key, moments)
        moved += interference(update, keys[:, others].T)
        weight = weight + update.matrix
        assert float((weight @ key - goal).abs().max()) < 1e-10
        assert update.cost == pytest.approx(
            float(update.matrix.norm() / (weight - update.matrix).norm()), rel=1e-9
        )
    assert float((weight - start - summed).abs().max()) < 1e-10
    seen = (weight - start) @ keys[:, others]
    assert float((seen.T - moved).abs().max()) < 1e-10
    assert float(seen.abs().mean()) > 1e-3  # there is something to predict


def test_the_flash_grows_as_the_overlap_of_the_two_keys_falls(memory: Memories) -> None:
    """B3: cost times overlap is one constant, the ratio of what the two keys lack of the value.

    Untouched facts are lost with mixed keys alone.
    """
    start, keys, moments = memory.weights[0], memory.keys[0], memory.moments[0]
    key, goal = keys[:, 0], memory.values[:, (memory.answers[0] + 1) % ANSWERS]
    same = rank_one_update(start, goal - start @ key, key, moments)
    base = memory.recalled()

    def untouched(update: RankOneUpdate) -> float:
        recalled = (memory.values.T @ ((start + update.matrix) @ keys)).argmax(0).numpy()
        return float((recalled == base)[1:].mean())

    kept, laws = {}, []
    for overlap in (0.1, 0.03, 0.01, 0.003):
        ratios, shares = [], []
        for draw in range(10):
            rng = np.random.default_rng(draw)
            plain = torch.from_numpy(
                nearly_orthogonal(key.numpy(), moments.numpy(), overlap, rng, np.ones(WIDTH))
            )
            mixed = rank_one_update(start, goal - start @ plain, plain, moments, key)
            assert float((start @ plain + mixed.matrix @ plain - goal).abs().max()) < 1e-9
            lacking = (goal - start @ plain).norm() / (goal - start @ key).norm()
            ratios.append(mixed.cost / same.cost * overlap)
            assert ratios[-1] == pytest.approx(float(lacking), rel=1e-6)
            shares.append(untouched(mixed))
        laws.append(float(np.mean(ratios)))
        kept[overlap] = float(np.mean(shares))
    # the design note has 0.9 to 1.6, of one draw; over these ten it is 1.4 to 1.9, 1.6 on average
    assert all(1.4 <= law <= 1.8 for law in laws), laws
    assert max(laws) - min(laws) < 0.05
    assert kept[0.003] <= 0.3
    assert kept[0.1] > kept[0.01] > kept[0.003]
    assert untouched(same) >= 0.99


def _lifelong(seed: int, rule: str, mixed: bool) -> tuple[float, float]:
    """Share of untouched facts kept after 80 edits, and how often the layer was not prone."""
    memory = memories(seed)
    before, rng = memory.recalled(), memory.rng
    edited = rng.permutation(len(before))[:80]
    matched = 0
    for fact in edited:
        goal = memory.values[:, int(rng.integers(ANSWERS))]
        layers = range(len(memory.weights)) if rule == "smallest-cost" else [0]
        updates = []
        for layer in layers:
            key = memory.keys[layer][:, fact]
            plain = memory.without[layer][:, fact] if mixed else key
            rest = memory.outputs()[:, fact] - memory.weights[layer] @ key
            residual = goal - rest - memory.weights[layer] @ plain
            args = (memory.weights[layer], residual, plain, memory.moments[layer], key)
            updates.append(rank_one_update(*args))
        best = int(np.argmin([update.cost for update in updates]))
        memory.weights[best] = memory.weights[best] + updates[best].matrix
        matched += not memory.prone[best, fact]
    others = np.setdiff1d(np.arange(len(before)), edited)
    kept = (memory.recalled() == memory.answers)[others].mean()
    return float(kept), matched / len(edited)


def test_the_layer_rule_and_the_key_rule_each_keep_what_a_fixed_layer_with_mixed_keys_loses() -> (
    None
):
    """B4, mean of three seeds."""
    found = {
        (rule, mixed): np.mean([_lifelong(seed, rule, mixed) for seed in range(3)], axis=0)
        for rule, mixed in (("smallest-cost", True), ("fixed", True), ("fixed", False))
    }
    kept, matched = found["smallest-cost", True]
    assert matched >= 0.98
    assert kept >= 0.95
    assert found["fixed", True][0] <= 0.2
    assert found["fixed", False][0] >= 0.95


def test_least_squares_is_a_ridge_regression_of_residuals_on_keys() -> None:
    rng = torch.Generator().manual_seed(0)
    keys, residuals = (
        torch.randn(8, 5, generator=rng).double(),
        torch.randn(3, 5, generator=rng).double(),
    )
    half = torch.randn(8, 20, generator=rng).double()
    moments, weight = half @ half.T / 20, 2.0
    update = least_squares_update(residuals, keys, moments, weight)
    # the minimiser of ‖Δ K - R‖² + λ tr(Δ C Δᵀ), by its normal equations as one augmented regression
    root = torch.linalg.cholesky(weight * moments)
    design = torch.cat([keys.T, root.T])
    wanted = torch.cat([residuals.T, torch.zeros(8, 3).double()])
    assert torch.allclose(update.T, torch.linalg.lstsq(design, wanted).solution, atol=1e-10)
