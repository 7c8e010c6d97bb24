import logging
import os
import re
import subprocess
import sys
import termios
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from bert import log
from bert.manifest import ROOT


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    root, hook = logging.getLogger(), sys.excepthook
    level, handlers = root.level, root.handlers[:]
    yield
    for handler in root.handlers[:]:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    sys.excepthook = hook
    logging.captureWarnings(False)


def run(code: str, log_file: Path | None, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs `code` in a fresh interpreter after `log.setup`."""
    path = f"Path({str(log_file)!r})" if log_file else "None"
    program = f"from pathlib import Path\nfrom bert import log\nlog.setup({path})\n{code}"
    command = [sys.executable, "-c", program]
    environment = {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_file_gets_everything_and_the_terminal_only_warnings(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log.setup(tmp_path / "logs" / "stage.log")
    logging.getLogger("bert.x").info("a fact")
    logging.getLogger("bert.x").warning("a warning")
    logging.getLogger("bert.x").debug("a detail")
    text = (tmp_path / "logs" / "stage.log").read_text()
    assert re.search(r"^\d{4}-\d\d-\d\d .* INFO bert\.x: a fact$", text, re.MULTILINE)
    assert "WARNING bert.x: a warning" in text
    assert "a detail" not in text
    assert capfd.readouterr().err == "WARNING a warning\n"


def test_without_a_file_the_terminal_gets_the_facts(capfd: pytest.CaptureFixture[str]) -> None:
    log.setup(None)
    logging.getLogger("bert.x").info("a fact")
    assert capfd.readouterr().err == "INFO a fact\n"


def test_ranks_above_zero_write_warnings_only(tmp_path: Path) -> None:
    log.setup(tmp_path / "log", rank=1)
    logging.getLogger("bert.x").info("a fact")
    logging.getLogger("bert.x").warning("a warning")
    text = (tmp_path / "log").read_text()
    assert "a fact" not in text
    assert "a warning" in text


def test_a_second_run_appends_and_a_second_setup_does_not_double(tmp_path: Path) -> None:
    for text in ("first", "second"):
        log.setup(tmp_path / "log")
        logging.getLogger("bert.x").warning(text)
    lines = (tmp_path / "log").read_text().splitlines()
    assert [line.rpartition(" ")[2] for line in lines] == ["first", "second"]


def test_python_warnings_reach_the_file(tmp_path: Path) -> None:
    log.setup(tmp_path / "log")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("an odd thing", stacklevel=1)
    assert "an odd thing" in (tmp_path / "log").read_text()


@pytest.mark.parametrize("error", ["ValueError('bad % value')", "FileNotFoundError('no file')"])
def test_wrong_input_is_one_line_on_the_terminal_and_a_traceback_in_the_file(
    tmp_path: Path, error: str
) -> None:
    done = run(f"raise {error}", tmp_path / "log", tmp_path)
    assert done.returncode == 1
    assert done.stderr == f"ERROR {error.partition(chr(39))[2].partition(chr(39))[0]}\n"
    assert "Traceback (most recent call last):\n" in (tmp_path / "log").read_text()


@pytest.mark.parametrize("error", ["KeyError('x')", "b'\\xff'.decode('utf-8')"])
def test_a_defect_shows_its_traceback_on_the_terminal_too(tmp_path: Path, error: str) -> None:
    done = run(f"raise {error}" if "Key" in error else error, tmp_path / "log", tmp_path)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "Traceback" in (tmp_path / "log").read_text()


def test_an_interrupt_is_not_logged_as_an_error(tmp_path: Path) -> None:
    done = run("raise KeyboardInterrupt", tmp_path / "log", tmp_path)
    assert "KeyboardInterrupt" in done.stderr
    assert (tmp_path / "log").read_text() == ""


def test_progress_writes_a_line_at_every_tenth_off_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log.setup(tmp_path / "log")
    progress = log.Progress("count", 50)
    for step in range(1, 51):
        progress.update(step, lambda: "fine", log=step % 25 == 0)
    progress.close()
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"count step {step}/50 | fine" for step in range(5, 51, 5)]
    logged = (tmp_path / "log").read_text().splitlines()
    assert [line.partition("bert.log: ")[2] for line in logged] == [
        "count step 25/50 | fine",
        "count step 50/50 | fine",
    ]


def test_progress_is_a_bar_on_a_terminal(tmp_path: Path) -> None:
    program = (
        "from bert import log\n"
        "progress = log.Progress('count', 4)\n"
        "for step in range(1, 5): progress.update(step, lambda: f'at {step}', log=False)\n"
        "progress.close()\n"
    )
    terminal, end = os.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(ROOT)}, stderr=end, check=True
    )
    os.close(end)
    shown = ""
    while "4/4" not in shown:
        shown += os.read(terminal, 1000).decode()
    os.close(terminal)
    assert "count 100%" in shown
    assert "at 4" in shown


def test_progress_that_continues_does_not_repeat_what_was_done(
    capsys: pytest.CaptureFixture[str],
) -> None:
    progress = log.Progress("count", 10, start=5)
    progress.update(5, lambda: "old", log=False)
    progress.update(6, lambda: "new", log=False)
    assert capsys.readouterr().err == "count step 6/10 | new\n"


def test_the_time_left_is_the_mean_time_of_this_process_times_what_is_left() -> None:
    progress = log.Progress("count", 30, start=10)
    assert str(progress.eta_s(10)) == "nan"
    halfway = progress.eta_s(20)
    assert halfway >= 0
    assert progress.eta_s(30) == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (89, "89 s"),
        (90, "1.5 min"),
        (5399, "90.0 min"),
        (5400, "1.5 h"),
        (129600, "1.5 d"),
        (864000, "10.0 d"),
    ],
)
def test_human_time_has_one_unit(seconds: float, text: str) -> None:
    assert log.human_time(seconds) == text
