import json
import subprocess
import sys
import tracemalloc
from collections import Counter
from itertools import combinations, islice
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from bert.manifest import ROOT, ManifestError, read_manifest, sha256_file, write_manifest
from bert.text.documents import Document, read_documents, write_documents
from bert.text.split import (
    HELD_OUT,
    PartFiles,
    Source,
    SplitConfig,
    SplitError,
    count_held_out,
    deal,
    load_sources,
    part_name,
    select_exactly,
    split,
    training_parts,
)


def documents(name: str, number: int) -> list[Document]:
    """Documents of one to three sentences, each different."""
    return [[f"{name} {i} {j} ." for j in range(1 + i % 3)] for i in range(number)]


def source(folder: Path, name: str, number: int) -> Source:
    """A source on disk with the manifest of its extraction."""
    (folder / name).mkdir(parents=True)
    text = folder / name / "documents.txt"
    written = write_documents(text, documents(name, number))
    write_manifest(
        folder / name / "manifest.json",
        stage="extract",
        config={},
        inputs={},
        counts={"documents": written.documents, "sentences": written.sentences},
        outputs=[text],
    )
    return Source(name, text, written.documents, sha256_file(text))


def config(parts: int = 4, held_out_fraction: float = 0.1, seed: int = 7) -> SplitConfig:
    return SplitConfig(seed=seed, parts=parts, held_out_fraction=held_out_fraction)


def run(sources: list[Source], settings: SplitConfig, folder: Path) -> dict[str, int]:
    folder.mkdir()
    return split(sources, settings, folder)


def parts_of(folder: Path) -> list[list[Document]]:
    return [list(read_documents(path)) for path in sorted((folder / "parts").iterdir())]


