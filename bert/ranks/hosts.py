"""The host file, and what a process on another machine needs from here."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

_LINE = re.compile(r"(?P<host>[^\s=]+)(?:\s+slots\s*=\s*(?P<slots>\d+))?")
_PASSED = re.compile(
    r"PATH|PYTHONPATH|LD_LIBRARY_PATH|LD_PRELOAD|"
    r"(OMP|KMP|MKL|ONEDNN|DNNL|TORCH|CUDA|NCCL|GLOO|CCL|FI|UCX|ZE|HABANA|PT_HPU|MALLOC)_.+"
)


def read_hosts(file: Path, processes: int) -> list[str]:
    """Host names or addresses, one a line; `#` starts a comment, `slots=<n>` may follow.

    Args:
        file: The host file.
        processes: Ranks on each host.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A line is not a host, a host has fewer slots than ranks or stands twice, or
            there is none.
    """
    if not file.is_file():
        raise FileNotFoundError(
            f"runtime.launch.hosts is {file}, which is no file; write one host a line into it."
        )
    hosts: list[str] = []
    for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
        text = line.partition("#")[0].strip()
        match = _LINE.fullmatch(text)
        if not text:
            continue
        if match is None or text.startswith("-"):
            raise ValueError(
                f"{file} line {number} is {line!r}; expected a host, or `<host> slots=<n>`."
            )
        if match["slots"] is not None and int(match["slots"]) < processes:
            raise ValueError(
                f"{file} line {number} gives {match['host']} {match['slots']} slots, fewer than "
                f"runtime.launch.processes {processes}; raise the one or lower the other."
            )
        if match["host"] in hosts:
            raise ValueError(
                f"{file} line {number} names {match['host']} again; write each host once, and the "
                "number of its ranks as runtime.launch.processes."
            )
        hosts.append(match["host"])
    if not hosts:
        raise ValueError(f"{file} names no host; write one a line into it.")
    return hosts


def passed_on(variables: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables that steer Python, threads and communication, for other machines."""
    return {name: value for name, value in variables.items() if _PASSED.fullmatch(name)}
