"""Read-only input, file systems without locks, and few open files: every data stage works."""

import os
import resource
import shutil
import subprocess
import sys

import pytest

from bert.manifest import ROOT
from tests.extracted import content
from tests.mounts import read_only
from tests.stages import STAGES, Run, as_text, plain_documents, run_apart, run_here

# Makes every request for a lock fail as on a file system that has none.
NO_LOCKS = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>

int flock(int file, int operation) { errno = ENOLCK; return -1; }

static int locks(int command) {
  return command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK ||
         command == F_OFD_SETLKW;
}

#define WRAP(name)                                                      \
  int name(int file, int command, ...) {                                \
    static int (*real)(int, int, ...);                                  \
    va_list rest;                                                       \
    va_start(rest, command);                                            \
    void *argument = va_arg(rest, void *);                              \
    va_end(rest);                                                       \
    if (locks(command)) { errno = ENOLCK; return -1; }                  \
    if (!real) real = (int (*)(int, int, ...))dlsym(RTLD_NEXT, #name);  \
    return real(file, command, argument);                               \
  }
WRAP(fcntl)
WRAP(fcntl64)
"""
TAKES_A_LOCK = "import fcntl, sys; fcntl.{}(open(sys.argv[1], 'w'), fcntl.LOCK_EX)"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    run = Run(tmp_path_factory.mktemp("whole") / "run")
    return run.give({"a.txt": as_text(plain_documents(60))}).make("generate", *STAGES)


@pytest.fixture(scope="module")
def no_locks(tmp_path_factory):
    """Environment of a process whose file systems have no locks."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs a C compiler and LD_PRELOAD")
    folder = tmp_path_factory.mktemp("shim")
    (folder / "nolocks.c").write_text(NO_LOCKS)
    library = folder / "nolocks.so"
    command = [compiler, "-shared", "-fPIC", "-o", library, folder / "nolocks.c", "-ldl"]
    subprocess.run(command, check=True)
    return os.environ | {"LD_PRELOAD": str(library)}


def made(whole, job, out):
    """What the jobs of the undisturbed run wrote where this job wrote."""
    return {
        path: (content(path), content(whole.folder / path.relative_to(out)))
        if path.is_dir()
        else (path.read_bytes(), (whole.folder / path.relative_to(out)).read_bytes())
        for path in job.outputs
    }


def check_same(whole, job, out):
    for path, (found, expected) in made(whole, job, out).items():
        assert found == expected, path


@pytest.mark.parametrize("stage", list(STAGES))
def test_a_stage_writes_nothing_into_the_folders_that_it_reads(whole, tmp_path, stage):
    out = tmp_path / "out"
    with read_only(whole.folder, tmp_path / "seen") as seen:
        job = whole.jobs(stage, out=out)[0]
        there = [a.replace(str(whole.folder), str(seen)) for a in job.arguments]
        with pytest.raises(OSError, match="Read-only file system"):
            (seen / "extract" / "new").write_text("")

        run_here(job._replace(arguments=there))

    check_same(whole, job, out)


@pytest.mark.parametrize("name", ["flock", "lockf"])
def test_the_shim_takes_locks_away(no_locks, tmp_path, name):
    command = [sys.executable, "-c", TAKES_A_LOCK.format(name), str(tmp_path / "x")]

    done = subprocess.run(command, env=no_locks, capture_output=True, text=True, check=False)

    assert "No locks available" in done.stderr


@pytest.mark.parametrize("stage", ["extract", "encode", "shard", "dialect", "examine"])
def test_a_stage_needs_no_locks(whole, no_locks, tmp_path, stage):
    job = whole.jobs(stage, out=tmp_path)[0]

    done = run_apart(job, env=no_locks)

    assert done.returncode == 0, done.stderr
    check_same(whole, job, tmp_path)


def test_the_workflow_starts_without_locks_and_says_so(no_locks, tmp_path):
    code = "import pathlib, sys; from bert.leash import lock; lock(pathlib.Path(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(tmp_path)]

    done = subprocess.run(
        command, env=no_locks, cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "cannot lock" in done.stderr


def few_open_files():
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


@pytest.fixture(scope="module")
def many_files(tmp_path_factory):
    """300 parts and 300 shards, made under the usual limit."""
    many = {
        "split": {"parts": 300, "held_out": {"fraction": 0.0}},
        "encode": {"jobs": 1, "phase1": {"dupe_factor": 1}},
        "shard": {"shards": 300, "jobs": 1},
        "dialect": {"intel": {"files": 300}},
    }
    run = Run(tmp_path_factory.mktemp("many") / "run", overlay=many)
    return run.give({"a.txt": as_text(plain_documents(700))}).make()


@pytest.mark.parametrize("stage", ["split", "encode", "shard", "dialect", "examine"])
def test_64_open_files_are_enough_for_300(many_files, tmp_path, stage):
    job = many_files.jobs(stage, out=tmp_path, workers=2)[0]

    done = run_apart(job, preexec_fn=few_open_files)

    assert done.returncode == 0, done.stderr
    check_same(many_files, job, tmp_path)
