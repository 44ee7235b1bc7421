"""What a detector knows before it is trained: nearly nothing is there, layers pass on, names fit patches.

With little more than a thousand photos a detector that begins at random spends its training on finding
out that most places are empty, and never learns the rarer classes. What can be had in closed form is
given to it: Fisher's discriminants of the classes on the frozen features, in both projections.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from reference.detector_loss import Truth
from torch import Tensor
from transformers import GroundingDinoForObjectDetection

__all__ = ["Patches", "align", "patches_of", "start_passing", "start_quietly", "token_states"]

ODDS = -4.0
NARROW = 0.25  # of the last norms, so that products of two vectors begin a few logits wide
SHRINKAGE = 0.03  # of the covariance of patches towards its mean variance
FALL = 2.0  # of a patch's weight with its squared distance from a box's centre, in half boxes
RIDGE = 1e-6  # of the projection of the text, relative to the mean squared length of its tokens


@torch.no_grad()
def start_quietly(net: GroundingDinoForObjectDetection, odds: float = ODDS) -> None:
    """Sets the last norms so that every query begins with about these log odds for every token.

    A class logit is a product of two normed vectors, which has no bias and begins tens of logits wide:
    the focal loss then spends the first epochs on bringing it down. One coordinate of both vectors
    becomes a constant, whose product are the odds (the prior of Lin et al., Focal Loss for Dense Object
    Detection, ICCV 2017, section 4.1); the others begin small.

    Args:
        net: With fresh weights; changed in place.
        odds: To begin with.
    """
    text = net.model.encoder.layers[-1].text_enhancer_layer.layer_norm_after
    side = abs(odds) ** 0.5
    for norm, bias in (
        (text, -side), (net.model.decoder.layer_norm, side), (net.model.enc_output_norm, side)
    ):  # fmt: skip
        norm.weight.fill_(NARROW)
        norm.weight[0] = 0.0
        norm.bias[0] = bias


@torch.no_grad()
def start_passing(net: GroundingDinoForObjectDetection) -> None:
    """Lets every layer of fusion encoder and decoder begin by handing on what it is given.

    What a layer adds begins at zero, but for the decoder's reading of the photo: every query begins as
    the mean of the features in its proposed box, and its box as the proposal.

    A query's box is refined from what its layer gives, and the loss reads boxes behind the decoder's
    last norm, with the same weights. So that both are the same box, the last norm begins as one that
    changes nothing, and every layer ends with what it would do.

    Args:
        net: Prepared by `start_quietly`; changed in place.
    """
    for layer in net.model.encoder.layers:
        text, image = layer.text_enhancer_layer, layer.deformable_layer
        for module in (text.self_attn.out_proj, text.fc2, image.self_attn.output_proj, image.fc2):
            _set(module, 0.0)
    for layer in net.model.decoder.layers:
        for module in (layer.self_attn.out_proj, layer.encoder_attn_text.out_proj, layer.fc2):
            _set(module, 0.0)
        _set(layer.encoder_attn.value_proj, 1.0)
        _set(layer.encoder_attn.output_proj, 1.0)
    last = net.model.decoder.layer_norm
    for layer in net.model.decoder.layers:
        layer.final_layer_norm.load_state_dict(last.state_dict())
    # undoes the norm of weight * n + bias, n of mean 0 and variance 1
    variance = last.weight.square().mean() + last.bias.var(correction=0)
    last.weight.fill_(float(variance.sqrt()))
    last.bias.fill_(float(last.bias.mean()))
    # what a query is before it has read anything says little
    net.model.decoder.layers[0].encoder_attn_text_layer_norm.weight.fill_(0.1)
    _set(net.model.enc_output, 1.0)
    for head in (net.model.encoder_output_bbox_embed, *net.model.decoder.bbox_embed):
        _set(head.layers[-1], 0.0)


def _set(module: torch.nn.Module, diagonal: float) -> None:
    torch.nn.init.zeros_(module.bias)
    torch.nn.init.zeros_(module.weight)
    if diagonal:
        module.weight.fill_diagonal_(diagonal)


@dataclass(frozen=True)
class Patches:
    """Moments of patches, and of those that show each class; what `align` needs.

    Args:
        mean: Of all patches, [D].
        covariance: Of all patches, [D, D].
        means: Of the patches in the boxes of each class, [K, D].
        boxes: How many boxes of each class there are, [K].
    """

    mean: Tensor
    covariance: Tensor
    means: Tensor
    boxes: Tensor


def patches_of(views: Iterable[tuple[Tensor, Truth]], classes: int) -> Patches:
    """The moments of views; patches count more towards the centre of a box, all boxes count the same.

    Args:
        views: Features [D, side, side] of each, and its boxes.
        classes: How many there are.
    """
    total, products, count, means = None, None, 0, torch.empty(0)
    boxes = torch.zeros(classes, dtype=torch.float64)
    for features, truth in views:
        x = features.flatten(1).T.double()
        if total is None or products is None:
            total, products = torch.zeros_like(x[0]), x.new_zeros(x.shape[1], x.shape[1])
            means = x.new_zeros(classes, x.shape[1])
        total, products, count = total + x.sum(0), products + x.T @ x, count + len(x)
        if len(truth.classes):
            weight = _centred(truth.boxes, features.shape[1], features.shape[2]).to(x)
            means.index_add_(0, truth.classes, weight @ x)
            boxes.index_add_(0, truth.classes, torch.ones(len(truth.classes)).to(x))
    assert total is not None
    assert products is not None
    mean = total / count
    covariance = products / count - mean.outer(mean)
    known = means / boxes.clamp(min=1)[:, None]
    return Patches(mean, covariance, torch.where(boxes[:, None] > 0, known, mean), boxes)


def _centred(boxes: Tensor, height: int, width: int) -> Tensor:
    """Weight of every patch for every box, [n, height x width], each row summing to 1."""
    y, x = torch.meshgrid(
        (torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij"
    )
    places = torch.stack([x, y], -1).reshape(-1, 2)
    far = (places - boxes[:, None, :2]).abs()
    relative = (far / (boxes[:, None, 2:] / 2)).amax(2)
    weight = torch.where(relative <= 1, torch.exp(-FALL * relative**2), 0.0)
    # a box smaller than a patch may hold the centre of none
    weight[torch.arange(len(boxes)), far.square().sum(2).argmin(1)] += 1e-3
    return weight / weight.sum(1, keepdim=True)


@torch.no_grad()
def token_states(
    net: GroundingDinoForObjectDetection, run: Callable[[], object], roles: Tensor
) -> tuple[Tensor, Tensor]:
    """What the text encoder says of the tokens of the classes, [N, D], and the class of each, [N].

    Args:
        net: Whose text encoder reads them.
        run: Runs it on one text that names all classes.
        roles: Class of every token of that text, negative for other words, [T].
    """
    seen: list[Tensor] = []
    hook = net.model.text_projection.register_forward_pre_hook(
        lambda _, given: seen.append(given[0])
    )
    try:
        run()
    finally:
        hook.remove()
    named = roles >= 0
    return seen[0][0, : len(roles)][named], roles[named]


@torch.no_grad()
def align(
    net: GroundingDinoForObjectDetection, patches: Patches, states: Tensor, owner: Tensor
) -> None:
    """Sets both projections so that a patch and a name agree as Fisher's discriminants say.

    The vision projection whitens patches and keeps, of the whitened space, the directions in which the
    means of the classes differ and then those of the most variance, turned at random; the projection of
    the text takes the tokens of a class to its mean there, all classes to the same length. The product
    of the two is the discriminant of Fisher (1936) with a common covariance, which a class of few boxes
    can share in.

    Args:
        net: Prepared by `start_quietly` and `start_passing`; changed in place.
        patches: Moments of the features of the backbone's last block, which all levels read.
        states: Of the tokens of the classes, [N, D'].
        owner: Class of each, [N].
    """
    text, width = net.model.text_projection, net.config.d_model
    values, axes = torch.linalg.eigh(patches.covariance)
    shrunk = (1 - SHRINKAGE) * values + SHRINKAGE * values.mean()
    whiten = (axes / shrunk.sqrt()).flip(1).T  # [D, D], most variance first
    means = (patches.means - patches.mean) @ whiten.T  # [K, D]
    weighted = means * patches.boxes.sqrt()[:, None]
    # in how many directions classes differ at all: fewer than both classes and channels
    between = torch.linalg.svd(weighted, full_matrices=False)[2][: min(len(means), width)]
    kept = torch.linalg.qr(torch.cat([between, torch.eye(len(whiten)).to(between)]).T)[0].T[:width]
    turn = torch.linalg.qr(torch.randn(width, width, dtype=torch.float64))[0]
    basis = turn[:, : len(kept)] @ kept
    project = basis @ whiten
    for vision, _ in net.model.input_proj_vision:
        # a coarser level begins as the mean of the patches it reads
        size = vision.weight.shape[2:]
        vision.weight.copy_(project[:, :, None, None].expand(-1, -1, *size) / size.numel())
        vision.bias.copy_(-project @ patches.mean)
    wanted = means @ basis.T
    wanted = wanted / wanted.norm(dim=1, keepdim=True).clamp(min=1e-12) * width**0.5
    x = torch.cat([states.double(), torch.ones(len(states), 1).double()], 1)
    ridge = RIDGE * x.square().sum(1).mean() * torch.eye(len(x)).double()
    solved = x.T @ torch.linalg.solve(x @ x.T + ridge, wanted[owner])  # [D' + 1, width]
    text.weight.copy_(solved[:-1].T)
    text.bias.copy_(solved[-1])
