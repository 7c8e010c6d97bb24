"""A run's folder, and the scripts of the data stages on it, as the workflow calls them."""

import importlib
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import yaml

from bert.manifest import ROOT, sha256_file, write_manifest
from bert.recipe import check_recipe

SMALL = yaml.safe_load("""
generate: {seed: 1, people: 40, towns: 8, works: 8, organisations: 4, first_year: 1700,
           last_year: 1869, books: 2, chapters_per_book: 2, scenes_per_chapter: 2,
           train_questions: 12, dev_questions: 4, questions_per_context: 4, train_pairs: 8,
           dev_pairs: 4, paraphrase_share: 0.5, dev_subject_share: 0.25}
fetch: {wikipedia: null, vocabulary: null}
extract: {wikipedia: null}
filter: {contamination: null}
split: {parts: 3, held_out: {fraction: 0.1}}
vocab: {kind: wordpiece, raw: null, size: 500, min_frequency: 1, limit_alphabet: 120,
        coverage_megabytes: 1}
encode: {jobs: 2, phase1: {max_seq_length: 32, dupe_factor: 2, max_instances: null}, phase2: null}
pretrain: {phase2: null}
shard: {shards: 5, jobs: 2}
dialect:
  intel: {format: mlperf_fixed, max_predictions: 20, files: 2, seed: 1,
          masking: {unit: token, span: null, mask_prob: 0.15, max_predictions: 20,
                    mask_token_share: 0.8, random_token_share: 0.1}}
examine: {max_duplicate_share: 1.0, min_label_share: 0.0}
""")
SOURCES = {
    "text": {"documents": "blank_line", "sentences": "line"},
    "results4": {},
    "jsonl": {"text_key": "text", "id_key": None, "max_bad_share": 0.5},
    "books": {"chapters_are_documents": False},
}
# Of a run with one source; each stage needs what the stages before it left.
STAGES = ("extract", "filter", "split", "vocab", "encode", "shard", "dialect", "examine")


class Job(NamedTuple):
    """One call of a script, and what the workflow expects of it."""

    stage: str
    arguments: list[str]
    outputs: list[Path]

    @property
    def command(self):
        return [sys.executable, f"scripts/{self.stage}.py", *self.arguments]


class Run:
    """One source of text, and everything that is made of it.

    `overlay` lies over `SMALL` and config/config.yaml, as a recipe does.
    """

    def __init__(self, folder, form="text", overlay=None, source=None):
        self.folder = folder
        values = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
        section = {"format": form, "raw": "docs", "pattern": "*", "licence": "CC0-1.0"}
        section |= SOURCES[form] | (source or {})
        docs = {"fetch": {"docs": [{"location": "docs"}]}, "extract": {"docs": section}}
        self.recipe = check_recipe(_merge(values, SMALL, docs, overlay or {}))
        (folder / "config").mkdir(parents=True)
        for name in (*STAGES, "generate", "encode.phase1", "pretrain.phase1"):
            self._write_section(name)
        self._write_section("extract.docs")
        self._write_section("dialect.intel")

    def _write_section(self, name):
        text = json.dumps(self.recipe.section(name), default=str)
        (self.folder / "config" / f"{name}.json").write_text(text)

    def give(self, files):
        """Raw files by name, as `fetch` leaves them."""
        listed = []
        for name, data in files.items():
            path = self.folder / "raw" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            listed.append({"path": str(path), "sha256": sha256_file(path), "bytes": len(data)})
        where = self.folder / "fetch" / "docs.json"
        write_manifest(
            where, stage="fetch", config={}, inputs={}, counts={}, outputs=[], files=listed
        )
        return self

    def jobs(self, stage, *, out=None, workers=1):
        """The workflow's calls of a stage, with outputs below `out` in place of the folder."""
        return list(_JOBS[stage](self, out or self.folder, workers))

    def make(self, *stages, workers=1):
        """Runs stages in this process, all by default."""
        for stage in stages or STAGES:
            for job in self.jobs(stage, workers=workers):
                run_here(job)
        return self

    def manifest(self, name):
        return json.loads((self.folder / name).read_text())


def _merge(*layers):
    merged = {}
    for layer in layers:
        for key, value in layer.items():
            old = merged.get(key)
            both = isinstance(old, dict) and isinstance(value, dict)
            merged[key] = _merge(old, value) if both else value
    return merged


