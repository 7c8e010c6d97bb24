import os
import shutil
import signal
import sys
import threading
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
from bert.checkpoints.config import CheckpointConfig, ResultConfig
from bert.checkpoints.result import hand_on, takes_snapshot
from bert.checkpoints.tensor_file import read_tensors
from bert.checkpoints.writer import CheckpointWriter
from tests.mounts import small_disk

LAST = ResultConfig(weights="last", average_last=None, average_every=None)
BEST = ResultConfig(weights="best", average_last=None, average_every=None)
AVERAGE = ResultConfig(weights="average", average_last=3, average_every=2)
MB = 1 << 20


def config(asynchronous=True, keep_last=2, every_steps=3):
    return CheckpointConfig(
        every_steps=every_steps, every_samples=None, from_samples=0, keep_last=keep_last,
        keep_every=None, asynchronous=asynchronous,
    )  # fmt: skip


def writer_of(running, result=LAST, **changes):
    return CheckpointWriter(running, config(**changes), result, active=True)


def made(value, size=1000):
    """Tensors of several types and forms; `size` fp32 numbers in each of the large ones."""
    return {
        "model": {"w": torch.full((size,), float(value)), "n": torch.tensor(value)},
        "optimizer": {"exp_avg:w": torch.full((size // 10, 10), value + 0.5).t()},
        "preconditioner": {"a:w": torch.full((size,), value, dtype=torch.bfloat16)},
    }


def value_of(folder):
    """The one value of a checkpoint that `made` made; all of its numbers are looked at."""
    loaded = load_checkpoint(folder)
    (value,) = loaded.model["w"].unique().tolist()
    assert loaded.model["n"].item() == value
    assert loaded.optimizer["exp_avg:w"].unique().tolist() == [value + 0.5]
    return value


@pytest.mark.parametrize("steps", [[1], [1, 2, 3]])
def test_written_beside_or_in_between_the_bytes_are_the_same(tmp_path, steps):
    for name, asynchronous in (("beside", True), ("between", False)):
        writer = writer_of(tmp_path / name, asynchronous=asynchronous)
        for step in steps:
            writer.save(step, made(step), {"step": step})
        writer.close()

    assert list_steps(tmp_path / "beside") == list_steps(tmp_path / "between") == steps[-2:]
    for step in steps[-2:]:
        one, two = (step_folder(tmp_path / name, step) for name in ("beside", "between"))
        assert checkpoint_digests(one) == checkpoint_digests(two)
        assert (one / "state.json").read_bytes() == (two / "state.json").read_bytes()
    assert value_of(step_folder(tmp_path / "beside", steps[-1])) == steps[-1]


def test_a_checkpoint_holds_the_values_of_the_save_whatever_changes_after_it(tmp_path):
    parts, state = made(0, size=2 * MB), {"totals": {"steps": 0}}
    writer = writer_of(tmp_path, keep_last=9)
    for step in range(4):
        writer.save(step, parts, state)
        for named in parts.values():  # in place, while the writer writes
            for tensor in named.values():
                tensor.add_(1)
        state["totals"]["steps"] += 1
    writer.close()

    assert [value_of(step_folder(tmp_path, step)) for step in range(4)] == [0, 1, 2, 3]
    states = [load_checkpoint(step_folder(tmp_path, step)).state for step in range(4)]
    assert [state["totals"]["steps"] for state in states] == [0, 1, 2, 3]


def test_the_memory_for_copies_is_taken_up_once(tmp_path):
    writer = writer_of(tmp_path)
    writer.reserve(made(1))
    writer.wait()
    place = writer._host._memory.data_ptr()
    for step in (1, 2):
        writer.save(step, made(step), {})
    writer.close()

    assert writer._host._memory.data_ptr() == place
    assert value_of(step_folder(tmp_path, 2)) == 2


def test_tensors_that_grow_from_save_to_save_are_copied_whole(tmp_path):
    writer = writer_of(tmp_path)
    for step, size in ((1, 1000), (2, 5000), (3, 2000)):
        writer.save(step, made(step, size), {})
    writer.close()

    assert load_checkpoint(step_folder(tmp_path, 2)).model["w"].tolist() == [2.0] * 5000
    assert load_checkpoint(step_folder(tmp_path, 3)).model["w"].tolist() == [3.0] * 2000


def test_a_rank_that_is_not_active_writes_nothing(tmp_path):
    writer = CheckpointWriter(tmp_path / "running", config(), LAST, active=False)
    writer.reserve(made(1))
    writer.save(1, made(1), {}, must=True)
    writer.close()

    assert not (tmp_path / "running").exists()


def test_only_the_writing_thread_gives_way(tmp_path):
    seen = {}

    class Spy(dict):
        def items(self):  # asked for by the thread that writes
            name = threading.current_thread().name
            seen[name] = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
            return super().items()

    writer = writer_of(tmp_path)
    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    writer._start("a look around", Spy().items)
    writer.close()

    assert seen == {"checkpoint": 19}
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before


def test_another_error_is_raised_where_the_training_waits_and_only_once(tmp_path):
    writer = writer_of(tmp_path)
    odd = {"model": {"w": torch.zeros(1, dtype=torch.complex64)}, "optimizer": {}}
    writer.save(1, odd, {})

    with pytest.raises(ValueError, match="complex64"):
        writer.wait()
    writer.save(2, made(2), {})
    writer.close()
    assert list_steps(tmp_path) == [2]


def test_a_state_that_is_no_plain_data_is_refused_at_once(tmp_path):
    writer = writer_of(tmp_path)

    with pytest.raises(ValueError, match="JSON compliant"):
        writer.save(1, made(1), {"loss": float("nan")})
    with pytest.raises(TypeError, match="JSON serializable"):
        writer.save(1, made(1), {"tensor": torch.zeros(1)})
    assert list(tmp_path.iterdir()) == []


def test_a_save_waits_for_the_one_before_and_says_so(tmp_path, caplog):
    writer = writer_of(tmp_path)
    gate = threading.Event()
    writer._start("the checkpoint of step 1", gate.wait)
    threading.Timer(0.2, gate.set).start()

    with caplog.at_level("INFO"):
        writer.save(2, made(2), {}, must=True)

    assert "waited 0.2 s for the checkpoint of step 1" in caplog.text
    assert value_of(step_folder(tmp_path, 2)) == 2


def test_the_best_checkpoint_is_not_deleted(tmp_path):
    writer = writer_of(tmp_path, BEST, keep_last=1)
    for step, loss in enumerate([4.0, 2.0, 3.0, None, 2.5], start=1):
        writer.save(step, made(step), {"held_out_loss": loss})
    writer.close()
    assert list_steps(tmp_path) == [2, 5]

    again = writer_of(tmp_path, BEST, keep_last=1)  # a run that goes on knows it, too
    again.save(6, made(6), {"held_out_loss": 2.0})
    again.save(7, made(7), {"held_out_loss": 1.5})
    again.close()
    assert list_steps(tmp_path) == [7]


def test_a_snapshot_alone_writes_no_checkpoint(tmp_path):
    writer = writer_of(tmp_path, AVERAGE)
    writer.save(2, {"model": made(2)["model"]}, None, snapshot=True)
    writer.close()

    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [
        "step-00000002.safetensors"
    ]


# A full disk: each checkpoint of `made(_, MB)` takes about 10 MB.


def fill(disk, left):
    """Takes all room but about `left` bytes."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as stream, suppress(OSError):
        while stream.write(bytes(64 << 10)):
            pass
    os.truncate(ballast, ballast.stat().st_size - left)
    return ballast


def size_of(parts):
    return sum(t.numel() * t.element_size() for named in parts.values() for t in named.values())


@pytest.mark.parametrize("asynchronous", [True, False])
@pytest.mark.parametrize("left", [0, 3 * MB, 9 * MB])
def test_a_full_disk_costs_a_checkpoint_and_not_the_run(tmp_path, caplog, asynchronous, left):
    with small_disk(tmp_path / "disk", 48 * MB) as disk:
        running = disk / "running"
        writer = writer_of(running, asynchronous=asynchronous)
        writer.save(1, made(1, MB), {})
        writer.wait()
        ballast = fill(disk, left)

        writer.save(2, made(2, MB), {})
        writer.wait()

        assert [path.name for path in running.iterdir()] == ["step-00000001"]
        assert value_of(step_folder(running, 1)) == 1
        (said,) = [record for record in caplog.records if record.levelname == "ERROR"]
        text = said.getMessage()
        assert "the checkpoint of step 2 was not written: [Errno 28] No space left" in text
        assert f"needs {size_of(made(2, MB))} bytes" in text
        assert "The last whole checkpoint is that of step 1. The training goes on" in text
        assert "\n" not in text

        with pytest.raises(OSError, match="No space left"):
            writer.save(3, made(3, MB), {}, must=True)
        assert list_steps(running) == [1]

        ballast.unlink()
        writer.save(4, made(4, MB), {})
        writer.close()
        assert list_steps(running) == [1, 4]
        assert value_of(step_folder(running, 4)) == 4


@pytest.mark.parametrize("asynchronous", [True, False])
def test_weights_that_found_no_room_are_written_before_the_next_checkpoint(tmp_path, asynchronous):
    with small_disk(tmp_path / "disk", 64 * MB) as disk:
        running = disk / "running"
        whole = toy_run(tmp_path / "whole", 12, AVERAGE, asynchronous=asynchronous, size=MB)
        ballast = None

        def at(step):
            nonlocal ballast
            if step == 7:
                ballast = fill(disk, MB)
            if step == 11:
                ballast.unlink()

        toy_run(running, 12, AVERAGE, asynchronous=asynchronous, size=MB, before=at)

        assert hand_on(running, 12, disk / "out", AVERAGE) == [8, 10, 12]
        hand_on(tmp_path / "whole", 12, tmp_path / "out", AVERAGE)
        assert checkpoint_digests(disk / "out") == checkpoint_digests(tmp_path / "out")
        assert whole == 12


# A toy training whose state after a step depends on the state before it and on nothing else.


def toy_run(running, steps, result, *, asynchronous=True, size=30_000, before=lambda step: None):
    """Trains from the newest checkpoint to `steps`; returns the step it ended at."""
    writer = writer_of(running, result, asynchronous=asynchronous)
    weight, moment = torch.ones(size), torch.zeros(size)
    done = list_steps(running)
    if done:
        loaded = load_checkpoint(step_folder(running, done[-1]))
        weight, moment = loaded.model["w"], loaded.optimizer["exp_avg:w"]
    step = done[-1] if done else 0
    while step < steps:
        step += 1
        before(step)
        moment.mul_(0.9).add_(weight, alpha=0.1)
        weight.add_(moment.sin(), alpha=0.01 * step)
        best = result.weights == "best" and step % 2 == 0
        loss = step * 7 % 11 / 10 if best else None  # lowest at step 22
        whole = step % 3 == 0 or best or step == steps
        snapshot = takes_snapshot(step, result)
        if whole or snapshot:
            parts = {"model": {"w": weight}, "optimizer": {"exp_avg:w": moment}}
            state = {"step": step, "held_out_loss": loss} if whole else None
            writer.save(step, parts, state, snapshot=snapshot, must=step == steps)
    writer.close()
    return step


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
