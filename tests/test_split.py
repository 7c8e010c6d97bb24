import json
import subprocess
import sys
import tracemalloc
from collections import Counter
from itertools import chain, combinations, islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bert.manifest import ROOT, ManifestError, read_manifest, sha256_file
from bert.text.dealing import Dealer, PartFiles, deal, part_name, select_exactly
from bert.text.documents import Document, read_documents
from bert.text.extracted import ExtractedError, Source, load_sources
from bert.text.filter import filter_file
from bert.text.name_lists import NameList, NameListError
from bert.text.roles import HeldOutConfig, SplitError, held_out_documents
from bert.text.split import (
    HELD_OUT_NAMES,
    HELD_OUT_TEXT,
    Division,
    Lists,
    SplitConfig,
    split,
    training_parts,
)
from tests.extracted import content, write_source, write_sources


def documents(name: str, number: int) -> list[Document]:
    """Documents of one to three sentences, each different."""
    return [[f"{name} {i} {j} ." for j in range(1 + i % 3)] for i in range(number)]


def sources_of(folder: Path, **numbers: int) -> list[Source]:
    """Sources on disk with so many documents each."""
    return write_sources(folder, {name: documents(name, n) for name, n in numbers.items()})


def config(parts: int = 4, fraction: float | None = 0.1, seed: int = 7, **more) -> SplitConfig:
    held_out = {"fraction": fraction, "documents": None, "list": None}
    held_out |= more.pop("held_out", {})
    values = {
        "seed": seed,
        "parts": parts,
        "held_out": held_out,
        "train_list": None,
        "max_missing_share": 0.0,
        "weights": {},
        "leaks": None,
    }
    return SplitConfig.model_validate(values | more)


def run(sources: list[Source], section: SplitConfig, folder: Path, **more) -> Division:
    folder.mkdir(parents=True)
    work = folder.with_name(f"{folder.name}-work")
    work.mkdir()
    return split(sources, section, folder, work, **({"workers": 1} | more))


def parts_of(folder: Path) -> list[list[Document]]:
    return [list(read_documents(path)) for path in sorted((folder / "parts").iterdir())]


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


# Lists


def name_list(path: Path, *names: str) -> NameList:
    path.write_text("".join(f"{name}\n" for name in names), "utf-8")
    return NameList([path])


def by_list(**more) -> SplitConfig:
    return config(2, None, held_out={"list": "validation"}, **more)


def test_lists_say_what_is_held_out_and_what_is_trained_on(tmp_path: Path) -> None:
    held_out = name_list(tmp_path / "v.txt", "wiki-3", "books\tbooks-1", "", "wiki-5")
    train = name_list(tmp_path / "t.txt", *[f"wiki-{n}" for n in range(10, 16)])
    lists = Lists(held_out, train)
    sources = sources_of(tmp_path, wiki=20, books=4)
    found = run(sources, by_list(), tmp_path / "split", lists=lists)
    names = (tmp_path / "split" / HELD_OUT_NAMES).read_text().splitlines()
    assert names == ["wiki\twiki-3", "wiki\twiki-5", "books\tbooks-1"]
    trained = sorted(d[0] for part in parts_of(tmp_path / "split") for d in part)
    assert trained == [f"wiki {n} 0 ." for n in range(10, 16)]
    assert found.counts["skipped_unlisted"] == 24 - 3 - 6
    assert found.counts["held_out_list_names"] == 3
    assert found.counts["train_list_missing"] == 0


def test_the_names_of_the_held_out_documents_are_a_list_for_another_run(tmp_path: Path) -> None:
    sources = sources_of(tmp_path, wiki=30, books=12)
    run(sources, config(3, 0.2), tmp_path / "a")
    lists = Lists(NameList([tmp_path / "a" / HELD_OUT_NAMES]), None)
    run(sources, by_list(), tmp_path / "b", lists=lists)
    for file in (HELD_OUT_TEXT, HELD_OUT_NAMES):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_fraction_is_drawn_from_the_train_list(tmp_path: Path) -> None:
    train = name_list(tmp_path / "t.txt", *[f"wiki-{n}" for n in range(20)])
    sources = sources_of(tmp_path, wiki=50)
    found = run(sources, config(2, 0.25), tmp_path / "split", lists=Lists(None, train))
    assert found.counts["held_out_documents"] == 5
    assert found.counts["dealt_documents"] == 15
    assert found.counts["skipped_unlisted"] == 30


