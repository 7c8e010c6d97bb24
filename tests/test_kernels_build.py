"""Where the kernels are compiled, and what happens where they cannot be."""

import logging
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from bert.kernels import build as builder
from bert.kernels.build import BuildError, build, cache_folder
from bert.kernels.compiled import kernel, kernels_on, use_kernels


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "bert-pretraining"


def compiler(tmp_path, monkeypatch, script):
    """A compiler that does what the shell script says."""
    file = tmp_path / "cxx"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    monkeypatch.setenv("CXX", str(file))


@pytest.fixture
def no_compiler(tmp_path, monkeypatch, cache):
    monkeypatch.setenv("CXX", str(tmp_path / "absent"))
    compiled = sys.modules["bert.kernels.compiled"]
    compiled._library.cache_clear()
    yield
    compiled._library.cache_clear()


@pytest.mark.usefixtures("native")
def test_a_library_is_compiled_once_and_then_found(cache):
    first = build()
    made = first.stat().st_mtime_ns
    assert first.parent == cache
    assert build() == first
    assert first.stat().st_mtime_ns == made
    assert [file.name for file in cache.iterdir()] == [first.name]


@pytest.mark.usefixtures("native", "cache")
def test_another_source_or_compiler_is_another_library(tmp_path, monkeypatch):
    first = build()
    copy = tmp_path / "source"
    copy.mkdir()
    for file in builder.SOURCE.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    (copy / "numbers.h").write_text("// changed\n" + (copy / "numbers.h").read_text())
    monkeypatch.setattr(builder, "SOURCE", copy)
    second = build()
    compiler(tmp_path, monkeypatch, 'exec g++ "$@"')
    assert len({first, second, build()}) == 3


@pytest.mark.usefixtures("native")
def test_builds_at_the_same_time_leave_one_whole_library(cache):
    threads = [threading.Thread(target=build) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [file.name for file in cache.iterdir()] == [build().name]


@pytest.mark.usefixtures("no_compiler")
def test_without_a_compiler_auto_says_so_and_trains_on_torch(caplog):
    with caplog.at_level(logging.WARNING):
        assert use_kernels("auto") is False
    assert not kernels_on()
    assert "the native kernels are off" in caplog.text
    assert "apt-get install g++" in caplog.text


@pytest.mark.usefixtures("no_compiler")
def test_without_a_compiler_native_is_refused():
    with pytest.raises(BuildError, match=r"kernels is native, but there is no C\+\+ compiler"):
        use_kernels("native")
    assert not kernels_on()


@pytest.mark.usefixtures("cache")
def test_a_compiler_that_fails_is_named_with_its_first_error(tmp_path, monkeypatch):
    compiler(
        tmp_path, monkeypatch, 'case "$*" in *.cpp*) echo "x.cpp:1: error: no" >&2; exit 1;; esac'
    )
    with pytest.raises(BuildError, match=r"does not compile the kernels \(x.cpp:1: error: no\)"):
        build()


def test_a_compiler_that_is_killed_leaves_no_library(tmp_path, monkeypatch, cache):
    to_output = 'while [ "$1" != -o ]; do shift; done; echo half > "$2"; kill -9 $$'
    script = f'case "$*" in *.cpp*) {to_output};; esac'
    compiler(tmp_path, monkeypatch, script)
    with pytest.raises(BuildError):
        build()
    assert list(cache.iterdir()) == []


def test_a_home_that_cannot_be_written_is_replaced_by_a_folder_of_this_user(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = cache_folder()
    assert folder.parent == tmp_path
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_of_another_user_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    cache_folder()
    uid = Path(tmp_path).stat().st_uid
    monkeypatch.setattr("os.getuid", lambda: uid + 1)
    (tmp_path / f"bert-pretraining-{uid + 1}").mkdir()
    with pytest.raises(BuildError, match="belongs to another user"):
        cache_folder()


@pytest.mark.usefixtures("native")
def test_a_tensor_that_is_not_contiguous_is_refused():
    with pytest.raises(TypeError, match="no contiguous tensor"):
        kernel("sum_rows_f32", "ppii")(torch.zeros(4, 4).t()[:2], torch.zeros(4), 2, 4)


@pytest.mark.usefixtures("native")
def test_the_kernels_share_the_threads_of_torch():
    # A second OpenMP library would spin beside the first and slow both down.
    code = (
        "import torch; from bert.kernels.compiled import use_kernels; use_kernels('native');"
        "lines = open('/proc/self/maps').read().splitlines();"
        "print(len({x.split()[-1] for x in lines if 'gomp' in x or 'iomp' in x or 'libomp' in x}))"
    )
    if not Path("/proc/self/maps").exists():
        pytest.skip("no /proc")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


@pytest.mark.usefixtures("cache")
def test_a_library_that_does_not_load_is_named(tmp_path, monkeypatch):
    script = 'case "$*" in *.cpp*) while [ "$1" != -o ]; do shift; done; echo half > "$2";; esac'
    compiler(tmp_path, monkeypatch, script)
    compiled = sys.modules["bert.kernels.compiled"]
    compiled._library.cache_clear()
    with pytest.raises(BuildError, match=r"does not load .* delete it"):
        use_kernels("native")
    compiled._library.cache_clear()