def content(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize("number", [10, 11, 12, 13, 97])
@pytest.mark.parametrize("fraction", [0.0, 0.2])
def test_every_document_is_in_exactly_one_file(
    tmp_path: Path, number: int, fraction: float
) -> None:
    sources = [source(tmp_path, "wiki", number), source(tmp_path, "books", 7)]
    counts = run(sources, config(4, fraction), tmp_path / "split")
    parts = parts_of(tmp_path / "split")
    held_out = list(read_documents(tmp_path / "split" / HELD_OUT))
    everywhere = [tuple(d) for part in [*parts, held_out] for d in part]
    assert sorted(everywhere) == sorted(
        tuple(d) for d in documents("wiki", number) + documents("books", 7)
    )
    assert len(held_out) == round(fraction * (number + 7)) == counts["held_out_documents"]
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert (counts["fewest_documents_in_a_part"], counts["most_documents_in_a_part"]) == (
        min(sizes),
        max(sizes),
    )


def test_the_counts_add_up_from_the_sources_to_the_parts(tmp_path: Path) -> None:
    sources = [source(tmp_path, "wiki", 20), source(tmp_path, "books", 10)]
    counts = run(sources, config(4, 0.1), tmp_path / "split")
    assert counts["documents"] == 30
    assert counts["documents.wiki"] == 20
    assert counts["documents.books"] == 10
    assert counts["sentences.wiki"] == sum(len(d) for d in documents("wiki", 20))
    assert counts["sentences"] == counts["sentences.wiki"] + counts["sentences.books"]
    assert counts["held_out_documents"] == 3
    assert counts["parts"] == 4
    sentences = sum(len(d) for part in parts_of(tmp_path / "split") for d in part)
    assert counts["sentences"] - counts["held_out_sentences"] == sentences


def test_consecutive_documents_go_to_different_parts_and_keep_their_order(tmp_path: Path) -> None:
    run([source(tmp_path, "wiki", 22)], config(4, 0.0), tmp_path / "split")
    parts = parts_of(tmp_path / "split")
    place = {tuple(d): part for part, found in enumerate(parts) for d in found}
    order = [place[tuple(d)] for d in documents("wiki", 22)]
    blocks = [order[start : start + 4] for start in range(0, 22, 4)]
    assert all(len(set(block)) == len(block) for block in blocks)
    assert len({tuple(block) for block in blocks[:-1]}) > 1
    for found in parts:
        numbers = [int(d[0].split()[1]) for d in found]
        assert numbers == sorted(numbers)


def test_the_same_seed_gives_the_same_bytes_anywhere_and_another_seed_others(
    tmp_path: Path,
) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        sources = [source(tmp_path / name, "wiki", 40)]
        run(sources, config(4, 0.1, seed), tmp_path / name / "split")
    first, again, other = (content(tmp_path / name / "split") for name in "abc")
    assert first == again
    assert first.keys() == other.keys()
    assert all(first[file] != other[file] for file in first)


def test_the_number_of_parts_does_not_change_what_is_held_out(tmp_path: Path) -> None:
    sources = [source(tmp_path, "wiki", 40)]
    for parts in (1, 5):
        run(sources, config(parts, 0.2), tmp_path / f"{parts}")
    assert (tmp_path / "1" / HELD_OUT).read_bytes() == (tmp_path / "5" / HELD_OUT).read_bytes()


def test_files_have_the_names_and_the_layout_of_results4(tmp_path: Path) -> None:
    assert part_name(7, 500) == "part-00007-of-00500"
    run([source(tmp_path, "wiki", 20)], config(2, 0.1), tmp_path / "split")
    files = content(tmp_path / "split")
    assert list(files) == ["held_out.txt", "parts/part-00000-of-00002", "parts/part-00001-of-00002"]
    for data in files.values():
        assert data.endswith(b" .\n")
        assert b"\n\n\n" not in data
        assert not data.startswith(b"\n")


def test_a_fraction_of_zero_leaves_an_empty_held_out_file(tmp_path: Path) -> None:
    counts = run([source(tmp_path, "wiki", 8)], config(4, 0.0), tmp_path / "split")
    assert (tmp_path / "split" / HELD_OUT).read_bytes() == b""
    assert counts["held_out_documents"] == 0


# Drawing and dealing


@pytest.mark.parametrize(("chosen", "total"), [(0, 0), (0, 5), (5, 5), (1, 5), (37, 1000)])
def test_selection_takes_exactly_the_wanted_number(chosen: int, total: int) -> None:
    for seed in range(20):
        taken = list(select_exactly(chosen, total, np.random.default_rng(seed)))
        assert (len(taken), sum(taken)) == (total, chosen)


def test_every_choice_is_equally_likely() -> None:
    rng = np.random.default_rng(5)
    draws = 5000
    seen = Counter(tuple(np.flatnonzero(list(select_exactly(2, 5, rng)))) for _ in range(draws))
    assert sorted(seen) == list(combinations(range(5), 2))
    # Chi-square of 10 equal cells: 9 degrees of freedom, 27.9 is passed once in a thousand.
    assert sum((n - draws / 10) ** 2 / (draws / 10) for n in seen.values()) < 27.9


def test_every_part_is_equally_likely_at_every_place_of_a_block() -> None:
    blocks = np.array(list(islice(deal(4, np.random.default_rng(5)), 4 * 3000))).reshape(-1, 4)
    assert (np.sort(blocks, axis=1) == np.arange(4)).all()
    for place in range(4):
        cells = np.bincount(blocks[:, place], minlength=4)
        # 3 degrees of freedom, 16.3 is passed once in a thousand.
        assert ((cells - 750) ** 2 / 750).sum() < 16.3


# Too small a corpus


@pytest.mark.parametrize(
    ("number", "settings", "message"),
    [
        (0, config(), r"corpus is empty: all sources together have 0 documents"),
        (1, config(1, 0.0), r"split\.parts is 1, but the corpus has 1 documents, 0 of them held"),
        (1, config(1, 0.5), r"held_out_fraction is 0\.5, which is 1 of 1 documents"),
        (10, config(2, 0.01), r"which is 1 of 10 documents; .* at least 0\.2, or to 0"),
        (
            10,
            config(5, 0.2),
            r"has 10 documents, 2 of them held out.* Set split\.parts to at most 4",
        ),
        (3, config(1, 0.7), r"3 documents, 2 of them held out.*Hold out less, or add documents"),
    ],
)
def test_a_corpus_too_small_is_refused_with_what_would_do(
    number: int, settings: SplitConfig, message: str
) -> None:
    with pytest.raises(SplitError, match=message):
        count_held_out(number, settings)


def test_what_the_refusal_advises_is_accepted() -> None:
    assert count_held_out(10, config(4, 0.2)) == 2
    assert count_held_out(10, config(5, 0.0)) == 0


@pytest.mark.parametrize(
    "changes",
    [{"seed": -1}, {"parts": 0}, {"held_out_fraction": -0.1}, {"held_out_fraction": 1.0}],
)
def test_the_ranges_of_the_section_are_kept(changes: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        SplitConfig(**(config().model_dump() | changes))


# Sources


def test_a_source_with_another_number_of_documents_is_refused(tmp_path: Path) -> None:
    good = source(tmp_path, "wiki", 20)
    with pytest.raises(SplitError, match="has only 20 documents, its manifest states 21"):
        run([good._replace(documents=21)], config(4, 0.1), tmp_path / "a")
    with pytest.raises(SplitError, match="has more than 19 documents, its manifest states 19"):
        run([good._replace(documents=19)], config(4, 0.1), tmp_path / "b")


def test_sources_are_read_from_their_manifests_in_the_given_order(tmp_path: Path) -> None:
    expected = [source(tmp_path, "wiki", 3), source(tmp_path, "books", 2)]
    manifests = [tmp_path / name / "manifest.json" for name in ("wiki", "books")]
    assert load_sources(manifests) == expected


def test_a_source_given_twice_or_none_at_all_is_refused(tmp_path: Path) -> None:
    source(tmp_path, "wiki", 3)
    with pytest.raises(SplitError, match="given source wiki twice"):
        load_sources([tmp_path / "wiki" / "manifest.json"] * 2)
    with pytest.raises(SplitError, match="given no source"):
        load_sources([])


def test_a_source_that_was_cut_after_its_manifest_is_refused(tmp_path: Path) -> None:
    path = source(tmp_path, "wiki", 3).path
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ManifestError, match=r"documents\.txt has \d+ bytes; .* states"):
        load_sources([tmp_path / "wiki" / "manifest.json"])


def test_a_manifest_without_documents_is_refused(tmp_path: Path) -> None:
    source(tmp_path, "wiki", 3)
    manifest = tmp_path / "wiki" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"outputs": {}}))
    with pytest.raises(ManifestError, match=r"lists no documents\.txt"):
        load_sources([manifest])


