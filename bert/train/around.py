"""What stands around the loop of a phase: who is asked, who measures, and who writes."""

from pathlib import Path
from typing import NamedTuple

from bert.checkpoints import keep
from bert.checkpoints.writer import CheckpointWriter
from bert.devices.device import probe_flops
from bert.log import Progress as ProgressBar
from bert.ranks.watchdog import Watchdog
from bert.train import evaluation
from bert.train.metrics import Clock, MetricsFile
from bert.train.progress import Progress
from bert.train.setup import Setup
from bert.train.stop import StopSignal
from bert.train.watch import Watch, peak_memory_mb


class Folders(NamedTuple):
    """Where a phase reads and writes."""

    running: Path  # running checkpoints and metrics.jsonl; its name is the run's identity
    output: Path  # of the stage; diagnostic reports and TensorBoard's files
    previous: Path | None = None  # final checkpoint of the phase before, if `start` wants it
    log: Path | None = None  # of the job


class Around(NamedTuple):
    """Everything that a step reports to."""

    folders: Folders
    metrics: MetricsFile
    clock: Clock
    writer: CheckpointWriter
    watchdog: Watchdog
    watch: Watch
    stop: StopSignal

    def close(self) -> None:
        """Ends what was begun; waits for a checkpoint that is being written."""
        self.watchdog.stop()
        self.clock.close()
        self.metrics.close()
        self.writer.close()


def stand_around(setup: Setup, progress: Progress, folders: Folders, stop: StopSignal) -> Around:
    """Opens the files behind the steps already taken, and starts the clocks."""
    curves = folders.output / "tensorboard" if setup.runtime.tensorboard else None
    lines = folders.running / "metrics.jsonl"
    metrics = MetricsFile(lines, progress.step, setup.is_first, curves)
    if progress.step:
        metrics.write("resume", progress.step, ranks=setup.ranks.world)
    may_roll_back = setup.config.guard.then == "rollback"
    name = f"pretrain phase {setup.phase}"
    bar = ProgressBar(name, setup.config.steps, start=progress.step) if setup.is_first else None
    return Around(
        folders,
        metrics,
        Clock(
            setup.config,
            probe_flops(setup.device, setup.runtime) * setup.ranks.world,
            bar,
            tokens=progress.totals["tokens"],
            skipped=progress.totals["skipped_steps"],
            elapsed_s=progress.elapsed_s,
            memory_mb=lambda: peak_memory_mb(setup.device),
        ),
        CheckpointWriter(
            folders.running,
            setup.runtime.checkpoint,
            setup.config.result,
            active=setup.is_first,
            rollback_to=(lambda step: scheduled(setup, step)) if may_roll_back else None,
        ),
        Watchdog(setup.runtime.launch.timeout_s, setup.ranks.rank, folders.log),
        Watch(progress.step),
        stop,
    )


def scheduled(setup: Setup, step: int) -> bool:
    """Whether a running checkpoint follows this step, whatever happens to the job.

    The best evaluation can only be handed on if each evaluation has one. Step 0 is the start of a
    phase that may have to go back to it.
    """
    batch, config = setup.config.batch, setup.config
    best = config.result.weights == "best" and evaluation.due(step, batch, config.evaluation)
    return (
        step == 0
        or best
        or keep.due(step, (step - 1) * batch, step * batch, setup.runtime.checkpoint)
    )
