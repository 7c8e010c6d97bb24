"""The encoder: embeddings, layers, pooler, on unpadded token streams.

Parameter names and maths are those of the published BERT as `transformers` names them, so a
checkpoint needs no renaming on the way out or in. Query, key and value stay separate parameters
because LAMB's trust ratio is taken per tensor.

Source: Devlin et al., 2019 (`norm: post`, LayerNorm after each sum with the residual). `norm: pre`
has it at the head of each branch, and once more after the last layer: Xiong et al., 2020, as in
IntelLabs' academic-budget-bert (encoder_ln_mode pre-ln); names as in transformers'
RobertaPreLayerNorm. Both names and maths are checked against transformers.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from bert.model.attention import Backend, Sequences, attend, default_backend
from bert.model.config import ModelConfig, padded_vocab_size
from bert.model.dropout import Dropout
from bert.model.fused import product_dtype
from bert.model.positions import FixedPositions, sinusoids

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "relu": F.relu,
}


# Found by trial on the demo: at the size of the other weights the sinusoids help little.
_SINUSOID_PER_STD = 2.5


class Encoded(NamedTuple):
    """What the encoder says of a token stream.

    Attributes:
        hidden: Last layer's output, [T, D].
        pooled: tanh of a linear map of each sequence's first token, [B, D]; None without pooler.
    """

    hidden: Tensor
    pooled: Tensor | None


def _norm_if(config: ModelConfig, place: Literal["pre", "post"]) -> nn.Module:
    """LayerNorm at a place that has one in the `place` arrangement, and nothing in the other."""
    if config.norm != place:
        return nn.Identity()
    return nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)


class BertEmbeddings(nn.Module):
    """Sum of token, position and segment embeddings, then LayerNorm and dropout."""

    def __init__(self, config: ModelConfig, vocab_size: int) -> None:
        super().__init__()
        rows = padded_vocab_size(vocab_size, config.vocab_multiple)
        self.word_embeddings = nn.Embedding(rows, config.hidden_size)
        places = (config.max_position_embeddings, config.hidden_size)
        self.position_embeddings = (
            nn.Embedding(*places) if config.positions == "learned" else FixedPositions(*places)
        )
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, input_ids: Tensor, segment_ids: Tensor, position_ids: Tensor) -> Tensor:
        """Three int64 [T] to [T, D]."""
        embedded = self.word_embeddings(input_ids)
        embedded = embedded + self.token_type_embeddings(segment_ids)
        embedded = embedded + self.position_embeddings(position_ids)
        out: Tensor = self.dropout(self.LayerNorm(embedded))
        return out


class BertSelfAttention(nn.Module):
    """Projections to query, key and value, and attention inside each sequence."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)
        self.heads = config.num_attention_heads
        self.dropout_p = config.attention_probs_dropout_prob
        self.backend: Backend | None = None

    def forward(self, hidden: Tensor, sequences: Sequences) -> Tensor:
        """[T, D] to [T, D]."""
        context = attend(
            *self.project(hidden),
            sequences,
            dropout_p=self.dropout_p if self.training else 0.0,
            backend=self.backend or default_backend(hidden.device),
        )
        return context.reshape(hidden.shape)

    def project(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[T, D] to query, key and value of each head, three [T, H, K]."""
        split = (hidden.shape[0], self.heads, -1)
        return (
            self.query(hidden).view(split),
            self.key(hidden).view(split),
            self.value(hidden).view(split),
        )


class BertResidual(nn.Module):
    """Linear map, dropout, sum with the residual; LayerNorm if that comes last."""

    def __init__(self, config: ModelConfig, in_features: int) -> None:
        super().__init__()
        self.dense = nn.Linear(in_features, config.hidden_size)
        self.dropout = Dropout(config.hidden_dropout_prob)
        self.LayerNorm = _norm_if(config, "post")

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """[T, in_features] and residual [T, D] to [T, D]."""
        out: Tensor = self.LayerNorm(self.dropout(self.dense(x)) + residual)
        return out


class BertAttention(nn.Module):
    """Self-attention and its residual block; LayerNorm first if that comes first."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.LayerNorm = _norm_if(config, "pre")
        self.self = BertSelfAttention(config)
        self.output = BertResidual(config, config.hidden_size)

    def forward(self, hidden: Tensor, sequences: Sequences) -> Tensor:
        """[T, D] to [T, D]."""
        out: Tensor = self.output(self.self(self.LayerNorm(hidden), sequences), hidden)
        return out


class BertIntermediate(nn.Module):
    """First half of the feed-forward block: LayerNorm if that is first, linear map, activation."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.LayerNorm = _norm_if(config, "pre")
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.activation = ACTIVATIONS[config.hidden_act]

    def forward(self, hidden: Tensor) -> Tensor:
        """[T, D] to [T, intermediate_size]."""
        return self.activation(self.dense(self.LayerNorm(hidden)))


class BertLayer(nn.Module):
    """One encoder layer: attention, then feed-forward."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention = BertAttention(config)
        self.intermediate = BertIntermediate(config)
        self.output = BertResidual(config, config.intermediate_size)

    def forward(self, hidden: Tensor, sequences: Sequences) -> Tensor:
        """[T, D] to [T, D]."""
        attended = self.attention(hidden, sequences)
        out: Tensor = self.output(self.intermediate(attended), attended)
        return out


class BertEncoder(nn.Module):
    """The stack of layers."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(BertLayer(config) for _ in range(config.num_hidden_layers))
        self.checkpointing = False

    def forward(self, hidden: Tensor, sequences: Sequences) -> Tensor:
        """[T, D] to [T, D]."""
        for layer in self.layer:
            if self.checkpointing and torch.is_grad_enabled():
                # Draws the same dropout again: the generator is set back for the second time.
                hidden = checkpoint(layer, hidden, sequences, use_reentrant=False)
            else:
                hidden = layer(hidden, sequences)
        return hidden


class BertPooler(nn.Module):
    """tanh of a linear map of each sequence's first token."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, hidden: Tensor, sequences: Sequences) -> Tensor:
        """[T, D] to [B, D]."""
        first = hidden.index_select(0, sequences.cu_seqlens[:-1])
        return torch.tanh(self.dense(first))


class BertModel(nn.Module):
    """Embeddings, encoder and, if asked for, pooler."""

    def __init__(self, config: ModelConfig, vocab_size: int, *, pooler: bool = True) -> None:
        """Builds the network; `initialize` gives it its published starting weights.

        Args:
            config: Shape.
            vocab_size: True size of the vocabulary; the token table is padded beyond it.
            pooler: Whether the heads read whole sequences.
        """
        super().__init__()
        self.config = config
        self.embeddings = BertEmbeddings(config, vocab_size)
        self.encoder = BertEncoder(config)
        self.LayerNorm = _norm_if(config, "pre")
        self.pooler = BertPooler(config) if pooler else None
        # Embeddings and layers on the kernels of a CPU; set by `bert.model.native`.
        self.native: Callable[..., Tensor] | None = None

    def forward(
        self, input_ids: Tensor, segment_ids: Tensor, position_ids: Tensor, sequences: Sequences
    ) -> Encoded:
        """Encodes a token stream.

        Args:
            input_ids: Tokens, int64 [T].
            segment_ids: 0 for segment A, 1 for B, int64 [T].
            position_ids: Position inside the sequence, int64 [T].
            sequences: Borders of the sequences.
        """
        dtype = product_dtype(input_ids.device) if self.native else None
        if self.native and dtype:
            hidden = self.native(input_ids, segment_ids, position_ids, sequences, dtype)
        else:
            embedded = self.embeddings(input_ids, segment_ids, position_ids)
            hidden = self.LayerNorm(self.encoder(embedded, sequences))
        return Encoded(hidden, self.pooler(hidden, sequences) if self.pooler else None)


def set_attention_backend(model: nn.Module, backend: Backend | None) -> None:
    """Makes every attention layer use `backend`; None returns to the device's default."""
    for module in model.modules():
        if isinstance(module, BertSelfAttention):
            module.backend = backend


def set_activation_checkpointing(model: nn.Module, on: bool) -> None:
    """Whether each layer's activations are computed again in the backward pass, not kept."""
    for module in model.modules():
        if isinstance(module, BertEncoder):
            module.checkpointing = on


@torch.no_grad()
def initialize(
    module: nn.Module, std: float, generator: torch.Generator, *, positions: str | None = "normal"
) -> None:
    """Sets all parameters to BERT's starting values, a function of `generator` alone.

    Weights of linear maps and embeddings are normal(0, std), biases 0, LayerNorm 1 and 0. The
    paper's code truncates the normal at two deviations; NVIDIA's and transformers do not, and
    neither does this.

    Args:
        module: On the generator's device; the CPU, for weights that no device can change.
        std: Standard deviation, 0.02 in the paper.
        generator: Source of randomness.
        positions: "normal" (published), or "sinusoidal" for the position table; None if that is
            not trained.
    """
    for name, parameter in module.named_parameters():
        owner = module.get_submodule(name.rpartition(".")[0])
        if isinstance(owner, nn.LayerNorm):
            parameter.fill_(1.0 if name.endswith(".weight") else 0.0)
        elif parameter.dim() == 1:
            parameter.zero_()
        else:
            parameter.normal_(0.0, std, generator=generator)
            if positions == "sinusoidal" and name.endswith("position_embeddings.weight"):
                places, width = parameter.shape
                parameter.copy_(sinusoids(places, width, _SINUSOID_PER_STD * std))
