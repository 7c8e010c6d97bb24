"""The split: every document in one file, what is held out, what the filter dropped."""

from pathlib import Path

import numpy as np
import pytest

from bert.text.dealing import part_name
from bert.text.documents import read_documents
from bert.text.filter import filter_file
from bert.text.roles import SplitError
from bert.text.split import (
    HELD_OUT_NAMES,
    HELD_OUT_TEXT,
)
from tests.extracted import content
from tests.splits import config, documents, parts_of, run, sources_of


@pytest.mark.parametrize("number", [10, 11, 12, 13, 97])
@pytest.mark.parametrize("fraction", [0.0, 0.2])
def test_every_document_is_in_exactly_one_file(
    tmp_path: Path, number: int, fraction: float
) -> None:
    sources = sources_of(tmp_path, wiki=number, books=7)
    counts = run(sources, config(4, fraction), tmp_path / "split").counts
    parts = parts_of(tmp_path / "split")
    held_out = list(read_documents(tmp_path / "split" / HELD_OUT_TEXT))
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
    found = run(sources_of(tmp_path, wiki=20, books=10), config(4, 0.1), tmp_path / "split")
    counts, wiki, books = found.counts, found.sources["wiki"], found.sources["books"]
    assert (counts["documents"], wiki["documents"], books["documents"]) == (30, 20, 10)
    assert wiki["sentences"] == sum(len(d) for d in documents("wiki", 20))
    assert counts["sentences"] == wiki["sentences"] + books["sentences"]
    assert counts["held_out_documents"] == 3
    assert counts["training_documents"] == counts["dealt_documents"] == 27
    assert counts["parts"] == 4
    sentences = sum(len(d) for part in parts_of(tmp_path / "split") for d in part)
    assert counts["sentences"] - counts["held_out_sentences"] == sentences
    assert counts["dealt_sentences"] == sentences


def test_consecutive_documents_go_to_different_parts_and_keep_their_order(tmp_path: Path) -> None:
    run(sources_of(tmp_path, wiki=22), config(4, 0.0), tmp_path / "split")
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
        run(sources_of(tmp_path / name, wiki=40), config(4, 0.1, seed), tmp_path / name / "split")
    first, again, other = (content(tmp_path / name / "split") for name in "abc")
    assert first == again
    assert first.keys() == other.keys()
    assert all(first[file] != other[file] for file in first)


def test_the_number_of_parts_does_not_change_what_is_held_out(tmp_path: Path) -> None:
    sources = sources_of(tmp_path, wiki=40)
    for parts in (1, 5):
        run(sources, config(parts, 0.2), tmp_path / f"{parts}")
    for file in (HELD_OUT_TEXT, HELD_OUT_NAMES):
        assert (tmp_path / "1" / file).read_bytes() == (tmp_path / "5" / file).read_bytes()


def test_files_have_the_names_and_the_layout_of_results4(tmp_path: Path) -> None:
    assert part_name(7, 500) == "part-00007-of-00500"
    run(sources_of(tmp_path, wiki=20), config(2, 0.1), tmp_path / "split")
    files = content(tmp_path / "split")
    names = files.pop(HELD_OUT_NAMES)
    assert names.count(b"\n") == names.count(b"wiki\twiki-") == 2
    assert list(files) == ["held_out.txt", "parts/part-00000-of-00002", "parts/part-00001-of-00002"]
    for data in files.values():
        assert data.endswith(b" .\n")
        assert b"\n\n\n" not in data
        assert not data.startswith(b"\n")


def test_a_fraction_of_zero_leaves_an_empty_held_out_file(tmp_path: Path) -> None:
    leaks = {"documents": "remove", "sentence_words": 2}
    section = config(4, 0.0, leaks=leaks)
    counts = run(sources_of(tmp_path, wiki=8), section, tmp_path / "split").counts
    assert (tmp_path / "split" / HELD_OUT_TEXT).read_bytes() == b""
    assert counts["held_out_documents"] == counts["held_out_sentences_in_training"] == 0


def test_a_number_of_documents_is_held_out_exactly(tmp_path: Path) -> None:
    section = config(4, None, held_out={"documents": 7})
    assert (
        run(sources_of(tmp_path, wiki=30), section, tmp_path / "split").counts["held_out_documents"]
        == len(list(read_documents(tmp_path / "split" / HELD_OUT_TEXT)))
        == 7
    )


# The filter


def test_what_the_filter_dropped_is_in_no_file(tmp_path: Path) -> None:
    sources = sources_of(tmp_path, wiki=20, books=10)
    dropped = {"wiki": [3, 4, 19], "books": [0]}
    for source in sources:
        reasons = np.zeros(source.documents, np.uint8)
        reasons[dropped[source.name]] = 2
        reasons.tofile(filter_file(tmp_path, source.name))
    found = run(sources, config(4, 0.2), tmp_path / "split", filtered=tmp_path)
    text = b"".join(content(tmp_path / "split").values()).decode()
    for name, numbers in dropped.items():
        assert not [n for n in numbers if f"{name} {n} 0 ." in text]
    assert found.counts["skipped_filtered"] == 4
    assert found.counts["held_out_documents"] == round(0.2 * 26)
    assert found.counts["dealt_documents"] == 21
    assert found.sources["books"]["skipped_filtered"] == 1


def test_a_filter_of_other_documents_is_refused(tmp_path: Path) -> None:
    filter_file(tmp_path, "wiki").write_bytes(bytes(19))
    with pytest.raises(SplitError, match="has 19 bytes; expected one for each of 20 documents"):
        run(sources_of(tmp_path, wiki=20), config(), tmp_path / "split", filtered=tmp_path)
