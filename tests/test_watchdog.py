import subprocess
import sys
import time

import pytest

from bert.ranks.status import HUNG

HEAD = """
import ctypes, sys, threading, time
from pathlib import Path
from bert.ranks import watchdog
from bert.ranks.watchdog import Watchdog
watchdog._FALLBACK_S = watchdog._AFTER_YOU_S = 1.0
"""


def run(body, *arguments):
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", HEAD + body, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done, time.monotonic() - start


HANG = """
def the_place_where_it_hangs():
    time.sleep(60)

def another_thread():
    threading.Event().wait()

dog = Watchdog(0.5, 3, Path(sys.argv[1]))
threading.Thread(target=another_thread, daemon=True).start()
dog.kick(41)
dog.kick(42)
the_place_where_it_hangs()
"""


def test_a_hang_ends_with_the_stacks_of_all_threads(tmp_path):
    """On standard error and in the log, after what stood there already."""
    (tmp_path / "log").write_text("step 42\n")

    done, seconds = run(HANG, tmp_path / "log")

    assert done.returncode == HUNG
    assert seconds < 20
    for text in (done.stderr, (tmp_path / "log").read_text().removeprefix("step 42\n")):
        assert text.startswith(
            "rank 3 makes no progress after step 42, for 0.5 s now; it ends with status 70. Its thr"
        )
        assert "in the_place_where_it_hangs" in text
        assert "in another_thread" in text


def test_the_first_step_may_take_three_times_as_long():
    done, _ = run("dog = Watchdog(0.5, 0)\ntime.sleep(1.0)\nprint('first step')\ntime.sleep(60)\n")

    assert done.returncode == HUNG
    assert done.stdout == "first step\n"
    assert "before its first step, for 1.5 s now" in done.stderr


def test_an_evaluation_may_take_longer_and_a_step_after_it_not():
    done, _ = run(
        "dog = Watchdog(0.5, 0)\ndog.kick(1)\n"
        "with dog.longer(4):\n    time.sleep(1.0)\nprint('evaluated')\ntime.sleep(60)\n"
    )

    assert done.returncode == HUNG
    assert done.stdout == "evaluated\n"


@pytest.mark.parametrize("end", ["dog.stop()", "dog.kick(2)\ndog.stop()"])
def test_a_stopped_watchdog_does_nothing(end):
    done, _ = run(f"dog = Watchdog(0.3, 0)\ndog.kick(1)\n{end}\ntime.sleep(1)\nprint('well')\n")

    assert (done.returncode, done.stdout, done.stderr) == (0, "well\n", "")


def test_steps_in_time_keep_it_quiet():
    done, _ = run(
        "dog = Watchdog(0.6, 0)\n"
        "for step in range(10):\n    time.sleep(0.1)\n    dog.kick(step)\n"
        "dog.stop()\nprint('well')\n"
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "well\n", "")


def test_a_hang_that_holds_the_interpreter_ends_too():
    """PyDLL keeps the lock during the call, so that no Python thread can say anything."""
    done, seconds = run(
        "dog = Watchdog(0.3, 0)\ndog.kick(1)\n"
        "def stuck():\n    ctypes.PyDLL(None).sleep(50)\nstuck()\n"
    )

    assert done.returncode == 1
    assert seconds < 30
    assert "in stuck" in done.stderr


def test_who_waits_for_others_lets_them_speak_first():
    """Modules of torch.distributed and bert.ranks are where a rank waits."""
    done, seconds = run(
        "watchdog._FALLBACK_S = 10.0\n"
        "scope = {'__name__': 'torch.distributed.x', 'time': time}\n"
        "exec('def meet():\\n    time.sleep(60)', scope)\n"
        "dog = Watchdog(0.2, 0)\ndog.kick(7)\nscope['meet']()\n"
    )

    assert done.returncode == HUNG
    assert seconds > 1.2
    assert done.stderr.startswith("rank 0 waits for other ranks after step 7")
    assert "in meet" in done.stderr
