"""Held-out text that stands in the training text, too."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bert.text.documents import Document, read_documents
from bert.text.roles import SplitError
from bert.text.split import (
    HELD_OUT_TEXT,
    Division,
    Lists,
)
from tests.extracted import content, write_sources
from tests.splits import REMOVE, config, documents, name_list, parts_of, run

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
