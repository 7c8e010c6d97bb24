"""Disturbs training in every way that it must survive, and compares it with the undisturbed run.

    make demo
    python benchmarks/exactness.py --run results/demo --table docs/exactness.md

Takes the shards, the vocabulary and the sections of a run, shortens its phases, and trains them as
the workflow does, through `bert.ranks.launch`. Some ten minutes on two cores.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from bert.manifest import ROOT, sha256_file

ADAMW = {
    "name": "adamw", "beta1": 0.9, "beta2": 0.999, "eps": 1e-6, "weight_decay": 0.01,
    "bias_correction": True, "max_grad_norm": 1.0,
}  # fmt: skip
LAMB = {
    "name": "lamb", "variant": "nvidia", "beta1": 0.9, "beta2": 0.999, "eps": 1e-6,
    "weight_decay": 0.01, "max_grad_norm": 1.0,
}  # fmt: skip
KFAC = {
    "method": "eigen", "factor_every": 1, "inverse_every": 10, "factor_decay": 0.95,
    "damping": 0.003, "kl_clip": None, "distribution": "comm_opt",
}  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "LAMB": {"optimizer": LAMB},
    "AdamW": {"optimizer": ADAMW},
    "AdamW and K-FAC": {"optimizer": ADAMW, "kfac": KFAC},
}
UNFINISHED = 75


class Row(NamedTuple):
    """A line of the table."""

    disturbance: str
    training: str
    reference: str
    found: str
    verdict: str


class Bench:
    """A run's data, and a folder in which its phases are trained again and again."""

    def __init__(self, run: Path, folder: Path, steps: int) -> None:
        self.run, self.folder, self.steps = run, folder, steps
        self.random = random.Random(1)

    def section(self, name: str) -> dict[str, Any]:
        """A section as the run had it, with what this checkout's configuration adds."""
        values: dict[str, Any] = json.loads((self.run / "config" / f"{name}.json").read_text())
        return values

    def command(
        self, name: str, *, phase: int = 1, change: dict[str, Any] | None = None,
        runtime: dict[str, Any] | None = None,
    ) -> list[str]:  # fmt: skip
        """The command line of a phase, with its sections written down."""
        out = self.folder / name / f"phase{phase}"
        out.mkdir(parents=True, exist_ok=True)
        config = self.section(f"pretrain.phase{phase}") | {"steps": self.steps, "kfac": None}
        config |= change or {}
        config["evaluation"] = config["evaluation"] | {"every": self.steps, "instances": 100}
        model = self.section("model") | {"hidden_dropout_prob": 0.1}
        settings = self.section("runtime") | {"precision": "bf16", "micro_batch_tokens": 600}
        settings["checkpoint"] = settings["checkpoint"] | {"every_steps": 7}
        for key, value in (runtime or {}).items():
            settings[key] = settings[key] | value if isinstance(value, dict) else value
        for file, values in (("config", config), ("model", model), ("runtime", settings)):
            (out / f"{file}.json").write_text(json.dumps(values))
        shards = sorted((self.run / "shard" / f"phase{phase}").glob("[0-9]*.json"))
        return [
            sys.executable, "-m", "bert.ranks.launch", "--section", str(out / "runtime.json"), "--",
            "scripts/pretrain.py", "--config", str(out / "config.json"),
            "--model", str(out / "model.json"), "--runtime", str(out / "runtime.json"),
            "--phase", str(phase), "--shards", *map(str, shards),
            "--held-out", str(self.run / "encode" / f"phase{phase}" / "held_out.json"),
            "--vocab", str(self.run / "vocab"), "--output", str(out / "out"),
            "--log", str(out / "log"),
            *(["--previous", str(self.folder / name / "phase1/out/checkpoint")] * (phase == 2)),
        ]  # fmt: skip

    def start(self, command: list[str]) -> subprocess.Popen[bytes]:
        """Starts a command in a process group of its own."""
        variables = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        log = (self.folder / "stderr").open("ab")
        return subprocess.Popen(
            command, cwd=ROOT, env=variables, stdout=log, stderr=log, start_new_session=True
        )

    def whole(self, command: list[str]) -> None:
        """Runs a command to its end.

        Raises:
            RuntimeError: It failed.
        """
        if status := self.start(command).wait():
            raise RuntimeError(f"{command} ended with {status}; see {self.folder / 'stderr'}.")

    def state(self, name: str, phase: int = 1) -> dict[str, Any]:
        """state.json of a finished phase."""
        file = self.folder / name / f"phase{phase}/out/checkpoint/state.json"
        values: dict[str, Any] = json.loads(file.read_text())
        return values

    def digest(self, name: str, phase: int = 1) -> str:
        """Of all tensors of the finished phase: weights, moments, K-FAC."""
        folder = self.folder / name / f"phase{phase}/out/checkpoint"
        files = sorted(folder.glob("*.safetensors"))
        return hashlib.sha256("".join(map(sha256_file, files)).encode()).hexdigest()[:16]

    def samples(self, name: str, phase: int = 1) -> str:
        """Of all masked instances that were seen, in the order of the steps."""
        return str(self.state(name, phase)["samples_digest"])[:16]


