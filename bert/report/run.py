"""A finished run on disk: every receipt of the known layout, read and checked.

The layout is the table `LAYOUT`. A job is the part of a path that the `*` of the pattern stand
for: `wikipedia` in `extract/wikipedia/manifest.json`, `phase1/held_out` in
`encode/phase1/held_out.json`, and "" where a stage has one receipt only.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bert.manifest import read_manifest, sha256_file
from bert.report.benchmarks import Cost, read_costs
from bert.report.curves import Log, read_log

logger = logging.getLogger(__name__)

Receipt = Mapping[str, Any]
Receipts = Mapping[str, Receipt]

HELD_OUT = "held_out"
LAYOUT = {
    "generate": "generate/manifest.json",
    "fetch": "fetch/*.json",
    "extract": "extract/*/manifest.json",
    "filter": "filter/manifest.json",
    "split": "split/manifest.json",
    "vocab": "vocab/manifest.json",
    "convert": "convert/manifest.json",
    "encode": "encode/*/*.json",
    "shard": "shard/*/*.json",
    "examine": "examine/*/manifest.json",
    "pretrain": "pretrain/*/manifest.json",
    "evaluate": "evaluate/*/manifest.json",
    "export": "export/manifest.json",
    "features": "features/*/manifest.json",
    "finetune": "finetune/*/*/*seed-*/manifest.json",
    "score": "score/*/*/*seed-*/metrics.json",
}
_OPTIONAL = frozenset({"generate", "fetch", "filter", "convert", "features"})
# A run on given shards has none of these.
_FROM_TEXT = frozenset({"extract", "filter", "split", "encode"})
# Nor has a run these that only fine-tunes weights which somebody else trained.
_PRETRAINING = _FROM_TEXT | {"shard", "examine", "pretrain", "evaluate", "export"}
_NEEDED_COUNTS = {
    "extract": ("documents",),
    "filter": ("documents", "kept"),
    "encode": ("documents", "instances", "tokens"),
    "shard": ("instances", "shards"),
    "pretrain": ("steps", "sequences", "tokens", "masked_tokens", "parameters"),
    "finetune": ("steps",),
}
_SCORE = ("task", "start", "trial", "seed", "headline", "metrics")
_NEEDED_KEYS = {"evaluate": ("metrics",), "score": _SCORE}


class RunError(ValueError):
    """A run folder whose files do not fit together."""


@dataclass(frozen=True)
class Run:
    """What the page is made of.

    Attributes:
        name: Name of the run, the name of its folder.
        receipts: Stage to job to receipt, stages in pipeline order, jobs by name.
        logs: Phase to what pretraining logged.
        costs: Stage to time and memory; stages without a benchmark file are absent.
        digests: Path in the run folder to sha256, for every file that was read.
    """

    name: str
    receipts: Mapping[str, Receipts]
    logs: Mapping[str, Log]
    costs: Mapping[str, Cost]
    digests: Mapping[str, str]

    def one(self, stage: str) -> Receipt:
        """The receipt of a stage that has one."""
        return next(iter(self.receipts[stage].values()))

    def phases(self) -> list[str]:
        """Names of the pretraining phases in order; none in a run that only fine-tunes."""
        return list(self.receipts.get("pretrain", {}))


def read_run(results: Path, jobs: Mapping[str, Sequence[str]] | None = None) -> Run:
    """Reads a run folder.

    Args:
        results: `results/<run>`.
        jobs: Stage to the jobs that belong to the run as it is configured now; what an earlier
            configuration left behind is not read, and a stage without jobs needs no receipt.
            None takes every receipt there is.

    Raises:
        FileNotFoundError: A stage left no receipt; names the rule that writes it.
        RunError: The folder is no run, or phases do not fit together.
        ManifestError: A file is not the receipt of its stage.
    """
    if not results.is_dir():
        raise RunError(f"{results} is not a folder; expected the run's folder, results/<run>.")
    optional = _OPTIONAL | {stage for stage, wanted in (jobs or {}).items() if not wanted}
    if _has_given_shards(results):
        optional |= _FROM_TEXT
    if (results / LAYOUT["convert"]).exists():
        optional |= _PRETRAINING
    files = {
        stage: _find(results, stage, pattern, needed=stage not in optional)
        for stage, pattern in LAYOUT.items()
    }
    for stage, wanted in (jobs or {}).items():
        files[stage] = {job: _wanted(results, stage, files[stage], job) for job in wanted}
    receipts = {
        stage: {job: read_manifest(file, stage=stage) for job, file in found.items()}
        for stage, found in files.items()
        if found
    }
    for stage, found in receipts.items():
        for job, receipt in found.items():
            _check_receipt(stage, files[stage][job], receipt)
    _check_phases(results, receipts)
    logs = {
        job: _phase_log(file, receipts["pretrain"][job]) for job, file in files["pretrain"].items()
    }
    benchmarks = _benchmarks(results / "benchmarks")
    logger.info(
        "%s: %d benchmark files, receipts: %s",
        results,
        len(benchmarks),
        ", ".join(f"{stage} {len(found)}" for stage, found in files.items()),
    )
    for phase, log in logs.items():
        if log.events:
            logger.info("%s: %d log lines of other kinds are not drawn", phase, len(log.events))
    read = [file for found in files.values() for file in found.values()] + benchmarks
    read += [file.with_name("metrics.jsonl") for file in files["pretrain"].values()]
    return Run(
        name=results.resolve().name,
        receipts=receipts,
        logs=logs,
        costs=read_costs(results / "benchmarks", benchmarks),
        digests={f.relative_to(results).as_posix(): sha256_file(f) for f in sorted(read)},
    )


def training_jobs(receipts: Receipts, phase: str) -> list[Receipt]:
    """Receipts of a phase of encode or shard, without those of the held-out instances."""
    found = {job.partition("/"): receipt for job, receipt in receipts.items()}
    return [r for (name, _, job), r in found.items() if name == phase and job != HELD_OUT]


def total(receipts: list[Receipt], count: str) -> int:
    """Sum of one count over receipts."""
    return sum(int(receipt["counts"][count]) for receipt in receipts)


def _has_given_shards(results: Path) -> bool:
    files = _find(results, "shard", LAYOUT["shard"], needed=False).values()
    return any("given" in read_manifest(file, stage="shard") for file in files)


def _find(results: Path, stage: str, pattern: str, *, needed: bool) -> dict[str, Path]:
    found = sorted(
        file
        for file in results.glob(pattern)
        if not any(part.startswith(".") for part in file.relative_to(results).parts)
    )
    if not found and needed:
        raise FileNotFoundError(
            f"{results / pattern} is missing; the rule `{stage}` writes it. Run the workflow up to "
            f"`{stage}` before the report."
        )
    return {_job(file.relative_to(results), pattern): file for file in found}


def _wanted(results: Path, stage: str, found: Mapping[str, Path], job: str) -> Path:
    if job not in found:
        raise FileNotFoundError(
            f"{results / stage} has no receipt of {job!r}; the rule `{stage}` writes it."
        )
    return found[job]


def _job(path: Path, pattern: str) -> str:
    free = zip(path.parts, pattern.split("/"), strict=True)
    return "/".join(part.removesuffix(".json") for part, known in free if "*" in known)


def _benchmarks(folder: Path) -> list[Path]:
    """Benchmark files, without those of an earlier report: it must not change the next one."""
    files = sorted(folder.glob("**/*.tsv"))
    return [file for file in files if file.relative_to(folder).parts[0] != "report"]


def _check_receipt(stage: str, file: Path, receipt: Receipt) -> None:
    """Refuses a receipt without the numbers that the page shows.

    Raises:
        RunError: Names the file, what it lacks, and the rule.
    """
    lacks = [f"counts.{n}" for n in _NEEDED_COUNTS.get(stage, ()) if n not in receipt["counts"]]
    lacks += [name for name in _NEEDED_KEYS.get(stage, ()) if name not in receipt]
    if lacks:
        raise RunError(
            f"{file} has no {', '.join(lacks)}; expected a receipt of the present workflow. "
            f"Run the rule `{stage}` again."
        )


def _phase_log(manifest: Path, receipt: Receipt) -> Log:
    log = read_log(manifest.with_name("metrics.jsonl"))
    steps = receipt["counts"]["steps"]
    if log.last_step > steps:
        raise RunError(
            f"{manifest.with_name('metrics.jsonl')} reaches step {log.last_step}, but its manifest "
            f"counts {steps} steps; expected the steps of one phase. Run the rule `pretrain` again."
        )
    return log


def _check_phases(results: Path, receipts: Mapping[str, Receipts]) -> None:
    for phase in receipts.get("pretrain", {}):
        stages = ("encode", "shard") if "encode" in receipts else ("shard",)
        for stage in stages:
            if not training_jobs(receipts.get(stage, {}), phase):
                raise FileNotFoundError(
                    f"{results / stage / phase} has no receipt for training, but {phase} was "
                    f"pretrained; the rule `{stage}` writes it."
                )
        if phase not in receipts.get("evaluate", {}):
            raise FileNotFoundError(
                f"{results / 'evaluate' / phase / 'manifest.json'} is missing; the rule "
                "`evaluate` writes it."
            )
