"""Convolution, batch normalisation and ReLU in one operation, for inference."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganfast.metrics.inception.network import ConvNorm


class FusedConv(nn.Module):
    """A ConvNorm whose normalisation is part of its weights; ``relu=False`` leaves out the ReLU.

    On CPUs the weights are stored in oneDNN's own blocks, and the ReLU is applied as the results
    are written, where this build of PyTorch can and ``shape`` is given: (n, c, h, w) of the input
    for which the blocks are chosen. Others are as right, but some take ten times as long: blocks
    for no shape in particular made the network 1.8 times slower in float32, 5 times in bfloat16.

    ``fuse`` leaves bias and ReLU to cuDNN's convolution, for which can_fuse() must be true.
    """

    bias: Tensor
    weight: Tensor

    def __init__(
        self,
        source: ConvNorm,
        shape: Sequence[int] | None = None,
        *,
        relu: bool = True,
        fuse: bool = False,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        super().__init__()
        weight, bias = folded(source)
        self.relu, self.fused = relu, fuse and relu
        self.stride: tuple[int, ...] = source.conv.stride
        self.padding: tuple[int, ...] = source.conv.padding  # type: ignore[assignment]
        weight = weight.to(device, dtype, memory_format=torch.channels_last)
        self.register_buffer("bias", bias.to(device, dtype))
        self.packed = shape is not None and can_pack(dtype)
        if shape is not None and self.packed:
            # Not a buffer: it is an opaque copy, which can be neither moved nor saved.
            self.blocks = _pack(weight, shape, self.stride, self.padding)
        else:
            self.register_buffer("weight", weight)

    def forward(self, x: Tensor) -> Tensor:
        if self.packed:
            return _packed_conv(x, self.blocks, self.bias, self.stride, self.padding, self.relu)
        if self.fused:
            return _cudnn_conv_relu(x, self.weight, self.bias, self.stride, self.padding)
        y = F.conv2d(x, self.weight, self.bias, self.stride, self.padding)
        return F.relu_(y) if self.relu else y


def folded(source: ConvNorm) -> tuple[Tensor, Tensor]:
    """Weight and bias, float64, of the one convolution that does what ``source`` does before its
    ReLU: W s and b - m s with s = g / sqrt(v + eps). (torch.nn.utils.fusion rounds once more, at
    its 1 / sqrt, and is no shorter to call.)"""
    bn = source.bn
    assert bn.running_mean is not None and bn.running_var is not None
    scale = bn.weight.double() / (bn.running_var.double() + bn.eps).sqrt()
    weight = source.conv.weight.double() * scale.view(-1, 1, 1, 1)
    return weight, bn.bias.double() - bn.running_mean.double() * scale


def _pack(
    weight: Tensor, shape: Sequence[int], stride: tuple[int, ...], padding: tuple[int, ...]
) -> Tensor:
    return torch.ops.mkldnn._reorder_convolution_weight(
        weight, padding, stride, (1, 1), 1, list(shape)
    )


def _packed_conv(
    x: Tensor,
    blocks: Tensor,
    bias: Tensor,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    relu: bool,
) -> Tensor:
    after = "relu" if relu else "none"
    return torch.ops.mkldnn._convolution_pointwise(
        x, blocks, bias, padding, stride, (1, 1), 1, after, [], ""
    )


def _cudnn_conv_relu(
    x: Tensor, weight: Tensor, bias: Tensor, stride: Sequence[int], padding: Sequence[int]
) -> Tensor:
    return torch.cudnn_convolution_relu(x, weight, bias, stride, padding, (1, 1), 1)


_PROBES = (
    # kernel, stride, padding
    ((1, 1), (1, 1), (0, 0)),
    ((3, 3), (1, 1), (1, 1)),
    ((3, 3), (2, 2), (0, 0)),
    ((1, 7), (1, 1), (0, 3)),
)


@cache
def can_fuse(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether cuDNN's convolution with bias and ReLU is there on ``device``, and gives what the
    three operations give, to round-off: 94 launches for a batch instead of 282."""
    # Not at the top, where it would need this module.
    from ganfast.metrics.extractors.precision import float32_products

    random = torch.Generator().manual_seed(0)
    eps = torch.finfo(dtype).eps
    with torch.inference_mode(), float32_products("fp32"):
        for kernel, stride, padding in _PROBES:
            x = torch.randn(2, 32, 17, 17, generator=random)
            weight = torch.randn(48, 32, *kernel, generator=random) / 32
            bias = torch.randn(48, generator=random).to(device, dtype)
            x, weight = (
                one.to(device, dtype, memory_format=torch.channels_last) for one in (x, weight)
            )
            wide_x, wide_weight, wide_bias = (one.cpu().double() for one in (x, weight, bias))
            exact = F.relu(F.conv2d(wide_x, wide_weight, wide_bias, stride, padding))
            apart = F.relu_(F.conv2d(x, weight, bias, stride, padding))
            allowed = 2 * _error(apart, exact) + 2 * eps * float(exact.max())
            # It adds zero times what its result's memory holds, most likely this then: NaN must
            # not come through.
            apart.fill_(torch.nan)
            del apart
            try:
                fused = _cudnn_conv_relu(x, weight, bias, stride, padding)
            # Missing, of another signature, or not for this dtype or GPU.
            except (AttributeError, RuntimeError, TypeError):
                return False
            if not _error(fused, exact) <= allowed:  # nor is NaN
                return False
    return True


def _error(found: Tensor, exact: Tensor) -> float:
    return float((found.cpu().double() - exact).abs().max())


@cache
def can_pack(dtype: torch.dtype) -> bool:
    """Whether this build and CPU have the packed convolution, and it is right.

    The two operators are what torch.compile uses on CPUs, but no public interface: any release may
    change them, so they are tried once, against the public convolution.
    """
    random = torch.Generator().manual_seed(0)
    x = torch.randn(2, 16, 9, 9, generator=random).to(dtype, memory_format=torch.channels_last)
    weight = torch.randn(32, 16, 3, 1, generator=random).to(dtype)
    bias = torch.randn(32, generator=random).to(dtype)
    stride, padding = (2, 2), (1, 0)
    try:
        with torch.inference_mode():
            blocks = _pack(weight, x.shape, stride, padding)
            packed = _packed_conv(x, blocks, bias, stride, padding, True)
    # Missing, of another signature, or refused by this CPU.
    except (AttributeError, RuntimeError, TypeError):
        return False
    wanted = F.relu(F.conv2d(x.double(), weight.double(), bias.double(), stride, padding))
    tolerance = 64 * torch.finfo(dtype).eps
    return bool(torch.allclose(packed.double(), wanted, rtol=tolerance, atol=tolerance))