def test_a_source_in_the_list_names_only_its_own_documents(tmp_path: Path) -> None:
    same = [str(n) for n in range(8)]
    manifests = [write_source(tmp_path, n, documents(n, 8), same) for n in ("wiki", "pubmed")]
    lists = Lists(name_list(tmp_path / "v.txt", "wiki\t1", "2"), None)
    run(load_sources(manifests), by_list(), tmp_path / "split", lists=lists)
    names = (tmp_path / "split" / HELD_OUT_NAMES).read_text().splitlines()
    assert names == ["wiki\t1", "wiki\t2", "pubmed\t2"]


def test_lists_that_overlap_are_refused_with_examples(tmp_path: Path) -> None:
    lists = Lists(
        name_list(tmp_path / "v.txt", "wiki-1", "wiki-2", "wiki-3"),
        name_list(tmp_path / "t.txt", "wiki-2", "wiki-3", "wiki-4", "wiki-5"),
    )
    with pytest.raises(NameListError, match=r"2 names stand in both lists.*'wiki-2', 'wiki-3'"):
        run(sources_of(tmp_path, wiki=9), by_list(), tmp_path / "split", lists=lists)


def test_names_of_no_document_are_counted_and_above_a_share_refused(tmp_path: Path) -> None:
    sources = sources_of(tmp_path, wiki=20)
    path = tmp_path / "v.txt"
    names = ["wiki-1", "wiki-2", "wiki-3", "lost"]
    lists = Lists(name_list(path, *names), None)
    found = run(sources, by_list(max_missing_share=0.25), tmp_path / "a", lists=lists)
    assert found.counts["held_out_list_missing"] == 1
    lists = Lists(name_list(path, *names), None)
    with pytest.raises(NameListError, match=r"1 of 4 names of v\.txt are.*'lost'.*0\.2 may"):
        run(sources, by_list(max_missing_share=0.2), tmp_path / "b", lists=lists)


def test_an_empty_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NameListError, match="names no document"):
        name_list(tmp_path / "v.txt", "", " ")


def test_a_list_that_names_only_dropped_documents_is_refused(tmp_path: Path) -> None:
    filter_file(tmp_path, "wiki").write_bytes(bytes([1]) + bytes(19))
    lists = Lists(name_list(tmp_path / "v.txt", "wiki-0"), None)
    sources = sources_of(tmp_path, wiki=20)
    with pytest.raises(SplitError, match="names 0 of 20 documents"):
        run(sources, by_list(), tmp_path / "split", lists=lists, filtered=tmp_path)


# Weights


def dealt(folder: Path) -> Counter:
    return Counter(tuple(d) for part in parts_of(folder) for d in part)


def test_weights_deal_documents_several_times_or_some_of_them(tmp_path: Path) -> None:
    sources = sources_of(tmp_path, wiki=30, books=11, web=9)
    section = config(4, 0.2, weights={"wiki": 0.5, "books": 2.5, "web": None})
    found = run(sources, section, tmp_path / "split")
    times = dealt(tmp_path / "split")
    held_out = list(read_documents(tmp_path / "split" / HELD_OUT_TEXT))
    for name, low, high in (("wiki", 0, 1), ("books", 2, 3), ("web", 1, 1)):
        copies = [times[tuple(d)] for d in documents(name, 50) if f"{name} " in d[0]]
        counts = found.sources[name]
        kept = [tuple(d) for d in documents(name, counts["documents"]) if d not in held_out]
        assert {times[d] for d in kept} == {low, high}
        share = {"wiki": 0.5, "books": 2.5, "web": 1.0}[name]
        assert counts["dealt_documents"] == sum(copies) == round(share * len(kept))
        assert counts["training_documents"] == sum(times[d] > 0 for d in kept)
        assert counts["skipped_by_weight"] == sum(times[d] == 0 for d in kept)
    assert not [d for d in held_out if times[tuple(d)]]


