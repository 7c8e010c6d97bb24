"""Section `model`: the shape of the network. Free of torch, so the workflow can check it."""

from typing import Literal, Self

from pydantic import model_validator

from bert.config import Section, knob


class ModelConfig(Section):
    """Shape of BERT and of its heads; the published values are those of BERT-large, uncased."""

    hidden_size: int = knob("Width of the residual stream in features; published 1024.", ge=1)
    num_hidden_layers: int = knob("Number of encoder layers; published 24.", ge=1)
    num_attention_heads: int = knob(
        "Attention heads a layer; must divide hidden_size; published 16.", ge=1
    )
    intermediate_size: int = knob(
        "Width of the feed-forward layer in features; published 4096.", ge=1
    )
    hidden_act: Literal["gelu", "gelu_tanh", "relu"] = knob(
        "Activation of the feed-forward layer and of the MLM head: gelu (exact, with erf; "
        "published), gelu_tanh (its tanh approximation), relu."
    )
    hidden_dropout_prob: float = knob(
        "Share of features dropped after embeddings, attention and feed-forward; published 0.1.",
        ge=0,
        lt=1,
    )
    attention_probs_dropout_prob: float = knob(
        "Share of attention probabilities dropped; published 0.1.", ge=0, lt=1
    )
    max_position_embeddings: int = knob(
        "Rows of the position table in tokens, the longest possible sequence; published 512.", ge=2
    )
    type_vocab_size: int = knob("Rows of the segment table; BERT has 2.", ge=2)
    initializer_range: float = knob(
        "Standard deviation of the normal distribution of initial weights; published 0.02.", gt=0
    )
    positions: Literal["learned", "fixed"] = knob(
        "Position table: learned (published), or fixed sinusoids, never trained (Vaswani et al., "
        "2017)."
    )
    position_init: Literal["normal", "sinusoidal"] | None = knob(
        "Start of a learned position table: normal (published), or sinusoids, from which "
        "neighbours are found after far fewer steps; null with positions: fixed."
    )
    norm: Literal["post", "pre"] = knob(
        "Place of LayerNorm: after each sum with the residual (post; published), or at the head of "
        "each branch and after the last layer (pre; Xiong et al., 2020), which trains without or "
        "with little warm-up. transformers' BERT has no pre: such a model is not exported."
    )
    layer_norm_eps: float = knob("Epsilon of LayerNorm; published 1e-12.", gt=0)
    vocab_multiple: int = knob(
        "The token table is padded to a multiple of this many rows, for the matrix units; "
        "published 8 (NVIDIA: 30522 becomes 30528); 1 pads nothing.",
        ge=1,
    )
    next_sentence: bool = knob(
        "Whether the model has the next-sentence head and its pooler (BERT: true, RoBERTa: false)."
    )

    @model_validator(mode="after")
    def _start_belongs_to_learned_positions(self) -> Self:
        if (self.positions == "learned") != (self.position_init is not None):
            expected = "normal or sinusoidal" if self.positions == "learned" else "null"
            raise ValueError(
                f"position_init is {self.position_init} with positions {self.positions}; write "
                f"{expected}."
            )
        return self

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads "
                f"{self.num_attention_heads}; change one of the two."
            )
        return self


def padded_vocab_size(vocab_size: int, multiple: int) -> int:
    """Rows of the token table: `vocab_size` rounded up to a multiple."""
    return -(-vocab_size // multiple) * multiple
