"""A writer that is killed leaves only whole checkpoints."""

import os
import shutil
import signal
import sys
import time
from contextlib import suppress

import numpy as np
import pytest
import torch

from bert.checkpoints.checkpoint import (
    checkpoint_digests,
    list_steps,
    load_checkpoint,
    step_folder,
)
from bert.checkpoints.result import hand_on
from bert.checkpoints.tensor_file import read_tensors
from tests.writers import AVERAGE, BEST, LAST, toy_run

# A toy training whose state after a step depends on the state before it and on nothing else.


def child(function):
    """Runs `function` in a process of its own; returns the id."""
    number = os.fork()
    if number == 0:
        with suppress(BaseException):
            torch.set_num_threads(1)  # a fork has no threads of the pool
            function()
            os._exit(0)
        os._exit(1)
    return number


def wait_for_a_checkpoint_after(running, step):
    end = time.monotonic() + 30
    while not list_steps(running) or list_steps(running)[-1] <= step:
        assert time.monotonic() < end, "no checkpoint in half a minute"
        time.sleep(0.001)


def check_all_whole(running):
    for step in list_steps(running):
        assert load_checkpoint(step_folder(running, step)).state["step"] == step
    for path in running.glob("average/step-*"):
        read_tensors(path, None)
    visible = {path.name for path in running.iterdir() if not path.name.startswith(".")}
    assert visible <= {step_folder(running, step).name for step in list_steps(running)} | {
        "average"
    }


QUICK = pytest.param(AVERAGE, id="average")
SLOW = [pytest.param(r, id=r.weights, marks=pytest.mark.slow) for r in (LAST, BEST)]


@pytest.mark.parametrize("result", [QUICK, *SLOW])
def test_killed_at_20_random_moments_it_leaves_only_whole_checkpoints_and_ends_the_same(
    tmp_path, result
):
    rng = np.random.default_rng(20)
    running, kills, reached = tmp_path / "running", 0, 0
    for wait in rng.uniform(0, 0.06, 20):
        process = child(lambda: toy_run(running, 10**6, result))
        wait_for_a_checkpoint_after(running, reached)
        time.sleep(wait)
        os.kill(process, signal.SIGKILL)
        kills += os.WIFSIGNALED(os.waitpid(process, 0)[1])
        check_all_whole(running)
        reached = list_steps(running)[-1]
    end = reached + 5 - reached % 2
    toy_run(running, end, result)

    assert kills == 20
    assert not list(running.rglob(".*"))
    toy_run(tmp_path / "whole", end, result)
    for folder in (running, tmp_path / "whole"):
        hand_on(folder, end, tmp_path / f"out_{folder.name}", result)
    assert checkpoint_digests(tmp_path / "out_running") == checkpoint_digests(
        tmp_path / "out_whole"
    )


EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"}


def run_and_kill_before(running, result, number):
    """A run of 10 steps in a process that ends before its file operation `number`, or counts."""
    seen = [0]

    def watch(event, arguments):
        if event in EVENTS and str(arguments[0]).startswith(str(running)):
            seen[0] += 1
            if seen[0] == number:
                os.kill(os.getpid(), signal.SIGKILL)

    def run():
        sys.addaudithook(watch)
        toy_run(running, 10, result, asynchronous=False)
        (running.parent / "events").write_text(str(seen[0]))

    _, status = os.waitpid(child(run), 0)
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("result", [BEST, AVERAGE], ids=lambda result: result.weights)
def test_killed_between_two_file_operations_it_leaves_only_whole_checkpoints(tmp_path, result):
    running = tmp_path / "running"
    assert not run_and_kill_before(running, result, 0)
    expected = checkpoint_digests(step_folder(running, 10))
    events = int((tmp_path / "events").read_text())
    for number in range(2, events, max(events // 12, 1)):  # 1 makes the folder
        shutil.rmtree(running)
        assert run_and_kill_before(running, result, number)
        check_all_whole(running)

        assert toy_run(running, 10, result) == 10
        assert checkpoint_digests(step_folder(running, 10)) == expected
        assert not list(running.rglob(".*"))
