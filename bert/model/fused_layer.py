"""An encoder layer as one step of autograd: its forward and backward pass written out.

Matrix products are torch's. What stands between them is one native kernel each: bias and
activation; bias, dropout, residual and LayerNorm; the heads' order and the softmax. So a value
crosses memory a few times in place of some twenty. The maths is that of `bert.model.bert` with
`norm: post`; tests hold the two together, dropout included, because both draw the same masks.

With products in bf16, activations are rounded where autocast rounds them, and once more where
LayerNorm's normalised values are kept for the backward pass. The residual stream, its gradient,
the softmax and all sums stay fp32. Weight gradients come out of a product in bf16, as under
autocast, and are added up in fp32.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from bert.kernels.activation import activation_backward, activation_forward
from bert.kernels.attention import (
    HeadLayout,
    attend_backward,
    attend_forward,
    join_heads,
    split_heads,
)
from bert.kernels.norm import norm_backward, norm_forward
from bert.kernels.products import weight_gradient

Drop = tuple[int, int]


class LayerSettings(NamedTuple):
    """What a layer's arithmetic depends on, beside its weights.

    Attributes:
        layout: Borders of the sequences, as attention needs them.
        activation: Name, see `bert.kernels.activation`.
        epsilon: Of LayerNorm.
        attention_drop: Dropped values out of 65,536, and the seed; as the next two.
        output_drop: After attention's output map.
        feed_forward_drop: After the second feed-forward map.
    """

    layout: HeadLayout
    activation: str
    epsilon: float
    attention_drop: Drop
    output_drop: Drop
    feed_forward_drop: Drop


class Products(NamedTuple):
    """The four matrices in the type of the products, [out, in], and the bias of the first."""

    qkv: Tensor
    qkv_bias: Tensor  # fp32 [3 D]
    output: Tensor
    up: Tensor
    down: Tensor


class FusedLayer(torch.autograd.Function):
    """(stream, product, sixteen parameters) -> (stream, product).

    `stream` is fp32 [T, D]; `product` is the same in the type of the products, or None where that
    is fp32, too. The parameters are the layer's, for their gradients; their values come in
    `Products`.
    """

    @staticmethod
    def forward(
        ctx: Any, stream: Tensor, product: Tensor | None, products: Products,
        settings: LayerSettings, *parameters: Tensor,
    ) -> Any:  # fmt: skip
        """Returns `stream`, or `stream` and `product` if it was given."""
        p = LayerParameters(*parameters)
        s = settings
        x = stream if product is None else product
        heads = split_heads(torch.mm(x, products.qkv.t()), products.qkv_bias, s.layout, 3)
        context_heads, probabilities = attend_forward(heads, s.layout, s.attention_drop)
        context, _ = join_heads(context_heads, s.layout)
        middle = norm_forward(
            torch.mm(context, products.output.t()), p.output_bias, stream,
            p.norm1_weight, p.norm1_bias, s.epsilon, s.output_drop,
        )  # fmt: skip
        h = torch.mm(middle.product, products.up.t())
        u = activation_forward(h, p.up_bias, s.activation)
        out = norm_forward(
            torch.mm(u, products.down.t()), p.down_bias, middle.stream,
            p.norm2_weight, p.norm2_bias, s.epsilon, s.feed_forward_drop,
        )  # fmt: skip
        ctx.save_for_backward(
            x, heads, probabilities, context, middle.product, middle.normed, middle.inverse,
            h, u, out.normed, out.inverse, *products, p.norm1_weight, p.up_bias, p.norm2_weight,
        )  # fmt: skip
        ctx.settings, ctx.mixed = settings, product is not None
        ctx.set_materialize_grads(False)
        return (out.stream, out.product) if product is not None else out.stream

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:
        """Gradients of the stream, the product, and the parameters."""
        saved = ctx.saved_tensors
        x, heads, probabilities, context, middle, normed1, inverse1, h, u, normed2, inverse2 = (
            saved[:11]
        )
        products, (norm1_weight, up_bias, norm2_weight) = Products(*saved[11:16]), saved[16:]
        s, mixed = ctx.settings, ctx.mixed
        grad_stream, grad_product = (*(_rows(g) for g in gradients), None)[:2]
        second = norm_backward(
            grad_stream, grad_product, normed2, inverse2, norm2_weight, s.feed_forward_drop,
            with_residual=True,
        )  # fmt: skip
        grad_down = weight_gradient(second.branch, u)
        grad_u = torch.mm(second.branch, products.down)
        grad_h, grad_up_bias = activation_backward(grad_u, h, up_bias, s.activation)
        grad_up = weight_gradient(grad_h, middle)
        first = norm_backward(
            *_both(second.residual, grad_h, products.up, mixed=mixed), normed1, inverse1,
            norm1_weight, s.output_drop, with_residual=True,
        )  # fmt: skip
        grad_output = weight_gradient(first.branch, context)
        grad_context = split_heads(torch.mm(first.branch, products.output), None, s.layout, 1)
        grad_heads = attend_backward(grad_context, heads, probabilities, s.layout, s.attention_drop)
        grad_qkv_rows, grad_qkv_bias = join_heads(grad_heads, s.layout, with_sum=True)
        assert grad_qkv_bias is not None
        grad_qkv = weight_gradient(grad_qkv_rows, x)
        down = _both(first.residual, grad_qkv_rows, products.qkv, mixed=mixed)
        return (
            *down, None, None,
            *grad_qkv.chunk(3), *grad_qkv_bias.chunk(3), grad_output, first.bias,
            first.weight, first.shift, grad_up, grad_up_bias, grad_down, second.bias,
            second.weight, second.shift,
        )  # fmt: skip


class LayerParameters(NamedTuple):
    """The layer's parameters in the order in which `FusedLayer` takes them."""

    query: Tensor
    key: Tensor
    value: Tensor
    query_bias: Tensor
    key_bias: Tensor
    value_bias: Tensor
    output: Tensor
    output_bias: Tensor
    norm1_weight: Tensor
    norm1_bias: Tensor
    up: Tensor
    up_bias: Tensor
    down: Tensor
    down_bias: Tensor
    norm2_weight: Tensor
    norm2_bias: Tensor


def _both(
    residual: Tensor | None, grad: Tensor, weight: Tensor, *, mixed: bool
) -> tuple[Tensor, Tensor | None]:
    """The gradient that came past a branch, and that which came through it: added in fp32."""
    assert residual is not None
    if mixed:
        return residual, torch.mm(grad, weight)
    return residual.addmm_(grad, weight), None


def _rows(gradient: Tensor | None) -> Tensor | None:
    return None if gradient is None else gradient.contiguous()
