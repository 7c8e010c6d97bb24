"""How large each step of the way gets, from the sizes of the raw files.

What is measured comes first: a file's size, the size that the configuration states, the counts of
a stage that has run. The rest is estimated by the ratios below, which were measured on published
corpora; they are good to some ten per cent for English prose.
"""

import json
import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from bert.data.instance_config import InstanceConfig
from bert.fetch.rawfiles import RawFile
from bert.recipe import Recipe
from bert.train.config import PhaseConfig

# Bytes of plain text from a byte of raw file. Wikipedia: MLPerf's dump of 2020-01-01 has
# 17.75 GB as bzip2, 75.2 GB as XML and gives 13 GB of text. OpenWebText: 12.9 GB as tar.xz, 40 GB
# of text. PubMed: the 2016 baseline sample. Parquet: wikimedia/wikipedia 20231101.en.
_TEXT_PER_RAW_BYTE: Mapping[str, tuple[tuple[str, float], ...]] = {
    "wikipedia": ((r"\.bz2$", 0.73), ("", 0.173)),
    "wikiextractor": ((r"\.bz2$", 3.0), ("", 0.95)),
    "parquet": (("", 1.7),),
    "openwebtext": ((r"\.(tar|xz)$", 3.1), ("", 1.0)),
    "pubmed": ((r"\.gz$", 1.2), ("", 0.17)),
    "jsonl": ((r"\.(gz|zst)$", 2.6), ("", 0.95)),
    "books": ((r"\.(gz|xz)$", 2.6), ("", 0.97)),
    "text": (("", 1.0),),
    "results4": (("", 1.0),),
}
# Sizes of downloads that the configuration cannot know, because "latest" grows.
_TYPICAL_BYTES = ((r"/enwiki/.*pages-articles[^/]*\.bz2$", 17.75e9),)

# English Wikipedia in BERT's uncased vocabulary: 4.72 bytes a token, with the line feeds.
BYTES_PER_TOKEN = 4.72
# Offsets (8), start of B (2) and label (1) of an instance.
_BYTES_PER_INSTANCE = 11
# Documents end before the last chunk is full: mean fill of an instance, measured on Wikipedia.
_GOOGLE_UNCASED = 30_522  # tokens, where the vocabulary is not there yet
_FILL = {"next_sentence": 0.93, "sentence_order": 0.93, "full_sentences": 0.87}


class PlanError(ValueError):
    """A recipe whose cost cannot be told."""


class Size(NamedTuple):
    """A number of bytes, and whether it was measured or given (else it is an estimate)."""

    bytes: float
    known: bool


class PhaseSize(NamedTuple):
    """The instances of one phase."""

    instances: float
    tokens: float
    bytes: float  # as stored, once


def raw_size(recipe: Recipe, name: str, given: Mapping[str, float], pattern: str = "*") -> Size:
    """Bytes of a raw item, of the files that match `pattern`.

    Args:
        recipe: The recipe.
        name: Name of the item in section `fetch`.
        given: Bytes by item name, as the user states them; they win.
        pattern: Shell pattern for file names, as in an extract section.

    Raises:
        PlanError: A URL of unknown size, or a local path that does not exist.
    """
    if name in given:
        return Size(given[name], True)
    manifest = Path(recipe.results, "fetch", f"{name}.json")
    if manifest.exists():
        files = json.loads(manifest.read_bytes())["files"]
        wanted = [f["bytes"] for f in files if fnmatchcase(Path(f["path"]).name, pattern)]
        return Size(sum(wanted), True)
    sizes = [_item_size(recipe, name, item, pattern) for item in recipe.fetch[name] or []]
    return Size(sum(size.bytes for size in sizes), all(size.known for size in sizes))


