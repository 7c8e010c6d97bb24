"""Logging: plain lines in the rule's log file, warnings and a progress bar on the terminal."""

import logging
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from tqdm import tqdm

from bert import leash

logger = logging.getLogger(__name__)

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_BETWEEN = " | "


class _LogFile(logging.FileHandler):
    """On a full disk a record is lost; a page about that would bury the error of the job."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        if not isinstance(sys.exception(), OSError):
            super().handleError(record)


def setup(log: Path | None, *, rank: int = 0) -> None:
    """Sends records to `log` (level INFO) and to standard error (WARNING, or INFO without a file).

    An exception that ends the program is written to the log file with its traceback; one that
    tells the user about wrong input (ValueError, OSError) is shown on the terminal as one line.
    From here on the process also follows the workflow that started it, see `bert.leash`.

    Args:
        log: The rule's log file, or None when a person runs the script by hand.
        rank: Ranks above 0 write warnings only.
    """
    level = logging.INFO if rank == 0 else logging.WARNING
    stderr = logging.StreamHandler()
    stderr.setLevel(max(level, logging.WARNING) if log else level)
    stderr.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    handlers: list[logging.Handler] = [stderr]
    if log:
        log.parent.mkdir(parents=True, exist_ok=True)
        file = _LogFile(log, encoding="utf-8")
        file.setLevel(level)
        file.setFormatter(logging.Formatter(_FORMAT))
        handlers.append(file)
    logging.basicConfig(level=level, handlers=handlers, force=True)
    logging.captureWarnings(True)
    sys.excepthook = _report_exception
    leash.follow(os.environ)


def _report_exception(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
        return
    user_error = issubclass(kind, (ValueError, OSError)) and not issubclass(kind, UnicodeError)
    for handler in logging.getLogger().handlers:
        is_file = isinstance(handler, logging.FileHandler)
        exc_info = (kind, error, traceback) if is_file or not user_error else None
        handler.handle(
            logging.LogRecord(__name__, logging.ERROR, "", 0, str(error), None, exc_info)
        )


class Progress:
    """A bar on a terminal; otherwise a plain line on standard error at every tenth of the way.

    Used by the rank 0 of a loop. Every line also goes to the log.
    """

    def __init__(self, name: str, total: int, *, start: int = 0) -> None:
        """Starts at `start` of `total` steps."""
        self._name, self._total, self._start = name, total, start
        self._began = time.monotonic()
        self._tenth = 10 * start // max(total, 1)
        self._bar: tqdm[Any] | None = None
        if sys.stderr.isatty():
            width = min(24, max(6, (_columns() - 72) // 2))
            self._form = f"{{desc}} {{percentage:3.0f}}% |{{bar:{width}}}| {{n_fmt}}/{{total_fmt}}"
            self._taken = len(f"{name} 100% |{'':{width}}| {total}/{total}{_BETWEEN}")
            self._bar = tqdm(total=total, initial=start, desc=name, bar_format=self._form)

    def eta_s(self, step: int) -> float:
        """Seconds left at the mean speed since the start of this process."""
        done = step - self._start
        elapsed = time.monotonic() - self._began
        return elapsed / done * (self._total - step) if done > 0 else float("nan")

    def update(self, step: int, text: Callable[[], str], *, log: bool) -> None:
        """Shows `text()` at `step`; `log` also writes it to the log file.

        Of a text in parts, with ` | ` between them, a bar shows the first ones that fit.
        """
        line = f"{self._name} step {step}/{self._total} | {text()}" if log or self._bar else ""
        if log:
            logger.info("%s", line)
        if self._bar is not None:
            shown = _fitting(text(), _columns() - 1 - self._taken)
            # Not as a postfix, before which tqdm sets a comma.
            self._bar.bar_format = self._form + _BETWEEN + re.sub("[{}]", r"\g<0>\g<0>", shown)
            self._bar.update(step - self._bar.n)
        elif 10 * step // max(self._total, 1) > self._tenth:
            self._tenth = 10 * step // max(self._total, 1)
            sys.stderr.write((line or f"{self._name} step {step}/{self._total} | {text()}") + "\n")

    def close(self) -> None:
        """Ends the bar."""
        if self._bar is not None:
            self._bar.close()


def _columns() -> int:
    """Width of the terminal; 80 where it does not say."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except OSError:
        return 80


def _fitting(text: str, width: int) -> str:
    first, *others = text.split(_BETWEEN)
    shown = first
    for part in others:
        if len(shown) + len(_BETWEEN) + len(part) > width:
            break
        shown += _BETWEEN + part
    return shown


def human_time(seconds: float) -> str:
    """Seconds as a short human duration: 42 s, 3.5 min, 19.2 h, 2.1 d."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