def _job(run, stage, arguments, target, outputs, workers=None, config=None):
    config = run.folder / "config" / f"{config or stage}.json"
    arguments = ["--config", config, *arguments, "--output", target]
    arguments += [] if workers is None else ["--workers", workers]
    return Job(stage, list(map(str, arguments)), outputs)


def _generate(run, out, workers):
    yield _job(run, "generate", [], out / "generate", [out / "generate"])


def _extract(run, out, workers):
    raw = ["--raw", run.folder / "fetch" / "docs.json"]
    target = out / "extract" / "docs"
    yield _job(run, "extract", raw, target, [target], workers, "extract.docs")


def _sources(run):
    return ["--extract", run.folder / "extract" / "docs" / "manifest.json"]


def _filter(run, out, workers):
    yield _job(run, "filter", _sources(run), out / "filter", [out / "filter"], workers)


def _split(run, out, workers):
    filtered = run.folder / "filter" / "manifest.json"
    options = [*_sources(run), *(["--filter", filtered] if filtered.exists() else [])]
    yield _job(run, "split", options, out / "split", [out / "split"], workers)


def _vocab(run, out, workers):
    options = ["--split", run.folder / "split" / "manifest.json", *_sources(run)]
    yield _job(run, "vocab", options, out / "vocab", [out / "vocab"])


def _encode(run, out, workers):
    options = ["--phase", 1, "--split", run.folder / "split" / "manifest.json"]
    options += ["--vocab", run.folder / "vocab", "--parts"]
    jobs = [f"{job:03d}" for job in run.recipe.encode_jobs()]
    jobs += ["held_out"] * (run.recipe.split.held_out.fraction > 0)
    for job in jobs:
        target = out / "encode" / "phase1" / job
        parts = run.recipe.parts_of_job(job)
        made = [target, target.with_suffix(".json")]
        yield _job(run, "encode", [*options, *parts], target, made, workers, "encode.phase1")


def _shard(run, out, workers):
    encoded = [run.folder / "encode" / f"phase1/{job:03d}.json" for job in run.recipe.encode_jobs()]
    for job in run.recipe.shard_jobs():
        target = out / "shard" / "phase1" / f"{job:03d}"
        options = ["--phase", 1, "--job", job, "--encode", *encoded]
        made = [target, target.with_suffix(".json")]
        yield _job(run, "shard", options, target, made, workers)


def shard_manifests(run):
    return sorted((run.folder / "shard" / "phase1").glob("*.json"))


def _dialect(run, out, workers):
    options = ["--name", "intel", "--phase", 1, "--shards", *shard_manifests(run)]
    target = out / "dialect" / "intel" / "phase1"
    made = [target, target.with_suffix(".json")]
    yield _job(run, "dialect", options, target, made, workers, "dialect.intel")


def _examine(run, out, workers):
    options = ["--phase-config", run.folder / "config" / "pretrain.phase1.json", "--phase", 1]
    options += ["--shards", *shard_manifests(run), "--vocab", run.folder / "vocab"]
    target = out / "examine" / "phase1"
    yield _job(run, "examine", options, target, [target / "samples.txt", target / "manifest.json"])


_JOBS = {
    "generate": _generate,
    "extract": _extract,
    "filter": _filter,
    "split": _split,
    "vocab": _vocab,
    "encode": _encode,
    "shard": _shard,
    "dialect": _dialect,
    "examine": _examine,
}


def run_here(job):
    """Calls the script's `main` in this process, and leaves logging as it was."""
    script = importlib.import_module(f"scripts.{job.stage}")
    root = logging.getLogger()
    before = root.handlers[:], root.level, sys.excepthook
    try:
        with patch.object(sys, "argv", job.command[1:]):
            script.main()
    finally:
        root.handlers[:], sys.excepthook = before[0], before[2]
        root.setLevel(before[1])
        logging.captureWarnings(False)


def run_apart(job, **options):
    """Runs the script in a process of its own; returns the completed process."""
    return subprocess.run(
        job.command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300, **options
    )


def plain_documents(count, seed=0, sentences=(2, 9)):
    """Documents of made-up words, all different."""
    rng = np.random.default_rng(seed)
    words = [a + b for a in "bcdfglmn" for b in ("a", "eti", "olu", "ina", "er")]
    return [
        [
            " ".join(rng.choice(words, rng.integers(4, 12))).capitalize() + "."
            for _ in range(rng.integers(*sentences))
        ]
        for _ in range(count)
    ]


def as_text(documents):
    """Documents in the text format."""
    return "\n\n".join("\n".join(document) for document in documents).encode() + b"\n"
