"""What stands on top of the encoder: the pretraining heads and the three fine-tuning heads."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bert.model.attention import Sequences
from bert.model.bert import ACTIVATIONS, BertModel
from bert.model.config import ModelConfig, padded_vocab_size
from bert.model.dropout import Dropout
from bert.model.fused import FusedScores, product_dtype
from bert.model.weights import ProductWeight


class StateError(ValueError):
    """Weights that do not fit the network they are loaded into."""


class PretrainingLogits(NamedTuple):
    """Scores before the softmax; bfloat16 under autocast, so the loss casts them up.

    Attributes:
        mlm_logits: [M, V], one row per masked position, V the true vocabulary size.
        nsp_logits: [B, 2], IS_NEXT and IS_RANDOM; None in a model without this head.
    """

    mlm_logits: Tensor
    nsp_logits: Tensor | None


class SpanLogits(NamedTuple):
    """Scores of each token being the first or the last of the answer, both [T]."""

    start_logits: Tensor
    end_logits: Tensor


class MaskedTokenTransform(nn.Module):
    """Linear map, activation, LayerNorm, before the scores over the vocabulary."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = ACTIVATIONS[config.hidden_act]
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden: Tensor) -> Tensor:
        """[M, D] to [M, D]."""
        out: Tensor = self.LayerNorm(self.activation(self.dense(hidden)))
        return out


class MaskedTokenHead(nn.Module):
    """Scores over the vocabulary. Its matrix is the token table itself, so it is stored once."""

    def __init__(self, config: ModelConfig, vocab_size: int) -> None:
        super().__init__()
        self.transform = MaskedTokenTransform(config)
        self.bias = nn.Parameter(torch.zeros(padded_vocab_size(vocab_size, config.vocab_multiple)))
        self.vocab_size = vocab_size
        # The token table for the kernels of a CPU; set by `bert.model.native`.
        self.native_table: ProductWeight | None = None

    def forward(self, hidden: Tensor, word_embeddings: Tensor) -> Tensor:
        """[M, D] and the padded token table [rows, D] to [M, V].

        The product runs over the padded rows, whose count suits the matrix units; the slice drops
        the scores of rows that are no token, so that no softmax or maximum ever sees them.
        """
        transformed = self.transform(hidden)
        dtype = product_dtype(hidden.device) if self.native_table else None
        if self.native_table and dtype:
            weight = self.native_table.get(dtype)
            scores: Tensor = FusedScores.apply(  # type: ignore[no-untyped-call]
                transformed, word_embeddings, self.bias, weight, self.vocab_size
            )
            return scores
        logits = F.linear(transformed, word_embeddings, self.bias)
        return logits[:, : self.vocab_size]


class PretrainingHeads(nn.Module):
    """Masked-token head and, if configured, next-sentence head."""

    def __init__(self, config: ModelConfig, vocab_size: int) -> None:
        super().__init__()
        self.predictions = MaskedTokenHead(config, vocab_size)
        self.seq_relationship = nn.Linear(config.hidden_size, 2) if config.next_sentence else None


class BertForPretraining(nn.Module):
    """Encoder with the heads of the two pretraining tasks."""

    def __init__(self, config: ModelConfig, vocab_size: int) -> None:
        super().__init__()
        self.bert = BertModel(config, vocab_size, pooler=config.next_sentence)
        self.cls = PretrainingHeads(config, vocab_size)

    def forward(
        self,
        input_ids: Tensor,
        segment_ids: Tensor,
        position_ids: Tensor,
        sequences: Sequences,
        masked_lm_positions: Tensor,
    ) -> PretrainingLogits:
        """Scores of the masked positions only, and of each sequence.

        Args:
            input_ids: Tokens, int64 [T].
            segment_ids: int64 [T].
            position_ids: int64 [T].
            sequences: Borders of the sequences.
            masked_lm_positions: Indices into the stream, int64 [M].
        """
        hidden, pooled = self.bert(input_ids, segment_ids, position_ids, sequences)
        masked = hidden.index_select(0, masked_lm_positions)
        table = self.bert.embeddings.word_embeddings.weight
        mlm_logits = self.cls.predictions(masked, table)
        head = self.cls.seq_relationship
        return PretrainingLogits(mlm_logits, head(pooled) if head else None)


