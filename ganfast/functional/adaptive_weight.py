"""Reconstruction and adversarial loss of an autoencoder, balanced by their gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ganfast import _checks
from ganfast.errors import InputError, InputTypeError
from ganfast.functional.output_gradients import (
    explained,
    output_gradients,
    refuse_norms,
    scaled,
    total,
    unscaled,
    weighted,
    widened,
)

__all__ = ["AdaptiveLoss", "adaptive_weight"]

Recompute = tuple[Callable[[Tensor], Tensor], Tensor]


class AdaptiveLoss(NamedTuple):
    """A loss to call ``backward()`` on, and the weight of its adversarial part, both 0-d; the
    weight is detached."""

    loss: Tensor
    weight: Tensor


def adaptive_weight(
    reconstruction: Tensor,
    adversarial: Tensor,
    output: Tensor,
    *,
    last_layer: Tensor | None = None,
    recompute: Recompute | None = None,
    weight: float | Tensor = 1.0,
    eps: float = 1e-4,
    limit: float = 1e4,
    scale: float | Tensor = 1.0,
    parameters: Sequence[Tensor] = (),
    all_reduce: bool = True,
    group: Any = None,
    check_norms: bool = False,
) -> AdaptiveLoss:
    """reconstruction + weight * w * adversarial with VQGAN's w, at the cost of one backward.

    w = min(max(||g_rec|| / (||g_adv|| + eps), 0), limit), the gradients being those of the weight
    of the decoder's last layer (Esser et al. 2021, arXiv:2012.09841, eq. 7), or without
    ``last_layer`` those at the output itself. The usual way differentiates both losses twice. Here
    each is differentiated once, as far as ``output``; the last layer alone turns that into the
    gradient of its weight; and the joined gradient goes once through the decoder:

        output = decoder(z)
        reconstruction = F.l1_loss(output, images) + lpips(output, images).mean()
        adversarial = GF.generator_loss(critic(output), game="hinge")
        loss, weight = GF.adaptive_weight(
            reconstruction, adversarial, output, last_layer=decoder.conv_out.weight, weight=0.8
        )
        (loss + codebook_loss).backward()

    ``loss`` is an ordinary scalar: scale it, divide it for accumulation, add to it what does not go
    through ``output``. Both losses are used up: their graphs are freed. Norms are taken in float32
    (float64 for float64), so they cannot overflow in half precision, and nothing waits for the
    device. Under torch.distributed the gradients of the last layer are averaged over the processes
    first, as DDP averages them, so every process has one and the same weight, that of the whole
    batch; at the output, the squared norms are.

    The decoder, the critic and the perceptual network may be compiled with fullgraph=True. If the
    last layer was compiled together with the decoder, its gradients take two backwards of it all;
    give ``recompute``, or leave ``last_layer`` out.

    Args:
        reconstruction: 0-d, of any parts, the perceptual one included.
        adversarial: 0-d, the generator's loss. The critic's weights get no gradient from it.
        output: what the decoder returned, of any shape; both losses depend on it.
        last_layer: the weight whose gradients are compared. None compares those at ``output``.
        recompute: (function, input) with function(input) the ``output`` again, such as
            ``(decoder.conv_out, features)``: its forward is repeated, instead of keeping the graph
            of the decoder for a moment.
        weight: what the adversarial loss counts beside the rule; 0-d tensors stay on their device.
        eps, limit: of the rule; 1e-4 and 1e4 are the paper's code.
        scale: what the losses are multiplied by before they are differentiated and the gradients
            divided by again. In float16 give GradScaler's, ``scaler.scale(torch.ones((),
            device=...))``, lest gradients underflow before they are joined.
        parameters: further tensors that the losses depend on directly and that are to have
            gradients too, such as a learned variance of the reconstruction.
        all_reduce: whether processes of torch.distributed have one weight.
        group: its process group; the default one if None.
        check_norms: raise where a norm is 0 or not finite; it waits for the device.

    Returns:
        an :class:`AdaptiveLoss`. ``loss`` has the value of the sum and cannot be differentiated
        twice. ``weight`` is w, without the factor ``weight``.

    Raises:
        ValueError: a loss that is not 0-d or does not reach ``output``, an output without a graph,
            a last layer that is not on its way, a ``recompute`` that gives another shape, numbers
            out of their range.
        TypeError: what is no tensor.
        DivergedError: with ``check_norms``, a norm of 0 or one that is not finite, by the name of
            its loss.

    Example:
        >>> layer, x = torch.nn.Linear(3, 3), torch.randn(4, 3)
        >>> output = layer(x)
        >>> rec, adv = (output - x).abs().mean(), -output.mean()
        >>> loss, weight = adaptive_weight(rec, adv, output, last_layer=layer.weight)
        >>> loss.backward()
    """
    if recompute is not None and last_layer is None:
        raise InputError("recompute: got one without last_layer; give the weight that it uses, too")
    if not isinstance(weight, Tensor):
        _checks.number("weight", weight)
    elif weight.dim() != 0:
        raise InputError(f"weight: has the shape {tuple(weight.shape)}; give one number")
    _checks.flag("all_reduce", all_reduce)
    _checks.flag("check_norms", check_norms)
    _checks.number("eps", eps, least=0)
    _checks.number("limit", limit, above=0)
    losses = {"reconstruction": reconstruction, "adversarial": adversarial}
    found = output_gradients(losses, output, parameters, scale)
    at_output = [each[0] for each in found]
    if last_layer is None:
        squares = torch.stack([g.square().sum() for g in map(widened, at_output)])
        norms = total(squares, all_reduce, group, power=2).sqrt()
    else:
        layers = _layer_gradients(at_output, output, last_layer, recompute, scale)
        mean = total(torch.stack(layers), all_reduce, group)
        norms = mean.flatten(1).norm(dim=1)
    if check_norms:
        refuse_norms(list(losses), norms)
    rule = (norms[0] / (norms[1] + eps)).clamp(0.0, limit)
    return AdaptiveLoss(weighted(losses, found, [1.0, rule * weight], output, parameters), rule)


def _layer_gradients(
    at_output: Sequence[Tensor],
    output: Tensor,
    layer: Tensor,
    recompute: Recompute | None,
    scale: float | Tensor,
) -> list[Tensor]:
    """The gradient with respect to the weight ``layer`` that each gradient at the output makes."""
    if not isinstance(layer, Tensor):
        raise InputTypeError(
            f"last_layer: got a {type(layer).__name__}; give the layer's weight, such as "
            "decoder.conv_out.weight"
        )
    if not layer.requires_grad:
        raise InputError("last_layer: needs no gradient; give a weight that is trained")
    last = output
    if recompute is not None:
        function, given = recompute
        with torch.enable_grad():
            last = function(given.detach())
        if last.shape != output.shape:
            raise InputError(
                f"recompute: gives the shape {tuple(last.shape)} where output has "
                f"{tuple(output.shape)}; give the layers behind that input, and their very input"
            )
    gradients = []
    for g in at_output:
        seed = scaled(g, scale).to(last.dtype)
        try:
            (found,) = torch.autograd.grad(last, layer, seed, retain_graph=True, allow_unused=True)
        except RuntimeError as error:
            raise explained(error, "last_layer") from error
        if found is None:
            raise InputError(
                "last_layer: the output does not depend on it through autograd; give the weight "
                "that was used, of a parametrized layer the original one"
            )
        gradients.append(unscaled(found, scale))
    return gradients
