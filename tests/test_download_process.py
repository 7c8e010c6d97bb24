"""Downloads in a process of their own: killed, on a full disk, large."""

import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bert.manifest import ROOT
from tests.web import BODY, Site, get

DOWNLOAD = (
    "import sys; from pathlib import Path; from tests.web import get; get(sys.argv[1], Path('.'))"
)


def start(url: str, folder: Path, **more: object) -> "subprocess.Popen[str]":
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", DOWNLOAD, url]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True, **more
    )  # type: ignore[call-overload, no-any-return]


def test_a_process_killed_in_the_middle_is_followed_by_one_that_goes_on(
    site: Site, tmp_path: Path
) -> None:
    body = BODY * 20
    page = site.put("/f.bin", body, hold=threading.Event())
    process = start(f"{site.address}/f.bin", tmp_path)
    part = tmp_path / "f.bin.part"
    while process.poll() is None and not (part.exists() and part.stat().st_size >= 1 << 20):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "f.bin").exists()
    page.hold.set()
    page.hold = None
    get(f"{site.address}/f.bin", tmp_path)
    assert (tmp_path / "f.bin").read_bytes() == body
    assert page.requests[-1]["Range"].startswith("bytes=")


def test_a_disk_that_gets_full_is_told_and_the_part_goes_on_afterwards(
    site: Site, tmp_path: Path
) -> None:
    page = site.put("/f.bin", BODY * 20)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 20, 3 << 20))

    process = start(f"{site.address}/f.bin", tmp_path, preexec_fn=limit)
    message = process.communicate()[1]
    assert process.returncode == 1
    assert "f.bin: cannot write f.bin.part: File too large. Make room" in message
    assert not (tmp_path / "f.bin").exists()
    assert (tmp_path / "f.bin.part").read_bytes() == (BODY * 20)[: 3 << 20]
    get(f"{site.address}/f.bin", tmp_path)
    assert (tmp_path / "f.bin").read_bytes() == BODY * 20
    assert page.requests[-1]["Range"] == f"bytes={3 << 20}-"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_file(site: Site, tmp_path: Path) -> None:
    # ru_maxrss would count the parent's memory at the fork.
    code = DOWNLOAD + "; print(Path('/proc/self/status').read_text())"
    peaks = []
    for times in (16, 128):  # 4 and 33 MB
        site.put(f"/{times}.bin", BODY * times)
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", code, f"{site.address}/{times}.bin"]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        peaks.append(int(re.search(r"VmHWM:\s*(\d+) kB", done.stdout)[1]))
    assert peaks[0] < 100 * 1024
    assert peaks[1] < peaks[0] + 4 * 1024
