"""The network of a fine-tuned task, and what `transformers` calls it."""

from torch import nn

from bert.model.config import ModelConfig
from bert.model.heads import BertForSentence, BertForSpan, BertForToken
from bert.tasks.features import Head

# Class of transformers, and its task in a model card.
ARCHITECTURES: dict[Head, tuple[str, str]] = {
    "span": ("BertForQuestionAnswering", "question-answering"),
    "sentence": ("BertForSequenceClassification", "text-classification"),
    "value": ("BertForSequenceClassification", "text-classification"),
    "token": ("BertForTokenClassification", "token-classification"),
}


def task_network(head: Head, config: ModelConfig, vocab_size: int, num_labels: int) -> nn.Module:
    """The network of a head, its weights not yet set.

    Args:
        head: What the network gives.
        config: Shape of the encoder.
        vocab_size: True size of the vocabulary.
        num_labels: Outputs a sequence or a token; 1 for a value, 2 for a span.
    """
    if head == "span":
        return BertForSpan(config, vocab_size)
    kind = BertForToken if head == "token" else BertForSentence
    return kind(config, vocab_size, num_labels)
