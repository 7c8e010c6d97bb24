"""One text part and a vocabulary to one file of instances. Looks at no other part."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from bert.data.pairs import Pair, PairsConfig, Tokens, make_pairs
from bert.data.shards import (
    IS_RANDOM,
    Instances,
    ShardInfo,
    input_ids_dtype,
    write_instances,
)
from bert.data.vocab import Vocabulary
from bert.text.documents import Document, read_documents

_DOCUMENTS_AT_ONCE = 256


class EncodeError(ValueError):
    """A text part from which no instance can be made."""


class PartCounts(NamedTuple):
    """What went into and came out of one part."""

    documents: int
    sentences: int
    empty_sentences: int
    instances: int
    tokens: int
    unknown_tokens: int
    random_next: int
    length_histogram: NDArray[np.int64]  # [max_seq_length + 1], instances of each length


def encode_part(
    text: Path, output: Path, tokenizer: Tokenizer, vocabulary: Vocabulary, config: PairsConfig,
    rng: np.random.Generator,
) -> PartCounts:  # fmt: skip
    """Reads the documents of `text` and writes their instances to `output`.

    Memory is that of one part: its tokens and the ranges of its instances.

    Raises:
        EncodeError: The part gives no instance.
    """
    tokens, empty = tokenise(read_documents(text), tokenizer, vocabulary)
    if len(tokens.documents) == 1:
        raise EncodeError(f"{text} holds no document with a token; run the rule `split` again.")
    instances = assemble(tokens, list(make_pairs(tokens, config, rng)), vocabulary)
    info = shard_info(vocabulary, config.max_seq_length)
    write_instances(output, instances, info, seed=config.seed, config=config.model_dump())
    return PartCounts(
        documents=len(tokens.documents) - 1,
        sentences=len(tokens.sentences) - 1,
        empty_sentences=empty,
        instances=len(instances.segment_b_start),
        tokens=len(instances.input_ids),
        unknown_tokens=int(np.count_nonzero(tokens.ids == vocabulary.unk_id)),
        random_next=int(np.count_nonzero(instances.next_sentence_labels == IS_RANDOM)),
        length_histogram=np.bincount(instances.lengths, minlength=config.max_seq_length + 1),
    )


def shard_info(vocabulary: Vocabulary, max_seq_length: int) -> ShardInfo:
    """The attributes that instances of `vocabulary` carry."""
    return ShardInfo(
        max_seq_length,
        vocabulary.sha256,
        vocabulary.size,
        vocabulary.mask_id,
        tuple(sorted(vocabulary.special_ids)),
    )


def tokenise(
    documents: Iterator[Document], tokenizer: Tokenizer, vocabulary: Vocabulary
) -> tuple[Tokens, int]:
    """Token ids of all documents, and the number of sentences that gave no token.

    A sentence of control characters only gives none and is left out; so is a document of such.
    """
    dtype = input_ids_dtype(vocabulary.size)
    pieces: list[NDArray[Any]] = []
    sentence_lengths: list[int] = []
    documents_end: list[int] = [0]
    empty = 0
    while group := list(islice(documents, _DOCUMENTS_AT_ONCE)):
        sentences = [sentence for document in group for sentence in document]
        encodings = iter(tokenizer.encode_batch_fast(sentences, add_special_tokens=False))
        for document in group:
            encoded = [next(encodings).ids for _ in document]
            kept = [np.array(ids, dtype) for ids in encoded if ids]
            empty += len(encoded) - len(kept)
            if kept:
                pieces += kept
                sentence_lengths += map(len, kept)
                documents_end.append(len(sentence_lengths))
    ids = np.concatenate([np.zeros(0, dtype), *pieces])
    bounds = np.concatenate([[0], np.cumsum(np.array(sentence_lengths, np.int64))])
    return Tokens(ids, bounds.astype(np.int64), np.array(documents_end, np.int64)), empty


def assemble(tokens: Tokens, pairs: list[Pair], vocabulary: Vocabulary) -> Instances:
    """[CLS] A [SEP] B [SEP] of every pair, end to end."""
    dtype = tokens.ids.dtype
    cls, sep = np.array([vocabulary.cls_id], dtype), np.array([vocabulary.sep_id], dtype)
    pieces: list[NDArray[Any]] = [np.zeros(0, dtype)]
    for pair in pairs:
        pieces += [cls, tokens.ids[slice(*pair.a)], sep, tokens.ids[slice(*pair.b)], sep]
    lengths_a = np.array([pair.a[1] - pair.a[0] for pair in pairs], np.int64)
    lengths_b = np.array([pair.b[1] - pair.b[0] for pair in pairs], np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths_a + lengths_b + 3)])
    return Instances(
        np.concatenate(pieces),
        offsets.astype(np.uint64),
        (lengths_a + 2).astype(np.uint16),
        np.array([pair.label for pair in pairs], np.uint8),
    )


def part_rng(seed: int, phase: int, name: str) -> np.random.Generator:
    """The generator of one part: a function of the seed, the phase and the part's file name."""
    return np.random.default_rng([seed, phase, *name.encode("utf-8")])


def count_parts(counts: list[PartCounts]) -> tuple[dict[str, int], dict[str, Any]]:
    """Sums of all parts, and the statistics of their instances for the report.

    Returns:
        counts: documents, sentences, empty_sentences, instances, tokens, unknown_tokens.
        statistics: `length_histogram` (longest length of a bin -> instances, 16 bins),
            `random_next_share` and `mean_length`.
    """
    names = ("documents", "sentences", "empty_sentences", "instances", "tokens", "unknown_tokens")
    sums = {name: sum(getattr(part, name) for part in counts) for name in names}
    histogram = np.sum([part.length_histogram for part in counts], axis=0)
    upper = np.unique(np.linspace(0, len(histogram) - 1, 17).astype(int))[1:]
    cumulative = np.cumsum(histogram)[np.concatenate([[0], upper])]
    bins = np.diff(cumulative)
    statistics = {
        "length_histogram": {str(top): int(n) for top, n in zip(upper, bins, strict=True)},
        "random_next_share": sum(part.random_next for part in counts) / sums["instances"],
        "mean_length": sums["tokens"] / sums["instances"],
    }
    return sums, statistics
