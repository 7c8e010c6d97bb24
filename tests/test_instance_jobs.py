"""The scripts of encode and shard: workers, jobs and kills change no byte."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from bert.data.vocab import write_vocabulary
from bert.data.wordpiece import SPECIAL_TOKENS
from bert.manifest import ROOT, sha256_file, write_json, write_manifest
from bert.text.documents import write_documents

WORDS = [f"{a}{b}" for a in "abcdefgh" for b in "klmnopqr"]
ENCODE = {
    "seed": 1,
    "max_seq_length": 32,
    "objective": "next_sentence",
    "short_seq_prob": 0.1,
    "random_next_prob": 0.5,
    "dupe_factor": 2,
    "cross_documents": False,
    "overlap": 0,
    "max_instances": 700,
    "masking": None,
}
SHARD = {"seed": 1, "shards": 5, "jobs": 1, "given": None}
PARTS = [f"parts/part-{n:05d}-of-00004" for n in range(4)]


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """What the stages before leave: text parts, their manifest, a vocabulary, configs."""
    folder = tmp_path_factory.mktemp("run")
    rng = np.random.default_rng(0)
    (folder / "split" / "parts").mkdir(parents=True)
    for name in PARTS:
        documents = [
            [" ".join(rng.choice(WORDS, 9)) for _ in range(rng.integers(1, 9))] for _ in range(60)
        ]
        write_documents(folder / "split" / name, documents)
    write_manifest(
        folder / "split" / "manifest.json",
        stage="split",
        config={},
        inputs={},
        counts={},
        outputs=[folder / "split" / name for name in PARTS],
    )
    (folder / "vocab").mkdir()
    write_vocabulary(folder / "vocab", [*SPECIAL_TOKENS, *WORDS], lowercase=True)
    write_json(folder / "encode.json", ENCODE)
    write_json(folder / "shard.json", SHARD)
    return folder


def encode_command(folder, output, workers, parts=PARTS):
    options = f"--config {folder}/encode.json --phase 1 --split {folder}/split/manifest.json"
    command = [sys.executable, "scripts/encode.py", *options.split()]
    command += ["--vocab", str(folder / "vocab"), "--output", str(output)]
    return [*command, "--workers", str(workers), "--parts", *parts]


def shard_command(folder, output, manifests, workers):
    options = f"--config {folder}/shard.json --phase 1 --job 0 --workers {workers}"
    command = [sys.executable, "scripts/shard.py", *options.split(), "--output", str(output)]
    return [*command, "--encode", *map(str, manifests)]


def run(command):
    subprocess.run(command, cwd=ROOT, check=True)


def digests(folder):
    return {path.name: sha256_file(path) for path in sorted(folder.iterdir())}


def test_workers_and_jobs_change_no_byte(run_folder, tmp_path):
    encoded, shards = [], []
    for workers, cut in [(1, [PARTS]), (2, [PARTS[:1], PARTS[1:]])]:
        folder = tmp_path / str(workers) / "encode" / "phase1"
        for job, parts in enumerate(cut):
            run(encode_command(run_folder, folder / f"{job:03d}", workers, parts))
        manifests = sorted(folder.glob("*.json"))
        output = tmp_path / str(workers) / "shard" / "phase1" / "000"
        run(shard_command(run_folder, output, manifests, workers))
        found = {}
        for job in range(len(cut)):
            found |= digests(folder / f"{job:03d}")
        encoded.append(found)
        shards.append(digests(output))
        counts = json.loads(output.with_suffix(".json").read_text())["counts"]
        assert (counts["instances"], counts["shards"]) == (700, 5)
        assert counts["phase_instances"] == 700

    assert len(encoded[0]) == 4
    assert encoded[0] == encoded[1]
    assert len(shards[0]) == 5
    assert shards[0] == shards[1]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [3, 7])
def test_more_workers_than_parts_change_no_byte(run_folder, tmp_path, workers):
    run(encode_command(run_folder, tmp_path / "1" / "000", 1))
    run(encode_command(run_folder, tmp_path / "n" / "000", workers))

    assert digests(tmp_path / "1" / "000") == digests(tmp_path / "n" / "000")
    assert (tmp_path / "1" / "000.json").read_bytes() == (tmp_path / "n" / "000.json").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["encode", "shard"])
def test_a_job_that_is_killed_again_and_again_ends_with_the_same_bytes(run_folder, tmp_path, stage):
    encode = encode_command(run_folder, tmp_path / "encode" / "000", 1)
    run(encode)
    manifest = tmp_path / "encode" / "000.json"
    if stage == "encode":
        expected, output = tmp_path / "encode" / "000", tmp_path / "again" / "000"
        command = encode_command(run_folder, output, 1)
    else:
        expected, output = tmp_path / "shard" / "000", tmp_path / "again" / "000"
        run(shard_command(run_folder, expected, [manifest], 1))
        command = shard_command(run_folder, output, [manifest], 1)
    for attempt in range(12):
        process = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
        try:
            process.wait(timeout=0.4 + 0.15 * attempt)
            break
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    run(command)

    assert digests(output) == digests(expected)
    assert [path.name for path in output.parent.iterdir() if path.name[0] == "."] == []