def test_copies_of_a_document_go_to_different_parts(tmp_path: Path) -> None:
    run(sources_of(tmp_path, wiki=23), config(5, 0.1, weights={"wiki": 5}), tmp_path / "split")
    for part in parts_of(tmp_path / "split"):
        assert len({tuple(d) for d in part}) == len(part) == 21


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(1, 7), st.lists(st.integers(0, 7), max_size=60), st.integers(0, 99))
def test_copies_are_apart_and_parts_even(parts: int, copies: list[int], seed: int) -> None:
    dealer = Dealer(parts, np.random.default_rng(seed))
    given_ = [dealer.take(min(number, parts)) for number in copies]
    assert all(len(set(taken)) == len(taken) for taken in given_)
    assert [len(taken) for taken in given_] == [min(number, parts) for number in copies]
    sizes = Counter(chain(range(parts), *given_)).values()
    assert max(sizes) - min(sizes) <= 2


# Leaks

LONG = "the same long sentence stands in both of these documents here"
LEAKY = [
    ["Whole Twin, first sentence.", "Second sentence of the twin."],
    [LONG, "held out alone"],
    [f"{LONG.upper()}!", "trained on alone"],
    ["whole twin first sentence", "second sentence of the twin"],
    ["Nothing in common.", "short one"],
    ["Other words, all of them.", "short one"],
]
REMOVE = {"documents": "remove", "sentence_words": 5}


def leaky(folder: Path, **more) -> Division:
    lists = Lists(name_list(folder / "v.txt", "wiki-0", "wiki-1"), None)
    section = config(1, None, held_out={"list": "validation"}, **({"leaks": REMOVE} | more))
    return run(write_sources(folder, {"wiki": LEAKY}), section, folder / "split", lists=lists)


def test_a_twin_of_a_held_out_document_is_removed_and_sentences_are_counted(
    tmp_path: Path,
) -> None:
    found = leaky(tmp_path)
    assert found.counts["skipped_leaked"] == found.sources["wiki"]["skipped_leaked"] == 1
    assert [d for part in parts_of(tmp_path / "split") for d in part] == [
        LEAKY[n] for n in (2, 4, 5)
    ]
    # Long sentences held out: "second sentence of the twin" and LONG ("whole twin first sentence"
    # has 4 words). The twin is not in training, so only LONG is found there.
    assert found.counts["held_out_long_sentences"] == 2
    assert found.counts["held_out_sentences_in_training"] == 1


def test_a_twin_can_be_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SplitError, match=r"1 training documents have the words.*wiki/wiki-3"):
        leaky(tmp_path, leaks=REMOVE | {"documents": "refuse"})


def test_leaks_need_not_be_looked_for(tmp_path: Path) -> None:
    found = leaky(tmp_path, leaks=None)
    assert found.counts["skipped_leaked"] == 0
    assert "held_out_long_sentences" not in found.counts
    assert found.counts["dealt_documents"] == 4


def test_a_part_that_leaks_empty_is_refused(tmp_path: Path) -> None:
    lists = Lists(name_list(tmp_path / "v.txt", "wiki-0", "wiki-1"), None)
    sources = write_sources(tmp_path, {"wiki": [["one a"], ["two b"], ["One, A"], ["three c"]]})
    section = config(1, None, held_out={"list": "validation"}, leaks=REMOVE)
    with pytest.raises(SplitError, match="A part got 1 documents"):
        run(sources, section, tmp_path / "split", lists=lists)


