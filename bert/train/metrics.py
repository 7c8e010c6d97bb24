"""metrics.jsonl: what a step did, how fast, and which of it another run must repeat exactly.

One JSON object a line, with `kind` and `step`. Kinds, names and units stand in docs/training.md;
`exact_fields` is the law in code. The file is read by `bert.report.curves`.
"""

import json
import logging
import math
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from bert.log import Progress
from bert.train.config import PhaseConfig
from bert.train.cut_log import cut_log
from bert.train.step_line import evaluation_line, step_line
from bert.train.tensorboard import TensorBoardFile

logger = logging.getLogger(__name__)

# Facts of the machine and of its load: no two runs share them.
MEASURED = frozenset(
    {"tokens_per_s", "sequences_per_s", "step_time_s", "mfu", "peak_memory_mb", "elapsed_s"}
)
# Lines about the job, not about the training: where it was interrupted and what it saved.
JOB_KINDS = frozenset({"resume", "checkpoint"})


class StepResult(NamedTuple):
    """What one optimizer step did, over all ranks. Losses are means in nats."""

    mlm_loss: float
    nsp_loss: float
    gradient_norm: float
    tokens: int
    masked_tokens: int
    flops: float
    learning_rate: float
    loss_scale: float | None  # fp16 only
    skipped: bool  # the weights are as before
    checksum: int  # of the masked tokens, whatever their ranks
    micro_losses: list[tuple[float, float]]  # this rank's alone, summed: tokens, instances


def exact_fields(line: Mapping[str, Any]) -> dict[str, Any]:
    """What a line says of the training alone; runs that train alike have these fields equal.

    Args:
        line: A line of metrics.jsonl.

    Returns:
        The line without measurements; empty for a line about the job.
    """
    if line["kind"] in JOB_KINDS:
        return {}
    return {name: value for name, value in line.items() if name not in MEASURED}


class MetricsFile:
    """The door to metrics.jsonl and, if wanted, to the same values for TensorBoard."""

    def __init__(
        self, path: Path, step: int, active: bool, tensorboard: Path | None = None
    ) -> None:
        """Opens `path` behind its lines up to `step`; later ones and half lines are dropped.

        Args:
            path: metrics.jsonl.
            step: The resumed step; 0 at the start.
            active: Whether this rank writes; on the others nothing happens.
            tensorboard: Folder for TensorBoard; None writes nothing there.
        """
        self._path, self._active = path, active
        self._curves: TensorBoardFile | None = None
        if not active:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        cut_log(path, step)
        if tensorboard is not None:
            self._curves = TensorBoardFile(tensorboard, step)

    def write(self, kind: str, step: int, **values: Any) -> None:
        """Appends one line; a float that JSON has no name for is refused."""
        if not self._active:
            return
        rounded = {k: _significant(v) for k, v in values.items()}
        line = json.dumps({"kind": kind, "step": step} | rounded, allow_nan=False)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        if self._curves is not None:
            self._curves.write(kind, step, rounded)
        if kind == "evaluate" and (text := evaluation_line(rounded)):
            logger.info("held out at step %d: %s", step, text)

    def sync(self) -> None:
        """Makes the lines so far survive a power cut, as the checkpoint after them will."""
        if self._active and self._path.exists():
            with self._path.open("rb") as file:
                os.fsync(file.fileno())

    def rewind(self, step: int) -> None:
        """Drops the lines past `step`, to which the training went back."""
        if not self._active:
            return
        cut_log(self._path, step)
        if self._curves is not None:
            self._curves.rewind(step)

    def close(self) -> None:
        """Ends the files."""
        if self._curves is not None:
            self._curves.close()


def _significant(value: Any) -> Any:
    return float(f"{value:.7g}") if isinstance(value, float) else value


