"""Lists of names and weights of sources in the split."""

from collections import Counter
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert.text.dealing import Dealer
from bert.text.documents import read_documents
from bert.text.extracted import load_sources
from bert.text.filter import filter_file
from bert.text.name_lists import NameList, NameListError
from bert.text.roles import SplitError
from bert.text.split import (
    HELD_OUT_NAMES,
    HELD_OUT_TEXT,
    Lists,
)
from tests.extracted import write_source
from tests.splits import by_list, config, documents, name_list, parts_of, run, sources_of

# Lists


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
