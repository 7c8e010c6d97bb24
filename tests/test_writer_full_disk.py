"""Checkpoints on a disk that gets full."""

import os
from contextlib import suppress

import pytest

from bert.checkpoints.checkpoint import (
    checkpoint_digests,
    list_steps,
    step_folder,
)
from bert.checkpoints.result import hand_on
from tests.mounts import small_disk
from tests.writers import AVERAGE, MB, made, toy_run, value_of, writer_of

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
