import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bert.manifest import ROOT, listed_files, read_manifest
from bert.text.extracted import ExtractedError
from bert.text.filter import FilterConfig, FilterError, filter_file, filter_sources
from tests.extracted import content, write_sources

NEAR = {"seed": 1, "threshold": 0.7, "ngram": 2, "bands": 30, "rows": 4}
REFERENCE = {"format": "mrpc", "raw": "mrpc", "pattern": "*.tsv"}
CONTAMINATION = {
    "ngram": 5,
    "shortest": 3,
    "drop_share": 0.5,
    "references": {"mrpc": REFERENCE},
}
TASK = "the committee approved the new budget on monday"


def config(**changes) -> FilterConfig:
    values = {
        "exact_duplicates": True,
        "near_duplicates": NEAR,
        "contamination": CONTAMINATION,
        "examples": 5,
    }
    return FilterConfig.model_validate(values | changes)


def sentence(seed: int, words: int = 40) -> str:
    return " ".join(f"w{n}" for n in np.random.default_rng(seed).integers(0, 10**9, words))


LONG = sentence(1)
SOURCES = {
    "wiki": [
        [LONG, "Its end."],
        ["Something else altogether."],
        [f"Before. {TASK.title()}!"],  # 8 of 9 words are the task's
        ["..."],
    ],
    "books": [
        [LONG.upper(), "its end"],  # the first of wiki, in words
        [LONG, "Its end, changed."],  # nearly the first of wiki
        ["!!!"],  # no words, as the last of wiki, but other bytes
        [f"{sentence(2)} {TASK}"],  # 8 of 48 words are the task's
        ["Something else altogether."],
    ],
}
EXPECTED = {"wiki": [0, 0, 3, 0], "books": [1, 2, 0, 0, 1]}


def run(folder: Path, sources, settings_: FilterConfig, name: str = "out", **more):
    work = folder / f"{name}-work"
    work.mkdir()
    (folder / name).mkdir()
    texts = {} if settings_.contamination is None else {"mrpc": [TASK]}
    arguments = {"workers": 1} | more
    return filter_sources(sources, settings_, texts, folder / name, work, **arguments)


def reasons(folder: Path, source: str) -> list[int]:
    return list(filter_file(folder, source).read_bytes())


def test_every_reason_is_found_and_the_earliest_document_is_kept(tmp_path: Path) -> None:
    found = run(tmp_path, write_sources(tmp_path, SOURCES), config())
    assert {name: reasons(tmp_path / "out", name) for name in SOURCES} == EXPECTED
    assert found.counts["documents"] == 9
    assert found.counts["kept"] == 5
    assert found.counts["skipped_exact_duplicates"] == 2
    assert found.counts["skipped_near_duplicates"] == 1
    assert found.counts["skipped_contaminated"] == 1
    assert found.counts["documents_with_task_text"] == 2
    assert found.sources["books"] == {
        "documents": 5,
        "kept": 2,
        "skipped_exact_duplicates": 2,
        "skipped_near_duplicates": 1,
        "skipped_contaminated": 0,
    }
    assert found.contamination == {
        "mrpc": {
            "texts": 1,
            "short_texts": 0,
            "touched_texts": 1,
            "whole_texts": 1,
            "ngrams": 4,
            "found_ngrams": 4,
            "touching_documents": 2,
        }
    }


def test_examples_show_pairs_by_name(tmp_path: Path) -> None:
    run(tmp_path, write_sources(tmp_path, SOURCES), config())
    lines = (tmp_path / "out" / "examples.jsonl").read_text("utf-8").splitlines()
    shown = [json.loads(line) for line in lines]
    pairs = {
        (e["reason"], e["document"]["name"], e["earlier"]["name"]) for e in shown if "earlier" in e
    }
    assert pairs == {
        ("exact_duplicates", "books-0", "wiki-0"),
        ("exact_duplicates", "books-4", "wiki-1"),
        ("near_duplicates", "books-1", "wiki-0"),
    }
    (near,) = [e for e in shown if e["reason"] == "near_duplicates"]
    assert near["similarity"] > 0.7
    assert near["document"]["text"].endswith("Its end, changed.")
    most, least = [e for e in shown if e["reason"] == "contaminated"]
    assert (most["document"]["name"], least["document"]["name"]) == ("wiki-2", "books-3")
    assert most["share"] == pytest.approx(8 / 9, abs=1e-4)
    assert most["words"] == TASK
    assert most["references"] == ["mrpc"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"near_duplicates": None, "contamination": None}, [0, 0, 0, 0, 1, 0, 0, 0, 1]),
        ({"exact_duplicates": False, "contamination": None}, [0, 0, 0, 0, 2, 2, 0, 0, 2]),
        ({"exact_duplicates": False, "near_duplicates": None}, [0, 0, 3, 0, 0, 0, 0, 0, 0]),
        (
            {"contamination": CONTAMINATION | {"drop_share": None}},
            [0, 0, 0, 0, 1, 2, 0, 0, 1],
        ),
    ],
)
def test_each_part_can_be_left_out(tmp_path: Path, changes, expected: list[int]) -> None:
    run(tmp_path, write_sources(tmp_path, SOURCES), config(**changes))
    out = tmp_path / "out"
    assert reasons(out, "wiki") + reasons(out, "books") == expected


