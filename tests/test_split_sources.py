"""What the split reads, its open files and memory, and its script."""

import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from bert.manifest import ROOT, ManifestError, read_manifest, sha256_file
from bert.text.dealing import PartFiles, part_name
from bert.text.documents import read_documents
from bert.text.extracted import ExtractedError, load_sources
from bert.text.filter import filter_file
from bert.text.split import (
    Lists,
    training_parts,
)
from tests.extracted import content, write_source
from tests.splits import REMOVE, by_list, config, documents, name_list, run, sources_of

# Sources


def test_a_source_with_another_number_of_documents_is_refused(tmp_path: Path) -> None:
    (good,) = sources_of(tmp_path, wiki=20)
    with pytest.raises(ExtractedError, match="has only 20 documents, its manifest states 21"):
        run([good._replace(documents=21)], config(4, 0.0), tmp_path / "a")
    with pytest.raises(ExtractedError, match="has more than 19 documents, its manifest states 19"):
        run([good._replace(documents=19)], config(4, 0.0), tmp_path / "b")


def test_a_source_with_another_number_of_names_is_refused(tmp_path: Path) -> None:
    manifest = write_source(tmp_path, "wiki", documents("wiki", 9), ["one", "two"])
    lists = Lists(name_list(tmp_path / "v.txt", "one", "two"), None)
    with pytest.raises(ExtractedError, match=r"names\.txt has only 2 names"):
        run(load_sources([manifest]), by_list(), tmp_path / "split", lists=lists)


def test_sources_are_read_from_their_manifests_in_the_given_order(tmp_path: Path) -> None:
    sources = sources_of(tmp_path, wiki=3, books=2)
    assert [(source.name, source.documents) for source in sources] == [("wiki", 3), ("books", 2)]
    path = tmp_path / "extract" / "wiki" / "documents.txt"
    assert sources[0].path == path
    assert sources[0].digests["wiki/documents.txt"] == sha256_file(path)


def test_a_source_given_twice_or_none_at_all_is_refused(tmp_path: Path) -> None:
    manifest = write_source(tmp_path, "wiki", documents("wiki", 3))
    with pytest.raises(ExtractedError, match="given source wiki twice"):
        load_sources([manifest, manifest])
    with pytest.raises(ExtractedError, match="given no source"):
        load_sources([])


def test_a_source_that_was_cut_after_its_manifest_is_refused(tmp_path: Path) -> None:
    (source,) = sources_of(tmp_path, wiki=3)
    source.path.write_bytes(source.path.read_bytes()[:-5])
    with pytest.raises(ManifestError, match=r"documents\.txt has \d+ bytes; .* states"):
        load_sources([source.path.with_name("manifest.json")])


def test_a_manifest_without_documents_or_names_is_refused(tmp_path: Path) -> None:
    manifest = write_source(tmp_path, "wiki", documents("wiki", 3))
    receipt = json.loads(manifest.read_text())
    for name in ("names.txt", "documents.txt"):
        del receipt["outputs"][name]
        manifest.write_text(json.dumps(receipt))
        with pytest.raises(ManifestError, match=rf"lists no {name}"):
            load_sources([manifest])


# Few open files, little memory


def test_the_size_of_the_buffer_does_not_change_a_byte(tmp_path: Path) -> None:
    for size in (1, 100, 1 << 20):
        folder = tmp_path / str(size)
        folder.mkdir()
        files = PartFiles([folder / "a", folder / "b"], buffer_bytes=size)
        for i, document in enumerate(documents("wiki", 30)):
            files.write(i % 2, "\n".join(document).encode())
        files.flush()
    assert content(tmp_path / "1") == content(tmp_path / "100") == content(tmp_path / str(1 << 20))


