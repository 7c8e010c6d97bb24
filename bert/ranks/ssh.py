"""Ranks on the hosts of a host file, over ssh: torchrun on each, and one end for all.

The standard input of each ssh is the leash: it carries the names of signals, and when it closes,
be it that this process was killed or a network fails, the ranks at the other end do too.
"""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from types import FrameType
from typing import IO, NamedTuple

from bert.ranks.hosts import passed_on
from bert.ranks.meeting import make_port
from bert.ranks.status import STOP_SIGNALS, UNFINISHED, joint_status, shell_status

# Seconds that the other hosts have to save when one has ended unfinished,
_SAVING_S = 60.0
# and to end by themselves when one has failed.
_NOTICING_S = 5.0
# Seconds after that, when they were told to end, until ssh is ended, too.
_LAST_WORDS_S = 10.0
_SSH_FAILED = 255


class _Host(NamedTuple):
    name: str
    process: subprocess.Popen[str]
    pumps: list[threading.Thread]


def run_over_ssh(
    hosts: Sequence[str], processes: int, options: Sequence[str], command: Sequence[str]
) -> int:
    """Starts `processes` ranks on each host, in this working directory, and waits for them.

    Args:
        hosts: Names that ssh and the hosts among each other know; rank 0 is on the first.
        processes: Ranks on each host.
        options: Of ssh.
        command: Script and arguments, the same on all hosts.

    Returns:
        The ranks' joint status.
    """
    port = make_port(f"{hosts[0]} {os.getpid()} {time.time_ns()}")
    place = ["--nnodes", str(len(hosts)), "--nproc-per-node", str(processes)]
    place += ["--master-addr", hosts[0], "--master-port", str(port)]
    running = []
    for number, host in enumerate(hosts):
        rank = [*place, "--node-rank", str(number)]
        ssh = ["ssh", "-o", "BatchMode=yes", *options, host, _remote([*rank, "--", *command])]
        running.append(_start(host, ssh))

    def pass_on(number: int, _frame: FrameType | None) -> None:
        for host in running:
            _order(host, signal.Signals(number).name)

    for number in STOP_SIGNALS:
        signal.signal(number, pass_on)
    try:
        return _wait(running)
    finally:
        _end(running)


def _remote(arguments: Sequence[str]) -> str:
    """The line that the shell of the other machine runs."""
    variables = [f"{name}={value}" for name, value in sorted(passed_on().items())]
    ranks = [sys.executable, "-m", "bert.ranks.torchrun", "--obey-stdin", *arguments]
    return f"cd {shlex.quote(os.getcwd())} && exec {shlex.join(['env', *variables, *ranks])}"  # noqa: PTH109


def _start(host: str, ssh: Sequence[str]) -> _Host:
    pipe = subprocess.PIPE
    process = subprocess.Popen(ssh, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    streams = [(process.stdout, sys.stdout), (process.stderr, sys.stderr)]
    pumps = [
        threading.Thread(target=_pump, args=[host, source, target], daemon=True)
        for source, target in streams
    ]
    for pump in pumps:
        pump.start()
    return _Host(host, process, pumps)


def _pump(host: str, source: IO[str], target: IO[str]) -> None:
    for line in source:
        target.write(f"{host}: {line.rstrip()}\n")
        target.flush()


def _order(host: _Host, order: str) -> None:
    # Not through the buffer, which a signal that interrupts another one must not enter.
    if host.process.stdin is not None and not host.process.stdin.closed:
        with contextlib.suppress(BrokenPipeError):  # it has ended, and its status says how
            os.write(host.process.stdin.fileno(), f"{order}\n".encode())


def _wait(running: Sequence[_Host]) -> int:
    statuses: list[int] = []
    left, deadline = list(running), float("inf")
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        for host in [one for one in left if one.process.poll() is not None]:
            left.remove(host)
            status = shell_status(host.process.returncode)
            statuses.append(status)
            if status == _SSH_FAILED:
                sys.stderr.write(f"{host.name}: ssh itself failed; try: ssh {host.name} true\n")
            elif status not in (0, UNFINISHED):
                sys.stderr.write(f"{host.name} ended with status {status}\n")
            if status != 0:
                grace = _SAVING_S if status == UNFINISHED else _NOTICING_S
                deadline = min(deadline, time.monotonic() + grace)
    return joint_status(statuses)


def _end(running: Sequence[_Host]) -> None:
    """Ends what still runs: first the ranks, which let go of ssh, then ssh."""
    for host in running:
        if host.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                host.process.stdin.close()
    for host in running:
        try:
            host.process.wait(_LAST_WORDS_S)
        except subprocess.TimeoutExpired:
            host.process.kill()
        for pump in host.pumps:
            pump.join(1.0)