def _item_size(recipe: Recipe, name: str, item: RawFile, pattern: str) -> Size:
    if item.size is not None:
        return Size(item.size, True)
    if item.is_url:
        for form, size in _TYPICAL_BYTES:
            if re.search(form, item.location):
                return Size(size, False)
        raise PlanError(
            f"fetch.{name} has no size for {item.location}; expected `size` beside it, or its "
            f"bytes on the command line: --size {name}=25e9."
        )
    path = Path(recipe.locate(item.location))
    if path.is_file():
        return Size(path.stat().st_size, True)
    if path.is_dir():
        files = [file for file in path.rglob("*") if file.is_file()]
        return Size(sum(f.stat().st_size for f in files if fnmatchcase(f.name, pattern)), True)
    raise PlanError(
        f"fetch.{name} names {path}, which does not exist yet; state its bytes on the command "
        f"line: --size {name}=2e6."
    )


def text_size(recipe: Recipe, source: str, given: Mapping[str, float]) -> Size:
    """Bytes of plain text that a source gives: as extracted, or estimated from its raw size."""
    manifest = Path(recipe.results, "extract", source, "manifest.json")
    if manifest.exists():
        return Size(json.loads(manifest.read_bytes())["counts"]["bytes"], True)
    section = recipe.extract[source]
    if section is None:
        raise PlanError(f"extract.{source} is null; expected a source of this recipe.")
    raw = raw_size(recipe, section.raw, given, section.pattern)
    names = [item.location for item in recipe.fetch[section.raw] or []]
    forms = _TEXT_PER_RAW_BYTE[section.format]
    ratio = next(ratio for form, ratio in forms if any(re.search(form, name) for name in names))
    return Size(raw.bytes * ratio, False)


def mean_length(config: InstanceConfig) -> float:
    """Expected tokens of an instance, special ones included."""
    room = config.max_seq_length - _special_tokens(config)
    target = (1 - config.short_seq_prob) * room + config.short_seq_prob * (room + 2) / 2
    return target * _FILL[config.objective] + _special_tokens(config)


def _special_tokens(config: InstanceConfig) -> int:
    return 3 if config.has_pairs else 2


def phase_size(text_bytes: float, config: InstanceConfig, vocab_size: int) -> PhaseSize:
    """Instances, tokens and stored bytes that a phase builds of `text_bytes` of text.

    A pair whose second segment is random gives the sentences after its first one back to the next
    pair, so that `random_next_prob` of one half makes a third more instances than chunks.
    """
    mean = mean_length(config) - _special_tokens(config)
    used = mean * (1 - (config.random_next_prob or 0) / 2) - config.overlap
    instances = config.dupe_factor * text_bytes / BYTES_PER_TOKEN / max(used, 1)
    if isinstance(config.max_instances, int):
        instances = min(instances, config.max_instances)
    tokens = instances * mean_length(config)
    width = 2 if vocab_size <= 65_536 else 4
    return PhaseSize(instances, tokens, width * tokens + _BYTES_PER_INSTANCE * instances)


def expected_vocab_size(recipe: Recipe) -> int:
    """Tokens of the vocabulary: as made, as configured, or as Google's uncased one."""
    manifest = Path(recipe.results, "vocab", "manifest.json")
    if manifest.exists():
        return int(json.loads(manifest.read_bytes())["counts"]["tokens"])
    return _GOOGLE_UNCASED if recipe.vocab.kind == "given" else recipe.vocab.size


def encode_section(recipe: Recipe, number: int) -> InstanceConfig:
    """Section `encode` of a phase that the recipe has, its cap as a number.

    Raises:
        PlanError: The phase is null.
    """
    section = recipe.encode.phase1 if number == 1 else recipe.encode.phase2
    if section is None:
        raise PlanError(f"encode.phase{number} is null; expected a phase of this recipe.")
    if section.max_instances != "steps":
        return section
    trained = pretrain_section(recipe, number)
    return section.model_copy(update={"max_instances": trained.steps * trained.batch})


def pretrain_section(recipe: Recipe, number: int) -> PhaseConfig:
    """Section `pretrain` of a phase that the recipe has.

    Raises:
        PlanError: The phase is null.
    """
    section = recipe.pretrain.phase1 if number == 1 else recipe.pretrain.phase2
    if section is None:
        raise PlanError(f"pretrain.phase{number} is null; expected a phase of this recipe.")
    return section
