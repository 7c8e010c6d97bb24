import os
import random
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bert.data.bytelevel import SPECIAL_TOKENS
from bert.data.train_bytelevel import train_byte_level
from bert.data.vocab_config import ByteLevelVocab, VocabError
from bert.manifest import ROOT
from tests.test_bytelevel import ALPHABET
from tests.test_train_wordpiece import random_text
from tests.test_wordpiece import write_text

FIXED = [*SPECIAL_TOKENS, *ALPHABET]


def byte_level_settings(**changes: Any) -> ByteLevelVocab:
    values = {"size": 300, "lowercase": True, "min_frequency": 2, "coverage_megabytes": 1}
    return ByteLevelVocab(kind="bytelevel", **(values | changes))


def naive_byte_pairs(words: Counter[str], size: int, least: int) -> list[tuple[str, str]]:
    """The same training by recounting all pairs at every step; ties go to the older pieces."""
    tokens, merges = list(FIXED), []
    texts = [(list(word), count) for word, count in words.items()]
    while len(tokens) < size:
        pairs: Counter[tuple[str, str]] = Counter()
        for pieces, count in texts:
            for pair in pairwise(pieces):
                pairs[pair] += count
        if not pairs or max(pairs.values()) < least:
            break
        ids = {token: i for i, token in enumerate(tokens)}
        best = min(pairs, key=lambda p: (-pairs[p], ids[p[0]], ids[p[1]]))
        tokens += ["".join(best)] if "".join(best) not in ids else []
        merges.append(best)
        for pieces, _ in texts:
            for i in reversed(range(len(pieces) - 1)):
                if tuple(pieces[i : i + 2]) == best:
                    pieces[i : i + 2] = ["".join(best)]
    return merges


@pytest.mark.parametrize("seed", range(8))
def test_training_equals_the_naive_algorithm_with_ordered_ties(tmp_path: Path, seed: int) -> None:
    # Letters that do not repeat within a word leave no two readings of "aaa".
    rng = random.Random(seed)
    words = ["".join(rng.sample("abcdefgh", k=rng.randint(1, 8))) for _ in range(30)]
    lines = [" ".join(rng.choices(words, k=20)) for _ in range(10)]
    part = write_text(tmp_path / "part", "\n".join(lines) + "\n\n")
    tokens, merges, counts = train_byte_level([part], byte_level_settings())
    counted = Counter(f"\u0120{word}" for line in lines for word in line.split())
    assert merges == naive_byte_pairs(counted, 300, 2)
    assert tokens[: len(FIXED)] == FIXED
    assert tokens[len(FIXED) :] == list(dict.fromkeys(map("".join, merges)))
    assert counts == {"tokens": len(tokens), "merges": len(merges)}


def test_line_ends_and_blank_lines_leave_no_trace(tmp_path: Path) -> None:
    unix = write_text(tmp_path / "unix", "ab ab\n\n\nab ab\n")
    windows = tmp_path / "windows"
    windows.write_bytes(b"ab ab\r\n\r\n\r\nab ab")
    for part in (unix, windows):
        tokens, merges, _ = train_byte_level([part], byte_level_settings())
        assert merges == [("a", "b"), ("\u0120", "ab")]
        assert tokens[261:] == ["ab", "\u0120ab"]


def test_capitals_are_kept_or_not(tmp_path: Path) -> None:
    part = write_text(tmp_path / "part", "AB AB\n")
    for lowercase, word in ((True, "\u0120ab"), (False, "\u0120AB")):
        assert word in train_byte_level([part], byte_level_settings(lowercase=lowercase))[0]


TRAIN = """
import sys
from pathlib import Path
from bert.data.train_bytelevel import train_byte_level
from bert.data.vocab_config import ByteLevelVocab
config = ByteLevelVocab(
    kind="bytelevel", size=500, lowercase=True, min_frequency=1, coverage_megabytes=1
)
print(train_byte_level([Path(p) for p in sys.argv[1:]], config))
"""


def test_the_same_bytes_in_every_process_with_any_threads_and_order(tmp_path: Path) -> None:
    parts = [
        str(write_text(tmp_path / f"{i}", random_text(i, "abcdefghijklmnop"))) for i in range(3)
    ]
    found = set()
    for order, changes in (
        (parts, {"RAYON_NUM_THREADS": "1", "PYTHONHASHSEED": "1"}),
        (parts[::-1], {"RAYON_NUM_THREADS": "7", "PYTHONHASHSEED": "2"}),
        (parts, {"TOKENIZERS_PARALLELISM": "true"}),
    ):
        done = subprocess.run(
            [sys.executable, "-c", TRAIN, *order],
            env={**os.environ, "PYTHONPATH": str(ROOT), **changes},
            capture_output=True,
            check=True,
        )
        found.add(done.stdout)
    assert len(found) == 1


def test_a_corpus_too_small_for_the_size_gives_less_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    part = write_text(tmp_path / "part", "ab ab\n")
    tokens, _, _ = train_byte_level([part], byte_level_settings())
    assert len(tokens) == 263
    assert "has 263 tokens, vocab.size is 300" in caplog.text


def test_parts_without_a_pair_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VocabError, match="1 text parts hold no pair of bytes that occurs 2"):
        train_byte_level([write_text(tmp_path / "part", "\n \na\n")], byte_level_settings())