def killed(bench: Bench, command: list[str], times: int, number: int) -> int:
    """Starts the command, ends it at random moments by signal `number`, until it finishes.

    Returns:
        How often it was ended while it trained.

    Raises:
        RuntimeError: It ended with another status than the signal's, or than 75 where it may save.
    """
    expected = {signal.SIGKILL: -signal.SIGKILL}.get(signal.Signals(number), UNFINISHED)
    count = 0
    while True:
        process = bench.start(command)
        try:
            # Random moments from the start of the process on: before, in and after steps and saves.
            wait = bench.random.uniform(2, 9) if count < times else None
            status = process.wait(wait)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, number)
            status = process.wait()
            count += 1
        if status == 0:
            return count
        if status not in (expected, -number):  # a signal before it is caught ends the process
            raise RuntimeError(f"status {status}, expected {expected}; {bench.folder / 'stderr'}")


def compare(bench: Bench, disturbance: str, training: str, name: str, reference: str) -> Row:
    """One row from the digests of the tensors."""
    expected, found = bench.digest(reference), bench.digest(name)
    return Row(disturbance, training, expected, found, "equal" if expected == found else "DIFFERS")


def signals(bench: Bench, kills: int) -> list[Row]:
    """Kill -9, SIGTERM and SIGUSR1 at random moments, for each kind of training."""
    rows = []
    for kind, change in KINDS.items():
        reference = f"{kind}-whole"
        bench.whole(bench.command(reference, change=change))
        for label, number, times in (
            ("kill -9", signal.SIGKILL, kills),
            ("SIGTERM", signal.SIGTERM, 4),
            ("SIGUSR1", signal.SIGUSR1, 4),
        ):
            name = f"{kind}-{label}"
            done = killed(bench, bench.command(name, change=change), times, number)
            rows.append(compare(bench, f"{label}, {done} times", kind, name, reference))
    return rows


def switch(bench: Bench, kills: int) -> list[Row]:
    """Kill -9 in phase 2, which starts from a phase 1 that was killed, too."""
    change = KINDS["AdamW and K-FAC"]
    for name in ("AdamW and K-FAC-whole", "AdamW and K-FAC-kill -9"):
        command = bench.command(name, phase=2, change=change)
        killed(bench, command, kills if name.endswith("9") else 0, signal.SIGKILL)
    expected, found = (bench.digest(f"AdamW and K-FAC-{x}", 2) for x in ("whole", "kill -9"))
    verdict = "equal" if expected == found else "DIFFERS"
    label = f"kill -9 in both phases, {kills} times in the second"
    return [Row(label, "AdamW and K-FAC, phase 2", expected, found, verdict)]


