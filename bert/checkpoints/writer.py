"""Writes running checkpoints beside the training, from a copy in host memory.

A save copies the tensors and returns; a thread of the lowest priority writes them. One save is
under way at a time: the next one waits for it. A disk that is full costs a checkpoint, not the run:
the last whole one stays, a line in the log says so, and the next save tries again.
"""

import json
import logging
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from bert.checkpoints.checkpoint import Parts, list_steps, step_folder, write_checkpoint
from bert.checkpoints.config import CheckpointConfig, ResultConfig
from bert.checkpoints.host_copy import HostCopy
from bert.checkpoints.keep import delete_leftovers, prune
from bert.checkpoints.result import (
    best_step,
    delete_snapshot_leftovers,
    prune_snapshots,
    write_snapshot,
)

logger = logging.getLogger(__name__)


class _Save(NamedTuple):
    step: int
    parts: Parts
    state: dict[str, Any] | None  # None: a snapshot only
    snapshot: bool
    must: bool


class CheckpointWriter:
    """Writes the checkpoints of a run; on ranks other than 0, nothing."""

    def __init__(
        self,
        running: Path,
        config: CheckpointConfig,
        result: ResultConfig,
        *,
        active: bool,
        rollback_to: Callable[[int], bool] | None = None,
    ) -> None:
        """Deletes what a killed process left half written.

        Args:
            running: Folder of the running checkpoints.
            config: Section `runtime.checkpoint`.
            result: Section `pretrain.<phase>.result`, which says what must stay.
            active: Whether this rank writes.
            rollback_to: Whether a rollback may go back to a step: the newest of these stays. None
                where there are no rollbacks.
        """
        self._running = running
        self._config = config
        self._result = result
        self._active = active
        self._rollback_to = rollback_to
        self._host = HostCopy()
        self._unwritten: dict[int, dict[str, Tensor]] = {}  # snapshots that found no room
        self._thread: threading.Thread | None = None
        self._task = ""
        self._error: BaseException | None = None
        if active:
            running.mkdir(parents=True, exist_ok=True)
            delete_leftovers(running)
            delete_snapshot_leftovers(running)

    def reserve(self, parts: Parts) -> None:
        """Takes up the memory for copies of these tensors, beside the training.

        Without it the first save does, and takes several times as long as the others.
        """
        if self._active and self._config.asynchronous:
            self.wait()
            self._start("memory for copies", lambda: self._host.reserve(parts))

    def save(
        self,
        step: int,
        parts: Parts,
        state: Mapping[str, Any] | None,
        *,
        snapshot: bool = False,
        must: bool = False,
    ) -> None:
        """Writes a checkpoint, the weights for an average, or both, with the values of this moment.

        Args:
            step: Just taken.
            parts: Tensors as `write_checkpoint` takes them; for a snapshot alone, `model`.
            state: Plain data for `state.json`; None writes no checkpoint.
            snapshot: Whether `bert.checkpoints.result.takes_snapshot` this step.
            must: Returns when all is on the disk, and raises if it cannot be.

        Raises:
            OSError: With `must`: no room, or no right to write.
            Exception: Whatever else went wrong in this save or in the one before.
        """
        if not self._active:
            return
        self.wait()
        # A copy by way of JSON: the loop goes on counting in its own.
        plain = None if state is None else json.loads(json.dumps(dict(state), allow_nan=False))
        job = _Save(step, parts, plain, snapshot, must)
        if must or not self._config.asynchronous:
            self._write(job)
        else:
            job = job._replace(parts=self._host.take(parts))
            self._start(f"the checkpoint of step {step}", lambda: self._write(job))

    def wait(self) -> None:
        """Returns when nothing is being written any more.

        Raises:
            Exception: What went wrong, other than a full disk, which was logged.
        """
        if self._thread is not None:
            start, late = time.perf_counter(), self._thread.is_alive()
            self._thread.join()
            self._thread = None
            if late:
                logger.info("waited %.1f s for %s", time.perf_counter() - start, self._task)
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def close(self) -> None:
        """Waits for the save that is under way; nothing else is held."""
        self.wait()

    def _start(self, task: str, function: Callable[[], None]) -> None:
        self._task = task
        self._thread = threading.Thread(
            target=self._run, args=(function,), name="checkpoint", daemon=True
        )
        self._thread.start()

    def _run(self, function: Callable[[], None]) -> None:
        try:
            _give_way()
            function()
        except BaseException as error:  # raised where the training waits
            self._error = error

    def _write(self, job: _Save) -> None:
        start = time.perf_counter()
        try:
            self._write_snapshots(job)
            if job.state is not None:
                write_checkpoint(step_folder(self._running, job.step), job.parts, job.state)
        except OSError as error:
            self._report(job, error)
            if job.must:
                raise
            return
        if job.state is not None:
            seconds = time.perf_counter() - start
            logger.info("saved %s in %.1f s", step_folder(self._running, job.step), seconds)
            prune(self._running, self._config, self._needed())
            prune_snapshots(self._running, self._result)

    def _needed(self) -> set[int]:
        """Steps whose checkpoints stay, however old they are."""
        best = best_step(self._running) if self._result.weights == "best" else None
        may_go_back = self._rollback_to or (lambda _step: False)
        back = max(filter(may_go_back, list_steps(self._running)), default=None)
        return {step for step in (best, back) if step is not None}

    def _write_snapshots(self, job: _Save) -> None:
        """This one and those that found no room before: a whole checkpoint has all before it."""
        if job.snapshot:
            self._unwritten[job.step] = dict(job.parts["model"])
        try:
            for step in sorted(self._unwritten):
                write_snapshot(self._running, step, self._unwritten[step])
                del self._unwritten[step]
        except OSError:
            self._keep_unwritten(job)
            raise

    def _keep_unwritten(self, job: _Save) -> None:
        """Gives the snapshots their own memory, at most as many as an average needs."""
        if job.snapshot:
            self._unwritten[job.step] = {
                name: tensor.detach().to("cpu", copy=True)
                for name, tensor in job.parts["model"].items()
            }
        for step in sorted(self._unwritten)[: -(self._result.average_last or 1)]:
            del self._unwritten[step]

    def _report(self, job: _Save, error: OSError) -> None:
        size = sum(t.numel() * t.element_size() for p in job.parts.values() for t in p.values())
        steps = list_steps(self._running)
        last = f"that of step {steps[-1]}" if steps else "none"
        logger.error(
            "the checkpoint of step %d was not written: %s. It needs %d bytes, and %d are free in "
            "%s. The last whole checkpoint is %s.%s",
            job.step,
            error,
            size,
            shutil.disk_usage(self._running).free,
            self._running,
            last,
            "" if job.must else " The training goes on, and the next save tries again.",
        )


def _give_way() -> None:
    """Lowest priority for this thread alone, so that it takes what the training leaves."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
