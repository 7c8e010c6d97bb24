import os
import random
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bert.data.train_wordpiece import continuations, count_characters, train_wordpiece
from bert.data.vocab import load_tokenizer, write_vocabulary
from bert.data.vocab_config import VocabError, WordPieceVocab
from bert.data.wordpiece import SPECIAL_TOKENS, text_rules
from bert.manifest import ROOT
from tests.test_wordpiece import SENTENCES, write_text


@pytest.fixture(params=[True, False], ids=["uncased", "cased"])
def lowercase(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def settings(**changes: Any) -> WordPieceVocab:
    values = {"size": 120, "lowercase": True, "min_frequency": 2, "limit_alphabet": 1000}
    values["coverage_megabytes"] = 1
    return WordPieceVocab(kind="wordpiece", **(values | changes))


def naive_wordpiece(words: Counter[str], fixed: list[str], size: int, least: int) -> list[str]:
    """The same training by recounting all pairs at every step; ties go to the older pieces."""
    tokens = list(fixed)
    known = set(tokens)
    texts = [
        (["##" * (i > 0) + c for i, c in enumerate(word) if c in known], n)
        for word, n in words.items()
    ]
    while len(tokens) < size:
        pairs: Counter[tuple[str, str]] = Counter()
        for pieces, count in texts:
            for pair in pairwise(pieces):
                pairs[pair] += count
        if not pairs or max(pairs.values()) < least:
            break
        ids = {token: i for i, token in enumerate(tokens)}
        best = min(pairs, key=lambda p: (-pairs[p], ids[p[0]], ids[p[1]]))
        merged = best[0] + best[1].removeprefix("##")
        tokens += [merged] if merged not in ids else []
        for pieces, _ in texts:
            for i in reversed(range(len(pieces) - 1)):
                if tuple(pieces[i : i + 2]) == best:
                    pieces[i : i + 2] = [merged]
    return tokens


def random_text(seed: int, alphabet: str = "abcdef") -> str:
    """Few letters and few words, so that many pairs are equally frequent."""
    rng = random.Random(seed)
    words = ["".join(rng.choices(alphabet, k=rng.randint(1, 8))) for _ in range(30)]
    return " ".join(rng.choices(words, k=200)) + " .\n"


@pytest.mark.parametrize("seed", range(12))
def test_training_equals_the_naive_algorithm_with_ordered_ties(tmp_path: Path, seed: int) -> None:
    # Letters that do not repeat within a word leave no two readings of "aaa".
    rng = random.Random(seed)
    words = ["".join(rng.sample("abcdefgh", k=rng.randint(1, 8))) for _ in range(30)]
    text = " ".join(rng.choices(words, k=200))
    part = write_text(tmp_path / "part", text)
    tokens, counts = train_wordpiece([part], settings(size=90))
    fixed = tokens[: len(tokens) - counts["merges"]]
    assert tokens == naive_wordpiece(Counter(text.split()), fixed, 90, 2)


def test_the_order_is_special_tokens_characters_continuations_merges(tmp_path: Path) -> None:
    part = write_text(tmp_path / "part", "the theme then 中 , the\n\nThé\n")
    tokens, counts = train_wordpiece([part], settings(size=26))
    assert tokens == [
        *SPECIAL_TOKENS,
        *(",", "e", "h", "m", "n", "t", "中"),
        *("##e", "##h", "##m", "##n", "##t"),
        *("th", "the"),
    ]
    assert counts == {
        "tokens": 19,
        "merges": 2,
        "distinct_characters": 7,
        "characters_kept": 7,
        "occurrences_not_kept": 0,
    }


TRAIN = """
import sys
from pathlib import Path
from bert.data.train_wordpiece import train_wordpiece
from bert.data.vocab_config import WordPieceVocab
parts = [Path(p) for p in sys.argv[1:]]
config = WordPieceVocab(
    kind="wordpiece", size=400, lowercase=True, min_frequency=1, limit_alphabet=12,
    coverage_megabytes=1,
)
print("\\n".join(train_wordpiece(parts, config)[0]))
"""


def test_the_same_bytes_in_every_process_with_any_threads_and_hash_seed(tmp_path: Path) -> None:
    parts = [
        str(write_text(tmp_path / f"{i}", random_text(i, "abcdefghijklmnop"))) for i in range(3)
    ]
    found = set()
    for changes in (
        {"RAYON_NUM_THREADS": "1", "PYTHONHASHSEED": "1"},
        {"RAYON_NUM_THREADS": "7", "PYTHONHASHSEED": "2"},
        {"TOKENIZERS_PARALLELISM": "false"},
        {"TOKENIZERS_PARALLELISM": "true"},
    ):
        done = subprocess.run(
            [sys.executable, "-c", TRAIN, *parts],
            env={**os.environ, "PYTHONPATH": str(ROOT), **changes},
            capture_output=True,
            check=True,
        )
        found.add(done.stdout)
    assert len(found) == 1


def test_equally_frequent_characters_at_the_limit_are_kept_by_code_point(tmp_path: Path) -> None:
    part = write_text(tmp_path / "part", "zz y x w v u b a\n" * 3)
    for _ in range(5):
        tokens, counts = train_wordpiece([part], settings(limit_alphabet=3))
        assert tokens[5:8] == ["a", "b", "z"]
        assert counts["distinct_characters"] == 8
        assert counts["characters_kept"] == 3
        assert counts["occurrences_not_kept"] == 15


def test_characters_are_counted_as_the_tokenizer_will_see_them(
    tmp_path: Path, lowercase: bool
) -> None:
    text = "\n".join([*SENTENCES, "ΑΣ ΌΣΟΣ İstanbul ﬁ 한국 e\u0301 \u0345 Å\u0301"]).replace(
        "\r", " "
    )
    part = write_text(tmp_path / "part", text)
    cleaned = text_rules(lowercase)[0].normalize_str(text)
    expected = Counter(character for character in cleaned if not character.isspace())
    assert count_characters([part], lowercase) == expected


def test_only_characters_that_can_stand_inside_a_word_continue_one() -> None:
    assert continuations(list("a1ß한,中。$"), lowercase=True) == ["##a", "##1", "##ß", "##한"]


def test_every_word_of_the_training_text_is_known(tmp_path: Path) -> None:
    text = random_text(3)
    tokens, _ = train_wordpiece([write_text(tmp_path / "part", text)], settings())
    write_vocabulary(tmp_path, tokens, lowercase=True)
    encoding = load_tokenizer(tmp_path).encode(text)
    assert "[UNK]" not in encoding.tokens


def test_a_corpus_too_small_for_the_size_gives_less_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    part = write_text(tmp_path / "part", "ab ab\n")
    tokens, _ = train_wordpiece([part], settings(size=50))
    assert tokens == [*SPECIAL_TOKENS, "a", "b", "##a", "##b", "ab"]
    assert "has 10 tokens, vocab.size is 50" in caplog.text


def test_an_alphabet_larger_than_the_vocabulary_is_refused(tmp_path: Path) -> None:
    part = write_text(tmp_path / "part", "abc\n")
    with pytest.raises(VocabError, match=r"size is 11, but .* 3 characters, .* take 11\. Set"):
        train_wordpiece([part], settings(size=11))


def test_parts_without_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VocabError, match="1 text parts hold no character"):
        train_wordpiece([write_text(tmp_path / "part", "\n \n")], settings())
