"""Checkpoints written beside the training."""

import os
import threading

import pytest
import torch

from bert.checkpoints.checkpoint import (
    checkpoint_digests,
    list_steps,
    load_checkpoint,
    step_folder,
)
from bert.checkpoints.writer import CheckpointWriter
from tests.writers import AVERAGE, BEST, LAST, MB, config, made, value_of, writer_of


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
