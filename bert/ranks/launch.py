"""Starts the ranks of a script as `runtime.launch` says, and ends with their status.

    python -m bert.ranks.launch --section <runtime.json> -- <script> <arguments>
    python -m bert.ranks.launch --section <runtime.json> --here <key> -- <script> <arguments>

With `--here` this key of the section says how many ranks there are, all on this machine, whatever
`launch` says. The status is that of the ranks: 0, or 75 (not finished, start again), or the first
failure's. SIGTERM and SIGUSR1 reach every rank. docs/launch.md has examples.
"""

import argparse
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from bert import leash
from bert.config import check, load_values
from bert.ranks.config import LaunchConfig
from bert.ranks.hosts import passed_on, read_hosts
from bert.ranks.meeting import make_port
from bert.ranks.ssh import run_over_ssh
from bert.ranks.status import STOP_SIGNALS, UNFINISHED, shell_status
from bert.ranks.topology import allowed_cpus, count_nodes, read_cores


def main(arguments: list[str]) -> int:
    """The command line above; returns the status."""
    for number in STOP_SIGNALS:
        signal.signal(number, _not_started)
    args = parse_args(arguments)
    values = load_values(args.section)
    config = check(LaunchConfig, values.get("launch"), where=str(args.section), path="launch")
    if args.here is not None:
        config = on_this_machine(config, values.get(args.here))
    processes = count_processes(config)
    if processes == 1 and config.hosts is None and config.launcher != "srun":
        os.execv(sys.executable, [sys.executable, *args.command])
    options = shlex.split(config.options)
    if config.launcher == "torchrun":
        return _torchrun([*options, "--", *args.command], processes)
    if config.launcher == "ssh":
        hosts = read_hosts(Path(str(config.hosts)), processes)
        return run_over_ssh(hosts, processes, options, args.command)
    if config.launcher == "mpirun":
        os.environ["OMP_NUM_THREADS"] = str(threads_of_a_rank(processes))
    return _supervise(launcher_command(config, args.command), config.launcher)


def on_this_machine(config: LaunchConfig, processes: Any) -> LaunchConfig:
    """The section for so many ranks here; options stay where they are torchrun's.

    Raises:
        ValueError: It is no number of ranks.
    """
    if not isinstance(processes, int) or processes < 1:
        raise ValueError(f"the key of --here is {processes}; expected a number of ranks, from 1.")
    options = config.options if config.launcher == "torchrun" else ""
    here = {"launcher": "torchrun", "processes": processes, "hosts": None, "options": options}
    return config.model_copy(update=here)


def count_processes(config: LaunchConfig) -> int:
    """Ranks on each machine; `numa` counts the NUMA nodes that this process may use."""
    if config.processes != "numa":
        return config.processes
    allowed = allowed_cpus()
    return 1 if allowed is None else count_nodes(read_cores(allowed))


def threads_of_a_rank(processes: int) -> int:
    """A rank's share of this job's threads: OMP_NUM_THREADS (Snakemake's), or of all cores."""
    given = os.environ.get("OMP_NUM_THREADS") or str(os.cpu_count() or 1)
    return max(1, int(given) // processes)


def launcher_command(config: LaunchConfig, command: list[str]) -> list[str]:
    """The command line of mpirun or srun for `command`, a script and its arguments."""
    options = shlex.split(config.options)
    processes = count_processes(config)
    count = str(processes)
    if config.launcher == "srun":
        # One rank that fails ends the others; srun goes on by default.
        start = ["srun", "--kill-on-bad-exit=1", f"--ntasks-per-node={count}"]
        return [*start, *options, sys.executable, *command]
    start = ["mpirun", "-np", count]
    if config.hosts is not None:
        hosts = read_hosts(Path(config.hosts), processes)
        meeting = {"MASTER_ADDR": hosts[0], "MASTER_PORT": str(make_port(str(os.getpid())))}
        start = ["mpirun", "-np", str(processes * len(hosts))]
        start += ["--host", ",".join(f"{host}:{count}" for host in hosts)]
        start += ["--map-by", f"ppr:{count}:node", "-wdir", str(Path.cwd())]
        start += [word for name in passed_on() for word in ("-x", name)]
        start += [word for item in meeting.items() for word in ("-x", "=".join(item))]
    if "--bind-to" not in options:
        # OpenMPI binds a rank to one core, and then all its threads share that core.
        start += ["--bind-to", "none"]
    return [*start, *options, sys.executable, *command]


def _torchrun(arguments: list[str], processes: int) -> int:
    # Only here, because importing torch takes seconds.
    from bert.ranks.torchrun import run_ranks  # noqa: PLC0415

    return run_ranks(["--standalone", "--nproc-per-node", str(processes), *arguments])


def _supervise(command: list[str], launcher: str) -> int:
    """Runs mpirun or srun; the ranks on this machine end with this process, however it ends."""
    leash.follow(os.environ)
    leash.hand_over()
    try:
        process = subprocess.Popen(command)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"runtime.launch.launcher is {launcher}, which is not on this machine's PATH; install "
            "it or load its module, or choose another launcher."
        ) from None

    def pass_on(_number: int, _frame: FrameType | None) -> None:
        # Both pass SIGUSR1 on, but kill the ranks at SIGTERM; to the ranks the two are the same.
        process.send_signal(signal.SIGUSR1)

    for number in STOP_SIGNALS:
        signal.signal(number, pass_on)
    return shell_status(process.wait())


def _not_started(_number: int, _frame: FrameType | None) -> None:
    sys.exit(UNFINISHED)


def parse_args(arguments: list[str]) -> argparse.Namespace:
    """The section's file, and the script with its arguments."""
    parser = argparse.ArgumentParser(prog="bert.ranks.launch", description=__doc__)
    parser.add_argument("--section", type=Path, required=True, help="section runtime")
    parser.add_argument("--here", metavar="KEY", help="its key with the ranks, on this machine")
    parser.add_argument("command", nargs="+", help="script and arguments, after --")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
