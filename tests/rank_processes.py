"""Starts a test's own script as real ranks, and looks at how they end."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

LAUNCH = {
    "launcher": "torchrun",
    "processes": 2,
    "bind": "none",
    "hosts": None,
    "backend": "auto",
    "options": "",
    "timeout_s": 60,
}
# The head of a script that joins the ranks, on a CPU.
JOIN = """
import json, os, signal, sys, time
from pathlib import Path
import torch
from bert import log
from bert.ranks.failing import failing
from bert.ranks.ranks import find_ranks, join, leave
from bert.ranks.watchdog import Watchdog

CPU = torch.device("cpu")
torch.set_num_threads(1)
ranks = find_ranks()
log.setup(None, rank=ranks.rank)
"""


class Ended(NamedTuple):
    status: int
    seconds: float  # from the moment when all ranks had joined, or from the start
    text: str  # standard output and error as they came


def launch(folder, body, *, launch=None, send=None, environment=None, processes=2):
    """Runs JOIN + `body` with bert.ranks.launch; `send` is a signal once a rank printed "ready"."""
    folder.mkdir(exist_ok=True)
    (folder / "ranks.py").write_text(JOIN + body)
    section = {"launch": LAUNCH | {"processes": processes} | (launch or {})}
    (folder / "runtime.json").write_text(json.dumps(section))
    command = [sys.executable, "-m", "bert.ranks.launch", "--section", folder / "runtime.json"]
    # An option of the script that torchrun could take for an abbreviation of its own.
    command += ["--", folder / "ranks.py", folder, "--log", folder / "log"]
    variables = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    variables |= {"PYTHONPATH": str(Path.cwd()), "PYTHONUNBUFFERED": "1"} | (environment or {})
    output = (folder / "output").open("wb+")
    start = time.monotonic()
    process = subprocess.Popen(command, env=variables, stdout=output, stderr=subprocess.STDOUT)
    try:
        while process.poll() is None and time.monotonic() < start + 120:
            ready = (folder / "output").read_text().count("ready")
            if ready >= section["launch"]["processes"] and send is not None:
                process.send_signal(send)
                send, start = None, time.monotonic()
            time.sleep(0.05)
        return Ended(process.wait(1), time.monotonic() - start, (folder / "output").read_text())
    finally:
        process.send_signal(signal.SIGKILL)
        output.close()


def first_traceback(text):
    """The lines of a first traceback, up to the exception."""
    return re.search(r"Traceback \(most recent call last\):\n(?:.*\n)*?[^ \n].*", text)[0]
