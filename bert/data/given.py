"""Shards that somebody made already: checked once, and then trained on where they lie.

The manifest of the stage `shard` then lists the raw files in their order, with dialect and counts;
no file is copied or rewritten. `bert.data.corpus` opens them by that list.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bert.config import Section, knob
from bert.data.dialects.reading import Header, natural_key, read_header, read_sample
from bert.data.dialects.rows import DialectError
from bert.data.shards import ShardInfo, check_same, read_info


class GivenPhase(Section):
    """Section `shard.given.<phase>`: the shards of one phase, and what they are said to be."""

    train: str = knob("Name of the `fetch` item with the training shards.")
    held_out: str = knob("Name of the `fetch` item with the held-out shards.")
    max_seq_length: int = knob("Most tokens of an instance.", ge=4, le=65_535)
    max_predictions: int | None = knob(
        "Places for targets in a row (NVIDIA 20 at length 128, 80 at 512; Intel and MLPerf 76); "
        "null if the shards are unmasked, or are this project's own.",
        ge=1,
    )


class GivenShards(Section):
    """Section `shard.given`: shards to train on in place of those that the workflow would make."""

    phase1: GivenPhase = knob("Shards of phase 1.")
    phase2: GivenPhase | None = knob("Shards of phase 2; null = a single phase.")


class Checked(NamedTuple):
    """What a look at all headers and at the first rows of each file found."""

    dialect: str
    files: list[Path]
    instances: list[int]  # of each file
    sampled_instances: int
    sampled_tokens: int

    def counts(self) -> dict[str, int]:
        """What the manifest counts."""
        total = sum(self.instances)
        return {
            "shards": len(self.files),
            "instances": total,
            "phase_instances": total,
            "sampled_instances": self.sampled_instances,
            "sampled_tokens": self.sampled_tokens,
        }


def given_phase(given: GivenShards | None, phase: int) -> GivenPhase:
    """The part of the section for one phase.

    Raises:
        ValueError: The section has none.
    """
    found = None
    if given is not None:
        found = given.phase1 if phase == 1 else given.phase2
    if found is None:
        raise ValueError(f"shard.given.phase{phase} is null; name the shards of that phase.")
    return found


def check_given(paths: Sequence[Path], expected: GivenPhase, info: ShardInfo) -> Checked:
    """Checks every header and the first rows of every file.

    Args:
        paths: Any order; they are numbered in natural order (part_2 before part_10).
        expected: What the recipe says of them.
        info: Facts of the vocabulary, and `expected.max_seq_length`.

    Raises:
        DialectError: A file is damaged or unknown, two files differ in dialect or shape, or they
            are not what the recipe says; names the file and the setting.
    """
    files = sorted(paths, key=natural_key)
    headers = [read_header(path) for path in files]
    tokens = instances = 0
    for path, header in zip(files, headers, strict=True):
        _check_alike(path, header, files[0], headers[0])
        _check_expected(path, header, expected)
        if header.dialect == "native":
            check_same(path, read_info(path)[0], info, companion="the vocabulary of this recipe")
        if header.instances:
            sample = read_sample(path, header.dialect, info)
            longest = int(sample.lengths.max(initial=0))
            if longest > expected.max_seq_length:
                raise _unexpected(path, "max_seq_length", longest, expected.max_seq_length)
            if sample.masked_lm_offsets is not None and expected.max_predictions is not None:
                ends = sample.masked_lm_offsets.astype(int)
                most = int((ends[1:] - ends[:-1]).max(initial=0))
                if most > expected.max_predictions:
                    raise _unexpected(path, "max_predictions", most, expected.max_predictions)
            tokens += len(sample.input_ids)
            instances += len(sample.next_sentence_labels)
    counts = [header.instances for header in headers]
    if not sum(counts):
        raise DialectError(f"{len(files)} given shards hold no instance; look at `fetch`.")
    return Checked(headers[0].dialect, files, counts, instances, tokens)


def _check_alike(path: Path, found: Header, first: Path, wanted: Header) -> None:
    for name in ("dialect", "max_seq_length", "max_predictions"):
        one, other = getattr(found, name), getattr(wanted, name)
        if one != other and found.instances and wanted.instances:
            raise DialectError(
                f"{path} has {name} {one}, but {first} has {other}; all shards of a phase must be "
                "alike. Keep other files out of the folder, or give a pattern of them their own "
                "`fetch` item."
            )


def _check_expected(path: Path, header: Header, expected: GivenPhase) -> None:
    for name in ("max_seq_length", "max_predictions"):
        found, wanted = getattr(header, name), getattr(expected, name)
        if found is not None and found != wanted:
            raise _unexpected(path, name, found, wanted)
    if header.dialect == "gpauloski" and expected.max_predictions is not None:
        raise _unexpected(path, "max_predictions", None, expected.max_predictions)


def _unexpected(path: Path, key: str, found: int | None, wanted: int | None) -> DialectError:
    return DialectError(
        f"{path} has {key} {found}, but shard.given.<phase>.{key} is {wanted}; give the shards "
        "that are meant, or correct the setting."
    )