def test_workers_and_memory_change_no_byte(tmp_path: Path) -> None:
    documents = [[sentence(n % 500, 60)] for n in range(2000)]
    documents += [[f"{sentence(n, 60)} changed"] for n in range(300)]
    sources = write_sources(tmp_path, {"wiki": documents[:1500], "books": documents[1500:]})
    run(tmp_path, sources, config(), "one")
    run(tmp_path, sources, config(), "two", workers=2)
    run(tmp_path, sources, config(), "three", bucket_bytes=1 << 12)
    one, two, three = (content(tmp_path / name) for name in ("one", "two", "three"))
    assert one == two == three
    assert reasons(tmp_path / "one", "wiki") == [0] * 500 + [1] * 1000
    assert reasons(tmp_path / "one", "books") == [1] * 500 + [2] * 300


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(
        st.lists(st.text("abAB .\u00e9\u05d0\u4e2d\u0301\U0001f600", min_size=1), min_size=1),
        min_size=1,
        max_size=12,
    )
)
def test_counts_add_up_and_one_of_equal_documents_is_kept(tmp_path, raw) -> None:
    documents = [[s.strip() or "x" for s in document] for document in raw]
    folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
    found = run(folder, write_sources(folder, {"odd": documents}), config())
    kept = reasons(folder / "out", "odd")
    assert len(kept) == len(documents) == found.counts["documents"]
    dropped = sum(n for name, n in found.counts.items() if name.startswith("skipped_"))
    assert found.counts["documents"] == found.counts["kept"] + dropped
    assert found.counts["kept"] == kept.count(0)
    for place, document in enumerate(documents):
        if document in documents[:place]:
            assert kept[place] != 0
    again = {
        tuple(d): [k for other, k in zip(documents, kept, strict=True) if other == d]
        for d in documents
    }
    assert all(found.count(0) <= 1 for found in again.values())


# Guards


def test_a_filter_that_leaves_nothing_is_refused(tmp_path: Path) -> None:
    sources = write_sources(tmp_path, {"wiki": [[TASK]]})
    with pytest.raises(FilterError, match="leaves none of 1 documents"):
        run(tmp_path, sources, config())


def test_a_source_with_another_number_of_documents_is_refused(tmp_path: Path) -> None:
    (source,) = write_sources(tmp_path, {"wiki": [["a b."], ["c d."]]})
    with pytest.raises(ExtractedError, match="has only 2 documents, its manifest states 3"):
        run(tmp_path, [source._replace(documents=3)], config())


# Memory

MEASURE = """
import resource, sys
from pathlib import Path
from tests.test_filter import config, run
from bert.text.extracted import load_sources
folder = Path(sys.argv[1])
run(folder, load_sources([folder / "extract/wiki/manifest.json"]), config())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_corpus(tmp_path: Path) -> None:
    peaks = []
    for name, count in (("small", 2500), ("large", 20_000)):
        documents = [[sentence(n, 300)] for n in range(count)]
        write_sources(tmp_path / name, {"wiki": documents})
        command = [sys.executable, "-c", MEASURE, str(tmp_path / name)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout) / 1024)
    small, large = peaks
    assert large < 400
    assert large < small + 40  # MiB; 10 for the word table, and a byte or so a document


# The script


def write_task(folder: Path) -> Path:
    """A fetched MRPC file."""
    header = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"
    (folder / "train.tsv").write_text(f"{header}1\t1\t2\t{TASK}\tShort one.\n")
    size = (folder / "train.tsv").stat().st_size
    file = {"path": str(folder / "train.tsv"), "bytes": size, "sha256": "ab" * 32}
    manifest = folder / "fetch" / "mrpc.json"
    manifest.parent.mkdir()
    receipt = {"format": "bert-manifest", "version": 1, "stage": "fetch", "files": [file]}
    manifest.write_text(json.dumps(receipt | {"outputs": {}, "counts": {}}))
    return manifest


def test_the_script_writes_bytes_and_manifest_and_leaves_no_work(tmp_path: Path) -> None:
    write_sources(tmp_path, SOURCES)
    (tmp_path / "filter.json").write_text(json.dumps(config().model_dump()))
    manifests = [tmp_path / "extract" / name / "manifest.json" for name in SOURCES]
    command = [
        *(sys.executable, ROOT / "scripts" / "filter.py", "--config", tmp_path / "filter.json"),
        *("--extract", *manifests, "--tasks", write_task(tmp_path)),
        *("--output", tmp_path / "filter", "--log", tmp_path / "filter.log"),
    ]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    manifest = tmp_path / "filter" / "manifest.json"
    receipt = read_manifest(manifest, stage="filter")
    files = [path.name for path, _ in listed_files(manifest, stage="filter")]
    assert sorted(files) == ["books.u8", "examples.jsonl", "wiki.u8"]
    assert {path.name for path in (tmp_path / "filter").iterdir()} == {*files, "manifest.json"}
    assert reasons(tmp_path / "filter", "wiki") == EXPECTED["wiki"]
    assert receipt["counts"]["kept"] == 5
    assert receipt["contamination"]["mrpc"]["texts"] == 2
    assert receipt["inputs"]["mrpc/train.tsv"] == "ab" * 32
    assert "wiki/documents.txt" in receipt["inputs"]