def test_memory_does_not_grow_with_the_corpus(tmp_path: Path) -> None:
    def peak(number: int) -> int:
        files = PartFiles([tmp_path / f"{number}-{i}" for i in range(5)], buffer_bytes=20_000)
        tracemalloc.start()
        for i in range(number):
            files.write(i % 5, b"\n".join([b"a sentence of some forty characters ....."] * 5))
        files.flush()
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    small, large = peak(500), peak(5000)
    assert sum(p.stat().st_size for p in tmp_path.glob("5000-*")) > 1_000_000
    assert large < 1.5 * small < 100_000


def command(folder: Path, *sources: str) -> list[str]:
    manifests = [f"extract/{name}/manifest.json" for name in sources]
    script = [sys.executable, str(ROOT / "scripts" / "split.py"), "--log", "split.log"]
    return [*script, "--config", "split.json", "--extract", *manifests, "--output", "split"]


def test_the_script_makes_thousands_of_parts_with_64_open_files(tmp_path: Path) -> None:
    sources_of(tmp_path, wiki=3900, books=700)
    section = config(2000, 0.01, leaks=REMOVE)
    (tmp_path / "split.json").write_text(json.dumps(section.model_dump()))
    limited = ["bash", "-c", 'ulimit -n 64 && exec "$@"', "bash"]
    subprocess.run(
        [*limited, *command(tmp_path, "wiki", "books")],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    manifest = tmp_path / "split" / "manifest.json"
    receipt = read_manifest(manifest, stage="split")
    assert list(receipt["sources"]) == ["wiki", "books"]
    path = tmp_path / "extract" / "wiki" / "documents.txt"
    assert receipt["inputs"]["wiki/documents.txt"] == sha256_file(path)
    assert receipt["counts"]["documents"] == 4600
    assert len(receipt["outputs"]) == 2002
    parts = training_parts(manifest)
    assert [path.name for path, _ in parts] == [part_name(i, 2000) for i in range(2000)]
    assert sum(len(list(read_documents(path))) for path, _ in parts) == 4600 - 46


def test_the_script_reads_filter_and_lists(tmp_path: Path) -> None:
    sources_of(tmp_path, wiki=20)
    (tmp_path / "split.json").write_text(json.dumps(by_list().model_dump()))
    filter_file(tmp_path, "wiki").write_bytes(bytes([1]) + bytes(19))
    head = {"format": "bert-manifest", "version": 1}
    outputs = {"wiki.u8": {"sha256": "cd" * 32, "bytes": 20}}
    receipt = head | {"stage": "filter", "outputs": outputs}
    (tmp_path / "manifest.json").write_text(json.dumps(receipt))
    for name, numbers in (("validation", range(1, 4)), ("training", range(9, 17))):
        (tmp_path / f"{name}.txt").write_text("".join(f"wiki-{n}\n" for n in numbers))
        path = tmp_path / f"{name}.txt"
        file = {"path": str(path), "bytes": path.stat().st_size, "sha256": name}
        receipt = head | {"stage": "fetch", "files": [file]}
        (tmp_path / f"{name}.json").write_text(json.dumps(receipt))
    options = ["--held-out-list", "validation.json", "--train-list", "training.json"]
    subprocess.run(
        [*command(tmp_path, "wiki"), "--filter", "manifest.json", *options],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    receipt = read_manifest(tmp_path / "split" / "manifest.json", stage="split")
    counts = receipt["counts"]
    assert (counts["held_out_documents"], counts["dealt_documents"]) == (3, 8)
    assert (counts["skipped_filtered"], counts["skipped_unlisted"]) == (1, 8)
    assert receipt["inputs"]["validation/validation.txt"] == "validation"
    assert receipt["inputs"]["filter/wiki.u8"] == "cd" * 32


def test_a_failed_split_leaves_nothing(tmp_path: Path) -> None:
    sources_of(tmp_path, wiki=9)
    (tmp_path / "split.json").write_text(json.dumps(config(5, 0.0).model_dump()))
    done = subprocess.run(
        command(tmp_path, "wiki"), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("ERROR split.parts is 5, but of 9 documents")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["extract", "split.json", "split.log"]
