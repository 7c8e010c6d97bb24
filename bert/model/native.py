"""Runs a model's embeddings and layers on the native kernels, and attaches that to the model.

The modules stay the owners of all parameters. Not every model can: `can_run_natively` says which.
"""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from bert.kernels.attention import HeadLayout, lay_out
from bert.kernels.embeddings import Ids
from bert.model.attention import Sequences
from bert.model.bert import BertLayer, BertModel, BertResidual
from bert.model.config import ModelConfig
from bert.model.fused import EmbeddingSettings, FusedEmbeddings, draw_drop
from bert.model.fused_layer import FusedLayer, LayerParameters, LayerSettings, Products
from bert.model.heads import BertForPretraining
from bert.model.weights import ProductWeight

Streams = tuple[Tensor, Tensor | None]


def can_run_natively(config: ModelConfig) -> bool:
    """Whether the kernels know this model: LayerNorm after the sum, widths that are drawn whole."""
    return config.norm == "post" and config.hidden_size % 4 == 0


def attach_kernels(model: nn.Module) -> None:
    """Makes the model use the kernels wherever they are on; it stays as it is if it cannot."""
    for module in model.modules():
        if isinstance(module, BertModel) and can_run_natively(module.config):
            module.native = NativeEncoder(module)
        if isinstance(module, BertForPretraining):
            table = module.bert.embeddings.word_embeddings.weight
            module.cls.predictions.native_table = ProductWeight(table)


def detach_kernels(model: nn.Module) -> None:
    """Makes the model call its modules again, one by one, as hooks on them need it."""
    for module in model.modules():
        if isinstance(module, BertModel):
            module.native = None


class NativeEncoder:
    """Embeddings and layers of one model."""

    def __init__(self, model: BertModel) -> None:
        self._model = model
        layers = [module for module in model.encoder.layer if isinstance(module, BertLayer)]
        self._layers = [NativeLayer(layer, model.config) for layer in layers]

    def __call__(
        self, input_ids: Tensor, segment_ids: Tensor, position_ids: Tensor,
        sequences: Sequences, dtype: torch.dtype,
    ) -> Tensor:  # fmt: skip
        """Three int64 [T] to fp32 [T, D]; products in `dtype`."""
        config, encoder = self._model.config, self._model.encoder
        depth = config.hidden_size // config.num_attention_heads
        layout = lay_out(sequences.lengths, config.num_attention_heads, depth)
        streams = self._embed(Ids(input_ids, position_ids, segment_ids), dtype)
        for layer in self._layers:
            if encoder.checkpointing and torch.is_grad_enabled():
                streams = checkpoint(layer, *streams, layout, dtype, use_reentrant=False)
            else:
                streams = layer(*streams, layout, dtype)
        return streams[0]

    def _embed(self, ids: Ids, dtype: torch.dtype) -> Streams:
        tables = self._model.embeddings
        drop = draw_drop(tables.dropout.p, training=tables.training)
        settings = EmbeddingSettings(ids, tables.LayerNorm.eps, dtype, drop)
        out = FusedEmbeddings.apply(  # type: ignore[no-untyped-call]
            tables.word_embeddings.weight, tables.position_embeddings.weight,
            tables.token_type_embeddings.weight, tables.LayerNorm.weight, tables.LayerNorm.bias,
            settings,
        )  # fmt: skip
        return out if isinstance(out, tuple) else (out, None)


class NativeLayer:
    """One encoder layer."""

    def __init__(self, layer: BertLayer, config: ModelConfig) -> None:
        self._layer = layer
        self._config = config
        inner, output = layer.attention.self, layer.attention.output
        up, down = layer.intermediate.dense, layer.output
        q, k, v = inner.query, inner.key, inner.value
        self._qkv = ProductWeight(q.weight, k.weight, v.weight)
        self._qkv_bias = ProductWeight(q.bias, k.bias, v.bias)
        self._others = [ProductWeight(x.weight) for x in (output.dense, up, down.dense)]
        self._parameters = LayerParameters(
            q.weight, k.weight, v.weight, q.bias, k.bias, v.bias,
            output.dense.weight, output.dense.bias, *_affine(output),
            up.weight, up.bias, down.dense.weight, down.dense.bias, *_affine(down),
        )  # fmt: skip

    def __call__(
        self, stream: Tensor, product: Tensor | None, layout: HeadLayout, dtype: torch.dtype
    ) -> Streams:
        """Both [T, D] to the same; the second is None where products are in fp32."""
        products = Products(
            self._qkv.get(dtype), self._qkv_bias.get(torch.float32),
            *(weight.get(dtype) for weight in self._others),
        )  # fmt: skip
        config, training = self._config, self._layer.training
        settings = LayerSettings(
            layout, config.hidden_act, config.layer_norm_eps,
            draw_drop(config.attention_probs_dropout_prob, training=training),
            draw_drop(config.hidden_dropout_prob, training=training),
            draw_drop(config.hidden_dropout_prob, training=training),
        )  # fmt: skip
        out = FusedLayer.apply(  # type: ignore[no-untyped-call]
            stream, product, products, settings, *self._parameters
        )
        return out if isinstance(out, tuple) else (out, None)


def _affine(residual: BertResidual) -> tuple[Tensor, Tensor]:
    """Weight and shift of the LayerNorm after a residual sum."""
    norm = residual.LayerNorm
    assert isinstance(norm, nn.LayerNorm)
    return norm.weight, norm.bias