class BertForSpan(nn.Module):
    """Encoder with the answer-span head of SQuAD."""

    def __init__(self, config: ModelConfig, vocab_size: int) -> None:
        super().__init__()
        self.bert = BertModel(config, vocab_size, pooler=False)
        self.qa_outputs = nn.Linear(config.hidden_size, 2)

    def forward(
        self, input_ids: Tensor, segment_ids: Tensor, position_ids: Tensor, sequences: Sequences
    ) -> SpanLogits:
        """A token stream, three int64 [T], to two scores a token."""
        hidden, _ = self.bert(input_ids, segment_ids, position_ids, sequences)
        start, end = self.qa_outputs(hidden).unbind(-1)
        return SpanLogits(start, end)


class BertForToken(nn.Module):
    """Encoder with a classifier of tokens, for named entities and their like."""

    def __init__(self, config: ModelConfig, vocab_size: int, num_labels: int) -> None:
        super().__init__()
        self.bert = BertModel(config, vocab_size, pooler=False)
        self.dropout = Dropout(config.hidden_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, num_labels)

    def forward(
        self, input_ids: Tensor, segment_ids: Tensor, position_ids: Tensor, sequences: Sequences
    ) -> Tensor:
        """A token stream, three int64 [T], to scores [T, num_labels]."""
        hidden, _ = self.bert(input_ids, segment_ids, position_ids, sequences)
        out: Tensor = self.classifier(self.dropout(hidden))
        return out


class BertForSentence(nn.Module):
    """Encoder with a classifier of whole sequences, or one number for each, for GLUE's tasks."""

    def __init__(self, config: ModelConfig, vocab_size: int, num_labels: int) -> None:
        super().__init__()
        self.bert = BertModel(config, vocab_size, pooler=True)
        self.dropout = Dropout(config.hidden_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, num_labels)

    def forward(
        self, input_ids: Tensor, segment_ids: Tensor, position_ids: Tensor, sequences: Sequences
    ) -> Tensor:
        """A token stream, three int64 [T], to scores [B, num_labels]."""
        _, pooled = self.bert(input_ids, segment_ids, position_ids, sequences)
        out: Tensor = self.classifier(self.dropout(pooled))
        return out


def task_network(head: str, config: ModelConfig, vocab_size: int, num_labels: int) -> nn.Module:
    """The network of a head, its weights not yet set.

    Args:
        head: What the network gives, as `bert.tasks.features.Head` names it.
        config: Shape of the encoder.
        vocab_size: True size of the vocabulary.
        num_labels: Outputs a sequence or a token; 1 for a value, 2 for a span.
    """
    if head == "span":
        return BertForSpan(config, vocab_size)
    kind = BertForToken if head == "token" else BertForSentence
    return kind(config, vocab_size, num_labels)


def load_encoder(model: nn.Module, state: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Copies the `bert.` weights of a checkpoint into a model with another head.

    The pooler may be absent on either side (RoBERTa checkpoints have none, `BertForSpan` wants
    none); every other encoder weight must be there with the same shape, and none may be left over.

    Args:
        model: Any model of this module; initialised, because its head keeps its values.
        state: Weights by name, as in a pretraining checkpoint.

    Returns:
        Names of the model's parameters that the checkpoint did not set, sorted.

    Raises:
        StateError: An encoder weight is missing, unknown, or of another shape.
    """
    own = model.state_dict()
    wanted = {name for name in own if name.startswith("bert.")}
    given = {name: tensor for name, tensor in state.items() if name.startswith("bert.")}
    differing = {n for n in wanted ^ given.keys() if not n.startswith("bert.pooler.")}
    shapes = {n for n in wanted & given.keys() if own[n].shape != given[n].shape}
    if differing or shapes:
        name = min(differing | shapes)
        expected = tuple(own[name].shape) if name in own else "no such weight"
        found = tuple(given[name].shape) if name in given else "no such weight"
        raise StateError(
            f"The checkpoint does not fit the model in {len(differing | shapes)} encoder weights, "
            f"first {name}: expected {expected}, found {found}. Fine-tune with the `model` "
            "section and the vocabulary that the checkpoint was trained with."
        )
    taken = {name: given[name] for name in wanted & given.keys()}
    model.load_state_dict(taken, strict=False)
    return tuple(sorted(own.keys() - taken.keys()))
