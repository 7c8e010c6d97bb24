"""What a step did, the lines of metrics.jsonl, and the speed that they state."""

import json
import logging
import math
import time
from pathlib import Path
from typing import Any, NamedTuple

from bert.log import Progress, human_time
from bert.train.config import PhaseConfig

logger = logging.getLogger(__name__)


class StepResult(NamedTuple):
    """What one optimizer step did, over all ranks. Losses are means in nats."""

    mlm_loss: float
    nsp_loss: float
    gradient_norm: float
    tokens: int
    masked_tokens: int
    flops: float


class MetricsFile:
    """metrics.jsonl: one JSON object a line; lines past the resumed step are dropped on opening."""

    def __init__(self, path: Path, step: int, active: bool) -> None:
        """Opens `path` behind its lines up to `step`; only the active rank writes."""
        self._path, self._active = path, active
        if not active:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = [line for line in _whole_lines(path) if json.loads(line)["step"] <= step]
        path.write_text("".join(line + "\n" for line in kept), "utf-8")

    def write(self, kind: str, step: int, **values: Any) -> None:
        """Appends one line; a float that JSON has no name for is refused."""
        if not self._active:
            return
        rounded = {k: _significant(v) for k, v in values.items()}
        line = json.dumps({"kind": kind, "step": step} | rounded, allow_nan=False)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        if kind == "evaluate":
            logger.info("held out at step %d: %s", step, rounded)


def _significant(value: Any) -> Any:
    return float(f"{value:.7g}") if isinstance(value, float) else value


def _whole_lines(path: Path) -> list[str]:
    if not path.exists():
        return []
    # A process that was killed may have left half a line at the end.
    text = path.read_text("utf-8")
    return text[: text.rfind("\n") + 1].splitlines()


class Clock:
    """Speed between two log lines, evaluation and saving not counted, and the progress shown."""

    def __init__(self, config: PhaseConfig, peak_flops: float, progress: Progress | None) -> None:
        """Starts measuring.

        Args:
            config: The phase.
            peak_flops: FLOP/s of all ranks together that count as an MFU of 100 %.
            progress: Where the lines are shown; None on ranks above 0.
        """
        self._config, self._peak, self._progress = config, peak_flops, progress
        self._start_window()

    def _start_window(self) -> None:
        self._seconds, self._tokens, self._flops, self._steps = 0.0, 0, 0.0, 0
        self._since: float = time.perf_counter()

    def pause(self) -> None:
        """Leaves out the time until the next step, which starts a new measurement."""
        self._since = math.nan

    def tick(self, step: int, result: StepResult, rate: float, metrics: MetricsFile) -> None:
        """Counts a finished step; shows it, and writes it when a line is due."""
        now = time.perf_counter()
        if not math.isnan(self._since):
            self._seconds += now - self._since
            self._tokens += result.tokens
            self._flops += result.flops
            self._steps += 1
        self._since = now
        due = step % self._config.log_every == 0 or step == self._config.steps
        values = self._values(result, rate)
        if self._progress is not None:
            eta = self._progress.eta_s(step)
            self._progress.update(step, lambda: _line(values, eta), log=due)
        if due:
            metrics.write("train", step, **values)
            self._start_window()

    def _values(self, result: StepResult, rate: float) -> dict[str, Any]:
        measured = self._steps > 0 and self._seconds > 0
        batch = self._config.batch
        return {
            "loss": result.mlm_loss + result.nsp_loss,
            "mlm_loss": result.mlm_loss,
            "nsp_loss": result.nsp_loss,
            "learning_rate": rate,
            "gradient_norm": result.gradient_norm,
            "tokens_per_s": self._tokens / self._seconds if measured else None,
            "sequences_per_s": self._steps * batch / self._seconds if measured else None,
            "step_time_s": self._seconds / self._steps if measured else None,
            "mfu": self._flops / self._seconds / self._peak if measured else None,
        }

    def close(self) -> None:
        """Ends the progress bar."""
        if self._progress is not None:
            self._progress.close()


def _line(values: dict[str, Any], eta_s: float) -> str:
    text = (
        f"loss {values['loss']:.3f} (mlm {values['mlm_loss']:.3f} nsp {values['nsp_loss']:.3f}) | "
        f"lr {values['learning_rate']:.1e}"
    )
    if values["tokens_per_s"]:
        text += f" | {values['tokens_per_s']:,.0f} tok/s | MFU {values['mfu']:.0%}"
    return text + (f" | {human_time(eta_s)} left" if math.isfinite(eta_s) else "")
