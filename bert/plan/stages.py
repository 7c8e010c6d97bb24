"""What each stage of a recipe costs: jobs, disk, memory and time, from sizes and speeds.

Speeds of the data stages stand relative to that of encode, which `bert.plan.calibrate` measures on
the machine at hand: a machine that is slower there is slower at all of them.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from bert.plan.calibrate import TrainingSpeed
from bert.plan.sizes import (
    encode_section,
    mean_length,
    phase_size,
    pretrain_section,
    raw_size,
    text_size,
)
from bert.recipe import Recipe
from bert.train.finetune_config import FinetuneSection

# Core-seconds for one of encode's first pass over the same text, from benchmarks/extract.py,
# filter.py, encode.py and shard.py on one machine; shard's for each pass that encode makes.
_EXTRACT = {"wikipedia": 14.0, "pubmed": 8.0, "wikiextractor": 3.5, "results4": 0.3}
_EXTRACT_OTHERS = 2.5
_FILTER, _SPLIT, _SHARD = 3.0, 1.0, 0.15
# Hashes and signatures on disk while the filter runs: 425 bytes a document of some 2,200.
_FILTER_DISK = 0.2
_FURTHER_PASS = 0.35  # of dupe_factor: the text is tokenised once
_PROCESS_BYTES = 200e6
# fp32 weights and two moments.
_CHECKPOINT_BYTES = 12
_WEIGHTS_BYTES = 4
# Features of SQuAD overlap; MRPC has fewer tokens for its bytes. Both as unpadded tokens.
_TASK_TOKENS_PER_BYTE = 0.5


class Row(NamedTuple):
    """One stage of the plan."""

    stage: str
    jobs: int
    disk: float = 0.0  # bytes that stay
    memory: float = _PROCESS_BYTES  # bytes of one job at its peak
    core_seconds: float = 0.0
    wall_seconds: float = 0.0
    done: bool = False  # all receipts of the stage are there


class Speeds(NamedTuple):
    """What the plan takes the machine to do."""

    cores: int
    encode: float  # bytes of text to instances a second, one core, one pass
    training: Mapping[int, TrainingSpeed]  # by phase


def plan(recipe: Recipe, speeds: Speeds, vocab_size: int, given: Mapping[str, float]) -> list[Row]:
    """The rows of all stages, in the order of the pipeline.

    Args:
        recipe: The recipe.
        speeds: Measured or given.
        vocab_size: Tokens of the vocabulary.
        given: Bytes of raw items that the user states.

    Raises:
        PlanError: The size of a raw item cannot be told.
    """
    text = sum(text_size(recipe, source, given).bytes for source in recipe.sources)
    rows = [
        _fetch_row(recipe, given),
        *(_text_rows(recipe, speeds, given) if recipe.needs_text else _given_rows(recipe)),
        *(_instance_rows(recipe, speeds, text, vocab_size) if recipe.needs_text else []),
        *([Row("convert", 1)] if recipe.convert else []),
        *(_pretrain_row(recipe, n, speeds) for n in recipe.phases),
        *_task_rows(recipe, speeds, given),
    ]
    return [row._replace(done=_is_done(recipe, row)) for row in rows]


def needed_disk(rows: list[Row]) -> float:
    """Bytes that the stages still to run will write."""
    return sum(row.disk for row in rows if not row.done)


def _fetch_row(recipe: Recipe, given: Mapping[str, float]) -> Row:
    downloads = {
        name: raw_size(recipe, name, given).bytes
        for name, items in recipe.fetch.items()
        if items and any(item.is_url for item in items)
    }
    return Row("fetch", sum(map(bool, recipe.fetch.values())), sum(downloads.values()))


def _given_rows(recipe: Recipe) -> Iterator[Row]:
    """Shards that exist are only checked: training and held-out ones of each phase, if any."""
    yield Row("vocab", 1)
    yield from (Row(f"shard phase{number}", 2) for number in recipe.phases)


def _text_rows(recipe: Recipe, speeds: Speeds, given: Mapping[str, float]) -> Iterator[Row]:
    texts = {source: text_size(recipe, source, given).bytes for source in recipe.sources}
    formats = {s: section.format for s, section in recipe.extract.items() if section is not None}
    seconds = sum(
        text / speeds.encode * _EXTRACT.get(formats[source], _EXTRACT_OTHERS)
        for source, text in texts.items()
    )
    total = sum(texts.values())
    yield _pooled("extract", len(texts), total, seconds, speeds)
    if recipe.filter is not None:
        yield _pooled("filter", 1, _FILTER_DISK * total, _FILTER * total / speeds.encode, speeds)
    seconds = _SPLIT * total / speeds.encode
    yield Row("split", 1, total, _PROCESS_BYTES, seconds, seconds)
    yield Row("vocab", 1)


def _instance_rows(recipe: Recipe, speeds: Speeds, text: float, vocab_size: int) -> Iterator[Row]:
    for number in recipe.phases:
        section = encode_section(recipe, number)
        size = phase_size(text, section, vocab_size)
        passes = 1 + _FURTHER_PASS * (section.dupe_factor - 1)
        seconds = passes * text / speeds.encode
        name, jobs = f"phase{number}", len(recipe.encode_jobs()) + 1
        yield _pooled(f"encode {name}", jobs, size.bytes, seconds, speeds)
        seconds = _SHARD * section.dupe_factor * text / speeds.encode
        yield _pooled(f"shard {name}", len(recipe.shard_jobs()), size.bytes, seconds, speeds)


def _pooled(stage: str, jobs: int, disk: float, seconds: float, speeds: Speeds) -> Row:
    """A stage whose jobs have a pool of processes inside."""
    memory = _PROCESS_BYTES * (1 + speeds.cores)
    return Row(stage, jobs, disk, memory, seconds, seconds / speeds.cores)


def _pretrain_row(recipe: Recipe, number: int, speeds: Speeds) -> Row:
    section = pretrain_section(recipe, number)
    tokens = section.steps * section.batch * mean_length(encode_section(recipe, number))
    speed = speeds.training[number]
    seconds = tokens * speed.seconds_per_token + section.steps * speed.seconds_per_update
    kept = recipe.runtime.checkpoint.keep_last + 1  # the final one stands beside the running ones
    if recipe.runtime.checkpoint.keep_every:
        kept += section.steps // recipe.runtime.checkpoint.keep_every
    disk = kept * _CHECKPOINT_BYTES * speed.parameters
    name = f"pretrain phase{number}"
    return Row(name, 1, disk, speed.peak_bytes, seconds * speeds.cores, seconds)


def _task_rows(recipe: Recipe, speeds: Speeds, given: Mapping[str, float]) -> Iterator[Row]:
    speed = speeds.training[max(speeds.training)]
    seconds = sum(
        _task_tokens(recipe, task, given)
        * len(task.trials())
        * len(task.starts)
        * speed.seconds_per_token
        for task in recipe.tasks.values()
    )
    runs = len(recipe.runs())
    # Those of all runs stay beside the published ones, so that a new seed runs alone.
    weights = runs * _WEIGHTS_BYTES * speed.parameters if recipe.published() else 0.0
    yield Row("features", len(recipe.tasks))
    yield Row("finetune", runs, weights, speed.peak_bytes, seconds * speeds.cores, seconds)
    yield Row("score", runs)
    if recipe.model_export():
        yield Row("export", 1, _WEIGHTS_BYTES * speed.parameters)
    yield Row("report", 1)


def _task_tokens(recipe: Recipe, task: FinetuneSection, given: Mapping[str, float]) -> float:
    """Tokens that a run trains on."""
    tokens = raw_size(recipe, task.train, given).bytes * _TASK_TOKENS_PER_BYTE
    if task.epochs is None:
        longest: int = task.task.max_seq_length
        return (task.steps or 1) * task.batch * longest
    return tokens * task.epochs


def _is_done(recipe: Recipe, row: Row) -> bool:
    """Whether the receipts of all jobs of the row's stage are there."""
    stage, _, phase = row.stage.partition(" ")
    jobs = recipe.jobs().get(stage)
    if jobs is None:
        return Path(recipe.results, stage, "manifest.json").exists()
    names = [job for job in jobs if not phase or job.split("/")[0] == phase]
    folder = Path(recipe.results, stage)
    return all(
        folder.joinpath(f"{job}.json").exists() or folder.joinpath(job, "manifest.json").exists()
        for job in names
    )