def full_disk(bench: Bench) -> list[Row]:
    """A file system with room for some checkpoints runs full while training saves."""
    name, point = "full-disk", bench.folder / "full-disk"
    point.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(point)]
    if subprocess.run(mount, check=False).returncode:
        return [Row("full disk during saves", "LAMB", "", "", "not run: no right to mount")]
    try:
        process = bench.start(bench.command(name, change=KINDS["LAMB"]))
        log = point / "phase1/log"
        _until(lambda: "saved" in _text(log))
        filler = point / "filler"
        with filler.open("wb") as file:
            try:
                while True:
                    file.write(b"0" * 65536)
                    file.flush()
            except OSError:
                pass
        _until(lambda: "was not written" in _text(log))
        os.killpg(process.pid, signal.SIGKILL)  # the last good checkpoint must do
        process.wait()
        filler.unlink()
        bench.whole(bench.command(name, change=KINDS["LAMB"]))
        return [compare(bench, "full disk during a save, then kill -9", "LAMB", name, "LAMB-whole")]
    finally:
        subprocess.run(["umount", "-l", point], check=False)


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _until(true: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise TimeoutError("training did not come to the awaited line of its log")
        time.sleep(0.05)


def ranks(bench: Bench) -> list[Row]:
    """Jobs on other numbers of ranks, and with other micro-batches, after each other."""
    rows = []
    for label, name, jobs in (
        ("1, 2, 4, 1 ranks in turn", "ranks", [(1, 600), (2, 600), (4, 600), (1, 600)]),
        ("another micro-batch in each job", "micro", [(1, 600), (1, 250), (1, 4000), (1, 600)]),
    ):
        for number, (world, tokens) in enumerate(jobs):
            last = number == len(jobs) - 1
            runtime = {
                "launch": {"processes": world},
                "micro_batch_tokens": tokens,
                "stop": {"steps": None if last else bench.steps // len(jobs)},
            }
            command = bench.command(name, change=KINDS["LAMB"], runtime=runtime)
            status = bench.start(command).wait()
            if status != (0 if last else UNFINISHED):
                raise RuntimeError(f"job {number} of {name} ended with {status}")
        expected, found = bench.samples("LAMB-whole"), bench.samples(name)
        verdict = "same samples" if expected == found else "DIFFERS"
        rows.append(Row(label, "LAMB", expected, found, verdict))
    return rows


def two_ranks(bench: Bench, kills: int) -> list[Row]:
    """Kill -9 of all processes of a training on two ranks with a sharded optimizer."""
    runtime = {"launch": {"processes": 2}, "shard_optimizer": True}
    change = KINDS["AdamW and K-FAC"]
    bench.whole(bench.command("two-whole", change=change, runtime=runtime))
    command = bench.command("two", change=change, runtime=runtime)
    done = killed(bench, command, kills, signal.SIGKILL)
    label = f"kill -9 of two ranks, {done} times"
    return [compare(bench, label, "AdamW and K-FAC, sharded", "two", "two-whole")]


def table(rows: list[Row], bench: Bench, command: str) -> str:
    """The page."""
    widths = "| " + " | ".join(["---"] * len(Row._fields)) + " |"
    head = "| disturbance | training | undisturbed | disturbed | verdict |"
    lines = [head, widths]
    for row in rows:
        cells = [row.disturbance, row.training, f"`{row.reference}`", f"`{row.found}`", row.verdict]
        lines.append("| " + " | ".join(cells) + " |")
    import torch  # noqa: PLC0415  only to name it

    return f"""# Interrupted training ends as if it had not been

Every row is a training that was disturbed and started again with the same command until it was
finished. Digests are the first 16 digits of a sha256: of all tensors of the final checkpoint
(weights, moments, K-FAC's factors and inverses), or, where the ranks or micro-batches changed and
sums of floats with them, of all masked instances seen, step by step.

{bench.steps} steps of the demo's model in bf16 with dropout 0.1 and two or more micro-batches a
step, a checkpoint every 7 steps; kills at random moments of a job, its start included. torch
{torch.__version__}, on a CPU. Made by

    {command}

{chr(10).join(lines)}

It was not run on a GPU.
"""


def main() -> None:
    """Runs all cases and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("results/demo"), help="a run with shards")
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--table", type=Path, help="page to write; standard output without")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="exactness-"))
    bench = Bench(args.run.resolve(), folder, args.steps)
    rows: list[Row] = []
    for case in (
        lambda: signals(bench, args.kills),
        lambda: switch(bench, 5),
        lambda: full_disk(bench),
        lambda: ranks(bench),
        lambda: two_ranks(bench, 5),
    ):
        rows += case()
        for row in rows[-1:]:
            sys.stderr.write(f"{yaml.safe_dump(row._asdict(), sort_keys=False)}\n")
    command = f"python benchmarks/exactness.py --run {args.run} --steps {args.steps}"
    text = table(rows, bench, f"{command} --kills {args.kills}")
    if args.table is None:
        sys.stdout.write(text)
    else:
        args.table.write_text(text)
    shutil.rmtree(folder)
    sys.exit(any(row.verdict == "DIFFERS" for row in rows))


if __name__ == "__main__":
    main()
