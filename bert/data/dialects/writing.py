"""Writes this project's shards as files of another system; section `dialect`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from pydantic import model_validator

from bert.config import Section, knob
from bert.data.corpus import Corpus
from bert.data.dialects import fixed, gpauloski, tfrecord, varlength
from bert.data.dialects.rows import DialectError, Rows, to_rows
from bert.data.masking import MaskingConfig, instance_keys, mask_tokens, original_ids, with_masks
from bert.data.shards import Instances

_ROWS_AT_ONCE = 2048
Format = Literal[
    "nvidia",
    "mlperf_fixed",
    "mlperf_varlength",
    "gpauloski",
    "tfrecord_mlperf",
    "tfrecord_cerebras",
]


class DialectConfig(Section):
    """Section `dialect.<name>`: one export of all shards to another system's format."""

    format: Format = knob(
        "Whose files: their field names, dtypes, shapes, compression and file names."
    )
    max_predictions: int | None = knob(
        "Places for targets in a row (P): NVIDIA 20 at length 128 and 80 at 512, MLPerf 76; null "
        "for gpauloski, which stores none.",
        ge=1,
    )
    files: int = knob("Files of each phase (Intel and MLPerf: 2048).", ge=1)
    seed: int = knob("Seed of the masks.", ge=0)
    masking: MaskingConfig | None = knob(
        "Choice of the predicted tokens, drawn once; null = the masks stored in the shards."
    )

    @model_validator(mode="after")
    def _fits_format(self) -> "DialectConfig":
        if self.format == "gpauloski":
            if self.masking is not None or self.max_predictions is not None:
                raise ValueError(
                    "gpauloski's files are not masked; set masking and max_predictions to null."
                )
            return self
        if self.max_predictions is None:
            raise ValueError(f"{self.format} needs max_predictions, the targets of a row.")
        if self.masking is not None and self.masking.max_predictions > self.max_predictions:
            raise ValueError(
                f"masking.max_predictions is {self.masking.max_predictions}, but a row has room "
                f"for max_predictions {self.max_predictions}. Lower the one or raise the other."
            )
        return self


class Written(NamedTuple):
    """What one file holds."""

    instances: int
    tokens: int
    targets: int


def check_writable(corpus: Corpus, config: DialectConfig) -> None:
    """Refuses what the format cannot hold.

    Raises:
        DialectError: The vocabulary overflows the dtype, or there are more files than instances.
    """
    if config.format == "mlperf_varlength" and corpus.info.vocab_size > varlength.MOST_TOKENS:
        raise DialectError(
            f"mlperf_varlength stores ids as int16, which holds a vocabulary of at most "
            f"{varlength.MOST_TOKENS} tokens; this one has {corpus.info.vocab_size}. Choose "
            "another format."
        )
    if config.files > corpus.num_instances:
        raise DialectError(
            f"files is {config.files}, but there are only {corpus.num_instances} instances; a file "
            "without rows cannot be read by the other system. Lower files."
        )


def file_name(config: DialectConfig, name: str, number: int, max_seq_length: int) -> str:
    """Path of file `number` (from 0) below the export's folder, as the other system has it."""
    files = config.files
    return {
        "nvidia": f"{name}_training_{number}.hdf5",
        "mlperf_fixed": f"{files}_shards_uncompressed_{max_seq_length}/"
        f"part_{number}_of_{files}.hdf5",
        "mlperf_varlength": f"{files}_shards_varlength/part_{number:05d}_of_{files:05d}.hdf5",
        "gpauloski": f"train_{number}.hdf5",
        "tfrecord_mlperf": f"part-{number:05d}-of-{files:05d}",
        "tfrecord_cerebras": f"{name}-{number + 1}.tfrecords",
    }[config.format]


def write_file(
    corpus: Corpus, config: DialectConfig, path: Path, number: int, phase: int
) -> Written:
    """Writes file `number`: its share of all instances in stored order, in pieces of rows.

    Raises:
        DialectError: An instance has more targets than a row has room for, or no masks are stored
            where `masking` is null.
    """
    low = number * corpus.num_instances // config.files
    high = (number + 1) * corpus.num_instances // config.files
    places, targets = corpus.info.max_seq_length, config.max_predictions
    counts = np.zeros(3, np.int64)

    def chunks() -> Iterator[Rows]:
        for start in range(low, high, _ROWS_AT_ONCE):
            index = np.arange(start, min(start + _ROWS_AT_ONCE, high))
            instances = _masked(corpus, config, index, phase)
            found = 0 if instances.masked_lm_ids is None else len(instances.masked_lm_ids)
            counts[:] += (len(index), len(instances.input_ids), found)
            yield to_rows(instances, places, targets)

    path.parent.mkdir(parents=True, exist_ok=True)
    if config.format in ("nvidia", "mlperf_fixed"):
        assert targets is not None
        gzip = config.format == "nvidia"
        fixed.write(path, chunks(), high - low, places, targets, gzip=gzip)
    elif config.format == "mlperf_varlength":
        varlength.write(path, chunks(), high - low)
    elif config.format == "gpauloski":
        gpauloski.write(path, chunks(), high - low, places)
    else:
        tfrecord.write(path, chunks())
    return Written(*counts.tolist())


def _masked(
    corpus: Corpus, config: DialectConfig, index: np.ndarray, phase: int
) -> Instances:  # fmt: skip
    """The instances with the masks that the export has, or without any."""
    stored = corpus.take(index)
    if config.format != "gpauloski" and config.masking is None:
        if not stored.has_masks:
            raise DialectError(
                f"dialect.<name>.masking is null, which takes the masks that the shards hold, but "
                f"{corpus.files[0]} and its companions hold none. Give masking."
            )
        return stored
    unmasked = Instances(original_ids(stored), *stored[1:4])
    if config.masking is None:
        return unmasked
    keys = instance_keys(config.seed, phase, np.zeros_like(index), index)
    masked = mask_tokens(unmasked.input_ids, unmasked.offsets, keys, config.masking, corpus.info)
    return with_masks(unmasked, masked)
