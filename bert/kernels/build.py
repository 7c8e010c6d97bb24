"""Compiles the kernels of `source/` into one shared library, once for each machine and source.

No build step at installation: the library is for the very CPU that it runs on, and the nodes of a
cluster differ. It lies in the user's cache folder under a name made of everything that it depends
on: source, compiler, flags, CPU. Several processes may build at once; each result is whole.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

SOURCE = Path(__file__).parent / "source"

# Contraction and wide vectors do not reorder sums; -ffast-math would, and would lose NaN.
_FLAGS = [
    "-std=c++17", "-O3", "-march=native", "-fPIC", "-shared", "-fopenmp", "-fno-math-errno",
    "-fno-trapping-math", "-ffp-contract=fast",
]  # fmt: skip
_X86_FLAGS = ["-mprefer-vector-width=512"]


class BuildError(RuntimeError):
    """The kernels cannot be compiled here."""


def build(folder: Path | None = None, more_flags: tuple[str, ...] = ()) -> Path:
    """The compiled library; compiled now, in some seconds, if it is not there yet.

    Args:
        folder: Of the sources, all of which go into it; None = those of the kernels.
        more_flags: For the compiler; not the name of a file whose content may change.

    Raises:
        BuildError: There is no compiler, or it fails; the message says which and what to do.
    """
    compiler = _find_compiler()
    flags = _FLAGS + (_X86_FLAGS if platform.machine().lower() in ("x86_64", "amd64") else [])
    flags += more_flags
    files = _sources(folder or SOURCE)
    target = cache_folder() / f"kernels-{_key(compiler, flags, files)}.so"
    if not target.exists():
        _compile(compiler, flags, files, target)
    return target


def cache_folder() -> Path:
    """XDG_CACHE_HOME or ~/.cache, or a folder of this user in /tmp where that is not writable."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "bert-pretraining"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    folder = Path(tempfile.gettempdir()) / f"bert-pretraining-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        # A library that another user put there would run as this one.
        raise BuildError(
            f"{folder} belongs to another user; set XDG_CACHE_HOME to a folder of yours."
        )
    return folder


def _find_compiler() -> str:
    wanted = os.environ.get("CXX")
    for name in [wanted] if wanted else ["g++", "c++", "clang++"]:
        if found := shutil.which(name):
            return found
    raise BuildError(
        f"there is no C++ compiler ({wanted or 'g++, c++ or clang++'}) on the PATH; install one "
        "(Debian: apt-get install g++), or write runtime.kernels: torch."
    )


def _key(compiler: str, flags: list[str], files: list[Path]) -> str:
    version = _run([compiler, "--version"]).stdout
    # What -march=native means here, which /proc/cpuinfo does not tell for all CPUs.
    meaning = _run([compiler, "-march=native", "-E", "-dM", "-x", "c++", os.devnull]).stdout
    digest = hashlib.sha256("\n".join([compiler, version, meaning, *flags]).encode())
    for file in files:
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _sources(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix in (".cpp", ".h"))


def _compile(compiler: str, flags: list[str], files: list[Path], target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        made = Path(folder) / target.name
        units = [str(file) for file in files if file.suffix == ".cpp"]
        libraries = [flag for flag in flags if flag.startswith("-l")]
        done = _run([compiler, *flags, *units, *libraries, "-o", str(made)])
        if done.returncode:
            first = next((x for x in done.stderr.splitlines() if "error" in x), done.stderr[:200])
            raise BuildError(
                f"{compiler} does not compile the kernels ({first.strip()}); use GCC 9 or newer or "
                "clang 11 or newer with OpenMP (variable CXX), or write runtime.kernels: torch."
            )
        with made.open("rb") as file:
            os.fsync(file.fileno())
        made.replace(target)


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)
