"""The pretraining of a run as its logs tell it, finished or not, to be laid beside another's.

The phases stand one after the other on each axis: steps, samples, and training time.
"""

import json
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bert.manifest import read_manifest
from bert.report.curves import Log, read_log
from bert.report.run import RunError
from bert.report.strokes import Line

# Axis to the name of the logged value that moves along it; steps are counted by themselves.
AXES = {"steps": None, "samples": "samples", "time": "elapsed_s"}


@dataclass(frozen=True)
class Training:
    """Logs and configurations of the phases of a run.

    Attributes:
        name: Name of the run's folder.
        logs: Phase to log, in order.
        configs: Phase to the resolved section `pretrain.<phase>`; empty where none is known.
        devices: Phase to what it was trained on; empty for a phase that is not finished.
    """

    name: str
    logs: Mapping[str, Log]
    configs: Mapping[str, Mapping[str, Any]]
    devices: Mapping[str, Mapping[str, Any]]

    def places(self, axis: str) -> dict[str, list[tuple[int, float]]] | None:
        """Where steps stand on an axis: phase to (step, place), 0 first; None if not logged."""
        found, before = {}, 0.0
        for phase, log in self.logs.items():
            name = AXES[axis]
            if name is None:
                places = [(log.last_step, float(log.last_step))]
            else:
                places = log.values("train", name)
            if not places:
                return None
            found[phase] = [(0, before), *((step, before + value) for step, value in places)]
            before = found[phase][-1][1]
        return found

    def curve(self, kind: str, name: str, axis: str) -> Line:
        """Points of one logged quantity, phase by phase; empty if the axis was not logged."""
        places = self.places(axis)
        if places is None:
            return []
        return [
            [(_between(places[phase], step), value) for step, value in log.values(kind, name)]
            for phase, log in self.logs.items()
        ]


def read_training(folder: Path) -> Training:
    """Reads the pretraining logs of `results/<run>`.

    A phase that is not finished is read from its running folder, the newest if there are several.

    Raises:
        RunError: The folder holds no pretraining log.
        LogError: A log has a line of another form.
    """
    phases = {path.name: path for path in sorted(folder.glob("pretrain/phase*"))}
    found = {phase: _log_file(path) for phase, path in phases.items()}
    files = {phase: file for phase, file in found.items() if file is not None}
    if not files:
        raise RunError(
            f"{folder} holds no pretrain/phase<n>/metrics.jsonl; expected the folder of a run, "
            "results/<run>, whose pretraining has begun."
        )
    receipts = {
        phase: read_manifest(phases[phase] / "manifest.json", stage="pretrain")
        for phase in files
        if (phases[phase] / "manifest.json").exists()
    }
    return Training(
        name=folder.resolve().name,
        logs={phase: read_log(file) for phase, file in files.items()},
        configs={phase: _config(folder, phase, receipts.get(phase, {})) for phase in files},
        devices={phase: receipts.get(phase, {}).get("device", {}) for phase in files},
    )


def _log_file(phase: Path) -> Path | None:
    finished = phase / "metrics.jsonl"
    if finished.exists():
        return finished
    running = phase.glob("running/*/metrics.jsonl")
    return max(running, key=lambda file: file.stat().st_mtime, default=None)


def _config(folder: Path, phase: str, receipt: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of the receipt, or of a run that is not finished, the one it was started with."""
    found = receipt.get("config", {}).get("phase")
    file = folder / "config" / f"pretrain.{phase}.json"
    if found is None and file.exists():
        found = json.loads(file.read_bytes())
    return found or {}


def _between(places: list[tuple[int, float]], step: int) -> float:
    """The place of a step, on a straight line between its logged neighbours."""
    after = min(bisect_left(places, (step, float("-inf"))), len(places) - 1)
    (right, high), (left, low) = places[after], places[max(after - 1, 0)]
    return high if right == left else low + (high - low) * (step - left) / (right - left)
