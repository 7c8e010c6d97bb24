"""Drawing and dealing: every choice equally likely; and a corpus too small for it."""

from collections import Counter
from itertools import combinations, islice
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from bert.text.dealing import deal, select_exactly
from bert.text.roles import HeldOutConfig, SplitError, held_out_documents
from bert.text.split import (
    SplitConfig,
)
from tests.splits import config, run, sources_of

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