def process_peak_mb() -> float:
    """Most memory that this process has held so far, in MB (10^6 bytes)."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


class Clock:
    """Speed between two log lines, evaluation and saving not counted, and the progress shown."""

    def __init__(
        self, config: PhaseConfig, peak_flops: float, progress: Progress | None, *,
        tokens: int = 0, skipped: int = 0, elapsed_s: float = 0.0,
        memory_mb: Callable[[], float] = process_peak_mb,
    ) -> None:  # fmt: skip
        """Starts measuring.

        Args:
            config: The phase.
            peak_flops: FLOP/s of all ranks together that count as an MFU of 100 %.
            progress: Where the lines are shown; None on ranks above 0.
            tokens: Tokens seen before, in a run that goes on.
            skipped: Steps skipped before.
            elapsed_s: Training seconds before.
            memory_mb: Peak memory of what computes, in MB.
        """
        self._config, self._peak, self._progress = config, peak_flops, progress
        self._tokens_seen, self._skipped = tokens, skipped
        self._elapsed_s, self._memory_mb = elapsed_s, memory_mb
        self.tokens_per_s: float | None = None  # of the last line
        self._start_window()

    def _start_window(self) -> None:
        self._seconds, self._tokens, self._flops, self._steps = 0.0, 0, 0.0, 0
        self._since: float = time.perf_counter()

    @property
    def elapsed_s(self) -> float:
        """Training seconds of the phase so far, those of earlier jobs included."""
        return self._elapsed_s

    def pause(self) -> None:
        """Leaves out the time until `go`, or until the end of the next step."""
        self._since = math.nan

    def go(self) -> None:
        """Measures again from now on."""
        self._since = time.perf_counter()

    def rewind(self, *, tokens: int, skipped: int) -> None:
        """Takes up the counts of the step that the training went back to; time goes on."""
        self._tokens_seen, self._skipped = tokens, skipped
        self._start_window()

    def tick(self, step: int, result: StepResult, rate: float, metrics: MetricsFile) -> None:
        """Counts a finished step; shows it, and writes it when a line is due."""
        self._measure(result)
        self._tokens_seen += result.tokens
        self._skipped += result.skipped
        if result.skipped:
            metrics.write("skip", step, **_reasons(result))
        due = step % self._config.log_every == 0 or step == self._config.steps
        if self._progress is None and not due:
            return
        values = self._values(step, result, rate)
        if self._progress is not None:
            left_s = self._left_s(self._progress.eta_s(step))
            self._progress.update(step, lambda: step_line(values, left_s), log=due)
        if due:
            metrics.write("train", step, **values)
            self.tokens_per_s = values["tokens_per_s"]
            self._start_window()

    def _left_s(self, by_steps: float) -> float:
        """A budget of time may end the phase before its steps do."""
        hours = self._config.budget_hours
        return by_steps if hours is None else min(3600 * hours - self._elapsed_s, by_steps)

    def _measure(self, result: StepResult) -> None:
        now = time.perf_counter()
        if not math.isnan(self._since):
            self._seconds += now - self._since
            self._elapsed_s += now - self._since
            self._tokens += result.tokens
            self._flops += result.flops
            self._steps += 1
        self._since = now

    def _values(self, step: int, result: StepResult, rate: float) -> dict[str, Any]:
        measured = self._steps > 0 and self._seconds > 0
        batch = self._config.batch
        return {
            "samples": step * batch,
            "tokens_seen": self._tokens_seen,
            **_reasons(result),
            "mlm_loss": _finite(result.mlm_loss),
            "nsp_loss": _finite(result.nsp_loss),
            "learning_rate": rate,
            "skipped_steps": self._skipped,
            "batch_checksum": result.checksum,
            "tokens_per_s": self._tokens / self._seconds if measured else None,
            "sequences_per_s": self._steps * batch / self._seconds if measured else None,
            "step_time_s": self._seconds / self._steps if measured else None,
            "mfu": self._flops / self._seconds / self._peak if measured else None,
            "peak_memory_mb": self._memory_mb(),
            "elapsed_s": self._elapsed_s,
        }

    def close(self) -> None:
        """Ends the progress bar."""
        if self._progress is not None:
            self._progress.close()


def _reasons(result: StepResult) -> dict[str, float | None]:
    """The numbers that decide whether a step is taken or skipped."""
    return {
        "loss": _finite(result.mlm_loss + result.nsp_loss),
        "gradient_norm": _finite(result.gradient_norm),
        "loss_scale": result.loss_scale,
    }


def _finite(value: float) -> float | None:
    """A skipped step has losses or norms that JSON cannot hold."""
    return value if math.isfinite(value) else None
