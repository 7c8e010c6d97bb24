"""File systems of their own for a test: a small one that runs full, one that is read-only."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted(command: str, point: Path) -> Iterator[Path]:
    """Yields `point` as a process sees it for which `command` mounted something there.

    The mount lives in that process's namespace and ends with it. Skips the test where a user may
    make no namespace.
    """
    if shutil.which("unshare") is None or not Path("/proc/self/root").exists():
        pytest.skip("this system has no namespaces (no unshare, or no /proc)")
    point.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", f"{command} && echo ready && cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        if process.stdout.readline() != "ready\n":
            pytest.skip(f"no mount is allowed here: {process.communicate()[1].strip()}")
        yield Path(f"/proc/{process.pid}/root{point}")
    finally:
        process.stdin.close()
        process.wait()


@contextmanager
def small_disk(point: Path, size: int) -> Iterator[Path]:
    """A file system in memory with room for `size` bytes."""
    with mounted(f"mount -t tmpfs -o size={size} none '{point}'", point) as folder:
        yield folder


@contextmanager
def read_only(folder: Path, point: Path) -> Iterator[Path]:
    """`folder` at `point`, where nobody may write, not even root."""
    bind = f"mount --bind '{folder}' '{point}' && mount -o remount,bind,ro '{point}'"
    with mounted(bind, point) as seen:
        yield seen
