"""SIGKILL in the middle of every data stage: nothing partial looks whole, nothing is left over.

The quick tests kill a stage right before chosen file operations (open, rename, remove, ...) on its
outputs, which reaches the moments between two steps that a clock would miss. The slow ones kill the
whole process group, pool included, at moments spread over the run time.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from bert.data.shards import ShardError, check_same, read_info, read_instances
from bert.manifest import ROOT
from tests.extracted import content
from tests.stages import STAGES, Run, as_text, plain_documents, run_apart, run_here

EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"}
MOMENTS = 8


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing interrupted."""
    run = Run(tmp_path_factory.mktemp("whole") / "run")
    return run.give({"a.txt": as_text(plain_documents(120))}).make("generate", *STAGES)


def first_job(whole, stage, out, workers=1):
    return whole.jobs(stage, out=out, workers=workers)[0]


def expected(whole, job, out):
    """Each declared output and what it holds when it is whole."""
    return {path: read(whole.folder / path.relative_to(out)) for path in job.outputs}


def read(path):
    return content(path) if path.is_dir() else path.read_bytes()


def check_outputs(wanted):
    """Whatever is there under its own name is whole."""
    for path, value in wanted.items():
        assert not path.exists() or read(path) == value, path


def check_finished(whole, job, out):
    """All is there, and nothing else, hidden or not."""
    made, wanted = content(out), expected(whole, job, out)
    files = {}
    for path, value in wanted.items():
        name = path.relative_to(out).as_posix()
        files |= {f"{name}/{k}": v for k, v in value.items()} if path.is_dir() else {name: value}
    assert made == files
    assert not list(out.rglob(".*"))


def killed_before(job, out, number):
    """Runs the job in a fork that ends before its event `number` below `out`; True if it did."""
    child = os.fork()
    if child == 0:
        try:
            seen = [0]

            def watch(event, arguments):
                if event in EVENTS and str(arguments[0]).startswith(str(out)):
                    seen[0] += 1
                    if seen[0] == number:
                        os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(watch)
            run_here(job)
            os._exit(min(seen[0], 255))
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.WEXITSTATUS(status)


@pytest.mark.parametrize("stage", [s for s in ("generate", *STAGES) if s != "dialect"])
def test_killed_between_two_file_operations_and_run_again_it_makes_the_same_bytes(
    whole, tmp_path, stage
):
    out = tmp_path / "out"
    job = first_job(whole, stage, out)
    wanted = expected(whole, job, out)
    events = -killed_before(job, out, 0)
    assert events > 3
    check_finished(whole, job, out)
    kills = 0
    # The first round goes over whole outputs, the last ones over what kills have left.
    for moment in sorted({1 + place * (events - 1) // (MOMENTS - 1) for place in range(MOMENTS)}):
        kills += killed_before(job, out, moment) == signal.SIGKILL
        check_outputs(wanted)
    run_here(job)

    assert kills > 2
    check_finished(whole, job, out)


def kill_after(job, seconds):
    process = subprocess.Popen(
        job.command, cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL
    )
    try:
        process.wait(timeout=seconds)
        return False
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True


def check_killed_by_the_clock(whole, tmp_path, stage, shares):
    start = time.monotonic()
    assert run_apart(first_job(whole, stage, tmp_path / "timed", workers=2)).returncode == 0
    seconds = time.monotonic() - start
    out = tmp_path / "out"
    job = first_job(whole, stage, out, workers=2)
    wanted = expected(whole, job, out)

    kills = 0
    for share in shares:
        kills += kill_after(job, share * seconds)
        check_outputs(wanted)
    done = run_apart(job)

    assert kills
    assert done.returncode == 0, done.stderr
    check_finished(whole, job, out)


def test_the_export_with_its_pool_is_killed_and_run_again(whole, tmp_path):
    check_killed_by_the_clock(whole, tmp_path, "dialect", (0.5, 0.85))


def open_beside(companion, path):
    """As the training loop does: each shard whole, and all with the same attributes."""
    instances, info = read_instances(path)
    check_same(path, info, read_info(companion)[0], companion=str(companion))
    return instances


@pytest.mark.parametrize("rest", [b"", b"\0"])
def test_a_shard_that_ends_at_any_byte_is_refused(whole, tmp_path, rest):
    """Cut short, or with the zeros of blocks that were never written."""
    shard = next((whole.folder / "shard").rglob("*.h5"))
    data = shard.read_bytes()
    path = tmp_path / "shard.h5"
    useful = len(data.rstrip(b"\0"))
    for end in {*range(0, useful, 199), *range(useful - 20, useful)}:
        path.write_bytes(data[:end] + rest * (len(data) - end))

        with pytest.raises(ShardError):
            open_beside(shard, path)


def children_of(process):
    count = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended since
            count += path.read_text().rpartition(")")[2].split()[1] == str(process)
    return count


def group_ends(group, seconds=10.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
def test_a_pool_ends_with_its_parent_so_that_no_orphan_writes_beside_the_next_start(tmp_path):
    text = as_text(plain_documents(3000))
    encode = {"jobs": 1, "phase1": {"dupe_factor": 40}}
    run = Run(tmp_path / "run", overlay={"filter": {"near_duplicates": None}, "encode": encode})
    run.give({"a.txt": text}).make("extract", "filter", "split", "vocab")
    job = first_job(run, "encode", tmp_path / "out", workers=2)
    process = subprocess.Popen(job.command, cwd=ROOT, start_new_session=True)
    while process.poll() is None and children_of(process.pid) < 3:  # two workers and a tracker
        time.sleep(0.01)

    process.kill()
    process.wait()

    assert group_ends(process.pid)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["generate", *STAGES])
def test_killed_with_its_pool_at_any_time_and_run_again_it_makes_the_same_bytes(
    whole, tmp_path, stage
):
    check_killed_by_the_clock(whole, tmp_path, stage, (0.3, 0.5, 0.65, 0.75, 0.85, 0.95))