# Few open files, little memory


def test_the_size_of_the_buffer_does_not_change_a_byte(tmp_path: Path) -> None:
    for size in (1, 100, 1 << 20):
        folder = tmp_path / str(size)
        folder.mkdir()
        files = PartFiles([folder / "a", folder / "b"], buffer_bytes=size)
        for i, document in enumerate(documents("wiki", 30)):
            files.write(i % 2, document)
        files.flush()
    assert content(tmp_path / "1") == content(tmp_path / "100") == content(tmp_path / str(1 << 20))


def test_memory_does_not_grow_with_the_corpus(tmp_path: Path) -> None:
    def peak(number: int) -> int:
        files = PartFiles([tmp_path / f"{number}-{i}" for i in range(5)], buffer_bytes=20_000)
        tracemalloc.start()
        for i in range(number):
            files.write(i % 5, ["a sentence of some forty characters ....."] * 5)
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


def test_the_script_makes_500_parts_with_64_open_files(tmp_path: Path) -> None:
    source(tmp_path / "extract", "wiki", 900)
    source(tmp_path / "extract", "books", 300)
    (tmp_path / "split.json").write_text(json.dumps(config(500, 0.01).model_dump()))
    limited = ["bash", "-c", 'ulimit -n 64 && exec "$@"', "bash"]
    subprocess.run(
        [*limited, *command(tmp_path, "wiki", "books")],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    manifest = tmp_path / "split" / "manifest.json"
    receipt = read_manifest(manifest, stage="split")
    assert receipt["sources"] == ["wiki", "books"]
    assert receipt["inputs"]["wiki"] == sha256_file(tmp_path / "extract" / "wiki" / "documents.txt")
    assert receipt["counts"]["documents"] == 1200
    assert len(receipt["outputs"]) == 501
    parts = training_parts(manifest)
    assert [path.name for path, _ in parts] == [part_name(i, 500) for i in range(500)]
    assert sum(len(list(read_documents(path))) for path, _ in parts) == 1200 - 12


def test_a_failed_split_leaves_nothing(tmp_path: Path) -> None:
    source(tmp_path / "extract", "wiki", 9)
    (tmp_path / "split.json").write_text(json.dumps(config(5, 0.0).model_dump()))
    done = subprocess.run(
        command(tmp_path, "wiki"), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("ERROR split.parts is 5, but the corpus has 9 documents")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["extract", "split.json", "split.log"]
