"""One text part and a vocabulary to one file of instances. Looks at no other part.

The part goes through in blocks; each becomes a run (see `bert.data.runs`), so memory is that of one
block. All draws are functions of (seed, phase, part, block).
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bert.data.blocks import Tokens, read_blocks
from bert.data.full_sentences import make_full_sentences
from bert.data.instance_config import InstanceConfig
from bert.data.layout import Layout, assemble, join, no_instances
from bert.data.masking import mask_tokens
from bert.data.pairs import make_pairs
from bert.data.part_counts import PartCounts, no_counts
from bert.data.ragged import I64
from bert.data.randomness import U64
from bert.data.runs import MASKS, ORDER, Runs, instance_keys
from bert.data.shard_writer import open_writer
from bert.data.shards import Instances, ShardInfo
from bert.data.tokenise import Tokeniser
from bert.data.vocab import Vocabulary

_INSTANCES_AT_ONCE = 4096
_SPOOLED_IN_MEMORY = 1 << 20
# The held-out text is no part; this number is beyond those that a part can have here.
_HELD_OUT = (1 << 20) - 1


class EncodeError(ValueError):
    """Text from which no instance can be made."""


class Part(NamedTuple):
    """A text part of a phase: what its draws are functions of, and its share of the cap."""

    text: Path
    phase: int
    number: int
    most_instances: int | None  # None = no cap


def part_of(text: Path, phase: int, config: InstanceConfig) -> Part:
    """The part that a file name such as part-00012-of-00500 says; any other name is held-out text.

    The shares of the parts add up to `max_instances` exactly and differ by at most one. Held-out
    text has no cap.

    Raises:
        ValueError: `max_instances` still says steps; the workflow puts the number there.
    """
    found = re.fullmatch(r"part-(\d+)-of-(\d+)", text.name)
    if not found:
        return Part(text, phase, _HELD_OUT, None)
    number, parts, most = int(found[1]), int(found[2]), config.max_instances
    if most is None:
        return Part(text, phase, number, None)
    if most == "steps":
        raise ValueError(
            "max_instances is steps; expected a number. The workflow works it out from pretrain's "
            "steps and batch: run the stage through snakemake, or write the number."
        )
    return Part(text, phase, number, most * (number + 1) // parts - most * number // parts)


def check_not_empty(instances: int, parts: Sequence[Part]) -> None:
    """Refuses a job without a single instance, unless its share of the cap is none.

    Raises:
        EncodeError: Names the first part.
    """
    if instances == 0 and any(part.most_instances != 0 for part in parts):
        raise EncodeError(
            f"{len(parts)} text parts from {parts[0].text} on give no instance; expected at least "
            "one document with two tokens. Look at the text, or choose a smaller `split.parts`."
        )


def encode_part(
    part: Part, output: Path, tokeniser: Tokeniser, vocabulary: Vocabulary, config: InstanceConfig
) -> PartCounts:
    """Reads the documents of a part and writes their instances to `output`.

    With a cap, each block gets its share by its bytes: its documents are visited in a random order,
    pass after pass up to `dupe_factor`, until the share is reached. What a block falls short of is
    added to the share of the next.

    Raises:
        TextFormatError: The text is not valid UTF-8.
    """
    info = shard_info(vocabulary, config.max_seq_length)
    counts = no_counts(config.max_seq_length)
    sizes: list[int] = []
    attributes: dict[str, Any] = {}
    with open_writer(
        output,
        info,
        seed=config.seed,
        config=config.model_dump(),
        has_masks=config.masking is not None,
        memory=_SPOOLED_IN_MEMORY,
        more=attributes,
    ) as writer:
        for block in read_blocks(part.text, tokeniser):
            limit = _share(part, block.read, block.size, sum(sizes))
            tokens = block.tokens
            counts.add_text(block, vocabulary.unk_id)
            layout, drawn = _draw(tokens, config, part, len(sizes), limit)
            counts.numbers.update(drawn)
            for instances in _run(tokens, layout, part, len(sizes), vocabulary, config, info):
                counts.add_instances(instances)
                writer.append(instances)
            sizes.append(len(layout.labels))
        attributes |= Runs(config.seed, part.phase, part.number, tuple(sizes)).attributes()
    return counts


def shard_info(vocabulary: Vocabulary, max_seq_length: int) -> ShardInfo:
    """The attributes that instances of `vocabulary` carry."""
    return ShardInfo(
        max_seq_length,
        vocabulary.sha256,
        vocabulary.size,
        vocabulary.mask_id,
        tuple(sorted(vocabulary.special_ids)),
        np.packbits(vocabulary.is_continuation).tobytes(),
    )


def _share(part: Part, read: int, size: int, made: int) -> int:
    """Most instances of the block that ends at byte `read`, when `made` came before it."""
    if part.most_instances is None:
        return np.iinfo(np.int64).max
    return part.most_instances * read // size - made


def _draw(
    tokens: Tokens, config: InstanceConfig, part: Part, block: int, limit: int
) -> tuple[Layout, Counter[str]]:
    """The instances of all passes over a block, at most `limit`, and the objective's counts."""
    rng = np.random.default_rng([config.seed, part.phase, part.number, block])
    make = make_pairs if config.has_pairs else make_full_sentences
    documents = len(tokens.documents) - 1
    order = rng.permutation(documents)
    layouts, counts = [no_instances()], Counter[str]()
    for _ in range(config.dupe_factor):
        left = limit - sum(len(layout.labels) for layout in layouts)
        if not documents or left <= 0:
            break
        layout, drawn = make(tokens, order, config, rng, left)
        layouts.append(layout)
        counts.update(drawn)
        if config.cross_documents:  # other neighbours in each pass
            order = rng.permutation(documents)
    return join(layouts), counts


def _run(
    tokens: Tokens, layout: Layout, part: Part, run: int, vocabulary: Vocabulary,
    config: InstanceConfig, info: ShardInfo,
) -> Iterator[Instances]:  # fmt: skip
    """Yields the instances of a run in the order of their keys, some at a time."""
    number = np.arange(len(layout.labels))
    name = config.seed, part.phase, part.number, run
    order = np.argsort(instance_keys(*name, number, use=ORDER))
    for start in range(0, len(order), _INSTANCES_AT_ONCE):
        chosen = order[start : start + _INSTANCES_AT_ONCE]
        instances = assemble(
            layout.take(chosen),
            tokens.ids,
            cls_id=vocabulary.cls_id,
            sep_id=vocabulary.sep_id,
            has_pairs=config.has_pairs,
        )
        if config.masking is None:
            yield instances
        else:
            keys = instance_keys(*name, chosen, use=MASKS)
            yield _masked(instances, keys, config, info)


def _masked(instances: Instances, keys: U64, config: InstanceConfig, info: ShardInfo) -> Instances:
    """The same instances with the masks that belong to their keys."""
    assert config.masking is not None
    offsets: I64 = instances.offsets.astype(np.int64)
    ids = instances.input_ids
    masked = mask_tokens(ids, offsets, keys, config.masking, info)
    places = masked.masked_lm_positions.astype(np.int64)
    bounds = np.searchsorted(places, offsets)
    places -= np.repeat(offsets[:-1], np.diff(bounds))
    return instances._replace(
        input_ids=masked.input_ids.astype(ids.dtype),
        masked_lm_offsets=bounds.astype(np.uint64),
        masked_lm_positions=places.astype(np.uint16),
        masked_lm_ids=masked.masked_lm_ids.astype(ids.dtype),
    )