WORDS = st.lists(st.sampled_from(["a", "B", "c.", "\u00e9"]), min_size=1, max_size=3)


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(st.lists(WORDS, min_size=1, max_size=3), min_size=12, max_size=30),
    st.integers(0, 99),
    st.sampled_from([0.5, 1.0, 1.7, 2.0]),
)
def test_after_the_split_no_held_out_text_is_in_training(tmp_path, raw, seed, weight) -> None:
    folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
    docs = [[" ".join(words) for words in document] for document in raw]
    docs += documents("sure", 10)
    section = config(2, 0.2, seed, leaks=REMOVE, weights={"wiki": weight})
    found = run(write_sources(folder, {"wiki": docs}), section, folder / "split").counts

    def form(document: Document) -> str:
        return " ".join(" ".join(document).lower().replace(".", " ").split())

    held_out = {form(d) for d in read_documents(folder / "split" / HELD_OUT_TEXT)}
    trained = [form(d) for part in parts_of(folder / "split") for d in part]
    assert not held_out & set(trained)
    left_out = sum(count for name, count in found.items() if name.startswith("skipped_"))
    assert found["documents"] == len(docs)
    assert (
        found["documents"] == found["held_out_documents"] + found["training_documents"] + left_out
    )
    assert found["dealt_documents"] == len(trained)


def test_workers_change_no_byte(tmp_path: Path) -> None:
    docs = [[f"sentence {n % 900} {'with many words ' * 99}end"] for n in range(1800)]
    sources = write_sources(tmp_path, {"wiki": docs})
    found = [
        run(sources, config(3, 0.1, leaks=REMOVE), tmp_path / f"{workers}", workers=workers)
        for workers in (1, 2)
    ]
    assert found[0] == found[1]
    assert found[0].counts["skipped_leaked"] > 100
    assert content(tmp_path / "1") == content(tmp_path / "2")


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


def held_out(**values) -> HeldOutConfig:
    return HeldOutConfig(**({"fraction": None, "documents": None, "list": None} | values))


@pytest.mark.parametrize(
    ("number", "section", "message"),
    [
        (
            1,
            config(1, 0.0),
            r"split\.parts is 1, but of 1 documents 0 are held out and 1 are dealt",
        ),
        (1, config(1, 0.5), r"held_out\.fraction is 0\.5, which is 1 of 1 documents"),
        (10, config(2, 0.01), r"which is 1 of 10 documents; .* at least 0\.2, or to 0"),
        (10, config(5, 0.2), r"10 documents 2 are held.* Set split\.parts to at most 4"),
        (3, config(1, 0.7), r"3 documents 2 are held out.*Hold out less, or add documents"),
        (9, config(1, None, held_out={"documents": 9}), r"documents is 9, but there are 9"),
    ],
)
def test_a_corpus_too_small_is_refused_with_what_would_do(
    tmp_path: Path, number: int, section: SplitConfig, message: str
) -> None:
    with pytest.raises(SplitError, match=message):
        run(sources_of(tmp_path, wiki=number), section, tmp_path / "split")


def test_sources_without_any_document_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SplitError, match="corpus is empty: all sources together have 0 documents"):
        run(sources_of(tmp_path, wiki=0), config(), tmp_path / "split")


def test_what_the_refusal_advises_is_accepted(tmp_path: Path) -> None:
    run(sources_of(tmp_path, wiki=10), config(4, 0.2), tmp_path / "split")
    assert held_out_documents(10, held_out(fraction=0.2)) == 2
    assert held_out_documents(10, held_out(fraction=0.0)) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": -1}, "greater than or equal to 0"),
        ({"parts": 0}, "greater than or equal to 1"),
        ({"weights": {"wiki": 0.0}}, r"weights\.wiki is 0; expected more than 0 and at most the 4"),
        ({"weights": {"wiki": 4.5}}, r"weights\.wiki is 4\.5"),
        ({"held_out": {"fraction": -0.1}}, "greater than or equal to 0"),
        ({"held_out": {"fraction": 1.0}}, "less than 1"),
        ({"held_out": {"documents": 1, "fraction": None}}, "greater than or equal to 2"),
        ({"held_out": {"documents": 9}}, "it gives fraction and documents; expected exactly one"),
        ({"held_out": {"fraction": None}}, "it gives nothing; expected exactly one"),
    ],
)
def test_the_ranges_of_the_section_are_kept(changes, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        config(**changes)


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
