"""Peak memory of every data stage: below 400 MB, and the same for eight times the text.

The small text is large enough to fill the blocks that the stages work in, but for the buffers of
`split` (64 MiB of text) and `shard` (48 MiB of instances); the larger text fills these, too.
"""

import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from bert.manifest import ROOT
from tests.stages import STAGES, Run

MOST_MB = 400
MOST_GROWTH = 1.15
SMALL_MB, FACTOR = 16, 8
UNFILLED_MB = {"split": 48, "shard": 32}
LARGE = {
    "split": {"parts": 2, "held_out": {"fraction": 0.01}},
    "vocab": {"size": 8000},
    "encode": {"jobs": 1, "phase1": {"max_seq_length": 128, "dupe_factor": 3}},
    "dialect": {"intel": {"files": 2}},
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads memory from /proc"),
]


def write_text(path, megabytes, seed=0):
    """Documents of made-up words, the frequent ones far more frequent, as in Zipf's law."""
    rng = np.random.default_rng(seed)
    letters = np.array([*"etaoinshrdlu"])
    words = np.array(["".join(rng.choice(letters, rng.integers(2, 10))) for _ in range(20_000)])
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as stream:
        while stream.tell() < megabytes << 20:
            picks = np.minimum(rng.zipf(1.3, 20 * 12), len(words)) - 1
            for sentence in words[picks].reshape(20, 12):
                stream.write(" ".join(sentence).capitalize() + ".\n")
            stream.write("\n")


def tree(process):
    """The process and all that came from it."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(fields[1], []).append(path.parent.name)
    found = [str(process)]
    for one in found:
        found += parents.get(one, [])
    return found


def peak_mb(job):
    """Highest memory of the job's processes together, each at its own peak."""
    peaks = {}
    process = subprocess.Popen(job.command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    while process.poll() is None:
        for one in tree(process.pid):
            try:
                status = Path(f"/proc/{one}/status").read_text()
            except OSError:
                continue
            if "VmHWM:" in status:
                peaks[one] = int(status.partition("VmHWM:")[2].split()[0]) / 1024
        time.sleep(0.02)
    assert process.returncode == 0, process.stderr.read()
    return sum(peaks.values())


@pytest.fixture(scope="module")
def peaks(tmp_path_factory):
    """Peak of each stage for the small text and for the large one, MB."""
    found = {}
    for megabytes in (SMALL_MB, SMALL_MB * FACTOR):
        folder = tmp_path_factory.mktemp(f"mb{megabytes}")
        shards = {"jobs": 1, "shards": 2 * megabytes}  # a few MB each, as in a full run
        run = Run(folder / "run", overlay=LARGE | {"shard": shards})
        write_text(folder / "text.txt", megabytes)
        run.give({"a.txt": (folder / "text.txt").read_bytes()})
        for stage in STAGES:
            measured = [peak_mb(job) for job in run.jobs(stage)]
            found.setdefault(stage, []).append(max(measured))
    return found


@pytest.mark.parametrize("stage", STAGES)
def test_eight_times_the_text_takes_no_more_memory(peaks, stage):
    small, large = peaks[stage]

    assert large < MOST_MB
    assert large < MOST_GROWTH * small + UNFILLED_MB.get(stage, 0)
