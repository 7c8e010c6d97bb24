"""Offline mode and the cache; the stages behind, and the script."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from bert.fetch.acquire import OfflineError
from bert.fetch.fetched import FetchError, fetched_files
from bert.fetch.items import fetch
from bert.manifest import ROOT, write_manifest
from tests.web import BODY, Site, access, md5, raw, sha256

# Offline and cache


def test_offline_all_that_is_missing_is_told_at_once_with_the_remedy(
    site: Site, tmp_path: Path
) -> None:
    for name in "ab":
        site.put(f"/{name}", name.encode())
    cache = tmp_path / "cache"
    fetch([raw(f"{site.address}/a")], tmp_path / "first", access(cache=cache))
    items = [raw(f"{site.address}/{name}") for name in "abcdefgh"]
    with pytest.raises(OfflineError, match=r"7 of 8 files are neither") as caught:
        fetch(items, tmp_path / "second", access(cache=cache, offline=True))
    assert f"{site.address}/b, {site.address}/c" in str(caught.value)
    assert "and 2 more" in str(caught.value)
    assert "snakemake --until fetch" in str(caught.value)


def test_offline_a_list_comes_from_the_cache_too(site: Site, tmp_path: Path) -> None:
    site.index("/d/", ["a", "a.md5"])
    site.put("/d/a", b"a")
    site.put("/d/a.md5", md5(b"a").encode())
    item, cache = raw(f"{site.address}/d/"), tmp_path / "cache"
    fetch([item], tmp_path / "first", access(cache=cache))
    pages = [site.put(path, b"") for path in ("/d/", "/d/a", "/d/a.md5")]
    found = fetch([item], tmp_path / "second", access(cache=cache, offline=True))
    assert (tmp_path / "second" / "a").read_bytes() == b"a"
    assert (len(found.files), [page.requests for page in pages]) == (1, [[], [], []])
    with pytest.raises(OfflineError, match="/d/"):
        fetch([item], tmp_path / "third", access(offline=True))


def test_local_paths_need_neither_network_nor_cache(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    assert len(fetch([raw(tmp_path / "a")], tmp_path, access(offline=True)).files) == 1


# The stages behind, the script


def write_fetch_manifest(folder: Path, files: list[dict[str, Any]]) -> Path:
    write_manifest(
        folder / "wiki.json",
        stage="fetch",
        config=[],
        inputs={},
        counts={},
        outputs=[],
        files=files,
    )
    return folder / "wiki.json"


def test_the_stages_behind_get_the_files_only_if_they_are_still_there(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    manifest = write_fetch_manifest(
        tmp_path, fetch([raw(tmp_path / "a")], tmp_path, access()).files
    )
    assert fetched_files(manifest) == [tmp_path / "a"]
    (tmp_path / "a").write_bytes(b"abcd")
    with pytest.raises(FetchError, match=r"has 4 bytes, .*recorded 3"):
        fetched_files(manifest)
    (tmp_path / "a").unlink()
    with pytest.raises(FileNotFoundError, match=r"listed in .* is missing"):
        fetched_files(manifest)


def config_file(folder: Path, items: list[Any]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "fetch.wiki.json").write_text(json.dumps(items))


def script() -> list[str]:
    command = [sys.executable, str(ROOT / "scripts" / "fetch.py"), "--log", "log.txt"]
    command += ["--downloads", "2"]
    return [*command, "--config", "fetch.wiki.json", "--output", "out/wiki.json"]


def test_the_script_writes_the_manifest_and_one_line_for_a_wrong_file(tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(b"abc")
    command = script()
    config_file(tmp_path, [raw("raw").model_dump()])
    subprocess.run(command, cwd=tmp_path, check=True)
    manifest = json.loads((tmp_path / "out" / "wiki.json").read_text())
    assert manifest["files"] == [{"path": "raw", "sha256": sha256(b"abc"), "bytes": 3}]
    assert manifest["config"] == [raw("raw").model_dump()]
    config_file(tmp_path, [raw("raw", size=4).model_dump()])
    failed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert failed.stderr.startswith("ERROR raw: size is 3, expected 4.")
    assert len(failed.stderr.splitlines()) == 1
    assert "Traceback" in (tmp_path / "log.txt").read_text()


def test_a_script_killed_while_it_downloads_goes_on_when_started_again(
    site: Site, tmp_path: Path
) -> None:
    page = site.put("/big", BODY * 20, hold=threading.Event())
    site.put("/small", b"small")
    config_file(tmp_path, [{"location": f"{site.address}/{name}"} for name in ("small", "big")])
    process = subprocess.Popen(script(), cwd=tmp_path)
    part = tmp_path / "out" / "wiki" / "big.part"
    while process.poll() is None and not (part.exists() and part.stat().st_size >= 1 << 20):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    page.hold.set()
    page.hold = None
    assert not (tmp_path / "out" / "wiki.json").exists()
    subprocess.run(script(), cwd=tmp_path, check=True)
    assert (tmp_path / "out" / "wiki" / "big").read_bytes() == BODY * 20
    assert page.requests[-1]["Range"]
    assert len(json.loads((tmp_path / "out" / "wiki.json").read_text())["files"]) == 2


def _fetch_into(url: str, folder: Path) -> None:
    fetch([raw(url)], folder, access())


def test_two_processes_at_once_on_one_folder_take_turns(site: Site, tmp_path: Path) -> None:
    page = site.put("/f.bin", BODY * 10, slow=[0.3, 0.3])
    context = multiprocessing.get_context("fork")
    both = [
        context.Process(target=_fetch_into, args=(f"{site.address}/f.bin", tmp_path / "d"))
        for _ in range(2)
    ]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert (tmp_path / "d" / "f.bin").read_bytes() == BODY * 10
    assert len(page.requests) == 1


def test_runs_share_a_cache_by_the_environment_and_their_manifests_do_not_tell(
    site: Site, tmp_path: Path
) -> None:
    page = site.put("/f.bin")
    environment = os.environ | {"BERT_CACHE": str(tmp_path / "cache")}
    for run, offline in (("a", "0"), ("b", "1")):
        config_file(tmp_path / run, [{"location": f"{site.address}/f.bin"}])
        more = environment | {"BERT_OFFLINE": offline}
        subprocess.run(script(), cwd=tmp_path / run, env=more, check=True)
    manifests = [(tmp_path / run / "out" / "wiki.json").read_bytes() for run in "ab"]
    assert manifests[0] == manifests[1]
    assert len(page.requests) == 1
