import math
import os
import subprocess
import sys
import termios

import pytest

from bert.manifest import ROOT
from bert.train.step_line import evaluation_line, step_line

VALUES = {
    "samples": 73_600,
    "loss": 5.25,
    "mlm_loss": 4.75,
    "nsp_loss": 0.5,
    "learning_rate": 0.0015,
    "loss_scale": None,
    "skipped_steps": 0,
    "tokens_per_s": 12_345.6,
    "mfu": 0.451,
}
WHOLE = (
    "loss 5.250 | 3.5 min left | lr 1.50e-3 | 12,346 tok/s | MFU 45% | 73.6 k samples | "
    "mlm 4.750 nsp 0.500"
)


def test_a_step_in_a_line():
    assert step_line(VALUES, 210) == WHOLE


@pytest.mark.parametrize(
    ("changes", "left_s", "line"),
    [
        ({"skipped_steps": 1200}, math.nan, "loss 5.250 | 1,200 skipped | lr 1.50e-3 | "),
        ({"loss": None, "mlm_loss": None, "skipped_steps": 1}, 0, "loss not finite | 1 skipped |"),
        ({"nsp_loss": 0.0, "loss_scale": 65536.0}, 0, "| 73.6 k samples | scale 65.5 k"),
        ({"tokens_per_s": None, "mfu": None, "samples": 640}, 0, "lr 1.50e-3 | 640 samples"),
        ({"learning_rate": 0.0, "samples": 2.5e8}, 0, "lr 0.00e0 | 12,346 tok/s | MFU 45% | 250.0"),
    ],
)
def test_what_is_odd_stands_in_front_and_what_is_not_there_takes_no_room(changes, left_s, line):
    assert line in step_line(VALUES | changes, left_s)


def test_an_evaluation_in_a_line():
    values = {"mlm_loss": 4.25, "mlm_accuracy": 0.3125, "nsp_loss": 0.5, "nsp_accuracy": 0.875}

    assert evaluation_line(values) == "mlm 4.250 (31.2%), nsp 0.500 (87.5%)"


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        (50, "| 50/50 | loss 5.250"),
        (80, "| 50/50 | loss 5.250 | 3.5 min left | lr 1.50e-3"),
        (200, f"| 50/50 | {WHOLE}"),
    ],
)
def test_a_terminal_shows_as_many_parts_as_fit_in_one_row(columns, shown):
    program = (
        "from bert.log import Progress\n"
        "progress = Progress('pretrain phase 1', 50)\n"
        f"progress.update(50, lambda: {WHOLE!r}, log=False)\n"
        "progress.close()\n"
    )
    terminal, end = os.openpty()
    termios.tcsetwinsize(terminal, (24, columns))
    subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(ROOT)}, stderr=end, check=True
    )
    os.close(end)
    text = b""
    while not text.endswith(b"\n"):
        text += os.read(terminal, 10_000)
    os.close(terminal)
    last = text.decode().rstrip().split("\r")[-1]

    assert last.endswith(shown)
    assert len(last) < columns
