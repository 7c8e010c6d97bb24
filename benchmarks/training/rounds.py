"""Workers side by side: a process a variant, one step at a time, the order reversed each round."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, NamedTuple

from cases import Case
from variants import Variant

_WORKER = Path(__file__).with_name("worker.py")


class Settings(NamedTuple):
    """What all workers share."""

    device: str
    precision: str
    threads: int
    rounds: int
    warm_up: int  # rounds before those that count
    tcmalloc: Path | None


class WorkerError(RuntimeError):
    """A worker ended; the message has its last words."""


class Process:
    """A worker as the driver sees it."""

    def __init__(
        self, case: Case, variant: Variant, folder: Path, vocab_size: int, settings: Settings
    ) -> None:
        """Starts the process and tells it what to build; `ask` waits for it."""
        self.variant = variant
        order = case._asdict() | variant._asdict() | {
            "folder": str(folder), "vocab_size": vocab_size, "positions": case.positions,
            "device": settings.device, "precision": settings.precision,
        }  # fmt: skip
        self._errors: IO[bytes] = TemporaryFile()  # noqa: SIM115 -- closed by `end`
        self._process = subprocess.Popen(
            [sys.executable, str(_WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self._errors, text=True, env=environment(variant, settings),
        )  # fmt: skip
        self._tell(order)

    def ask(self, what: str) -> Any:
        """The answer to a line; waits for it.

        Raises:
            WorkerError: The process ended.
        """
        self._tell(what)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            self._errors.seek(0)
            last = self._errors.read().decode(errors="replace")[-2000:]
            why = " (killed: the system was probably out of memory)" if status == -9 else ""
            raise WorkerError(f"variant {self.variant.name} ended with {status}{why}:\n{last}")
        return json.loads(line)

    def end(self) -> None:
        """Ends the process and frees its memory."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def _tell(self, what: Any) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(what) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # `ask` finds no answer and says why


def environment(variant: Variant, settings: Settings) -> dict[str, str]:
    """A worker's environment: the driver's own, with its threads and its allocator."""
    found = os.environ | {"OMP_NUM_THREADS": str(settings.threads)}
    found.pop("LD_PRELOAD", None)
    if variant.tcmalloc:
        found["LD_PRELOAD"] = str(settings.tcmalloc)
    return found


def run_group(
    case: Case, group: Sequence[Variant], folder: Path, vocab_size: int, settings: Settings
) -> dict[str, Any]:
    """All rounds of the variants of a group.

    Args:
        case: What is trained.
        group: Variants that fit into memory together.
        folder: Of the case's shards.
        vocab_size: Of these shards.
        settings: Rounds and machine.

    Returns:
        By variant: `steps`, what `Worker.step` said in each round that counts; `first_loss`, of
        the very first step; `around` and `described`, as the worker gave them.
    """
    workers: list[Process] = []
    try:
        # One after another: building is no part of anything, and must not swap.
        for variant in group:
            workers.append(Process(case, variant, folder, vocab_size, settings))
            workers[-1].ask("describe")
        steps: dict[str, list[dict[str, Any]]] = {variant.name: [] for variant in group}
        for number in range(settings.warm_up + settings.rounds):
            for worker in workers if number % 2 == 0 else reversed(workers):
                answer = worker.ask("step")
                steps[worker.variant.name].append(answer)
                _say(case, worker.variant, number - settings.warm_up, answer)
        return {
            worker.variant.name: {
                "steps": steps[worker.variant.name][settings.warm_up :],
                "first_loss": steps[worker.variant.name][0]["loss"],
                "around": worker.ask("around"),
                "described": worker.ask("describe"),
            }
            for worker in workers
        }
    finally:
        for worker in workers:
            worker.end()


def _say(case: Case, variant: Variant, number: int, answer: dict[str, Any]) -> None:
    which = "warm-up" if number < 0 else f"round {number + 1}"
    probe = sum(answer["probes"]) / 2
    print(
        f"{case.name:16} {which:9} {variant.name:14} {answer['seconds']:8.3f} s  "
        f"loss {answer['loss']:.3f}  probe {probe / 1e12:.2f} TF/s",
        file=sys.stderr, flush=True,
    )  # fmt: skip
