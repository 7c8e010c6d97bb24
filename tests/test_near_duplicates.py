from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from rensa import RMinHash

from bert.text import near_duplicates
from bert.text.near_duplicates import (
    Joined,
    NearDuplicatesConfig,
    SignatureFiles,
    Signed,
    join_near,
    sign,
)
from bert.text.ngrams import WordHashes, hash_texts

SIGNATURE = [7757, 39640, 33804, 10870]
BAND_KEYS = [3114171111621657275, 18307043644639290468]


def config(**changes) -> NearDuplicatesConfig:
    values = {"seed": 1, "threshold": 0.8, "ngram": 3, "bands": 20, "rows": 6}
    return NearDuplicatesConfig(**(values | changes))


def texts(*documents: str):
    return hash_texts([document.encode().split() for document in documents], WordHashes())


def words(count: int, seed: int) -> list[str]:
    return [f"w{n}" for n in np.random.default_rng(seed).integers(0, 10**9, count)]


def similarity(a: list[str], b: list[str], n: int) -> float:
    """Jaccard similarity of the sets of word n-grams, from its definition."""
    one, two = ({tuple(t[i : i + n]) for i in range(len(t) - n + 1)} for t in (a, b))
    return len(one & two) / len(one | two)


def test_the_hash_of_the_library_has_not_changed() -> None:
    """These values were once computed with rensa 0.5.0 on x86-64 Linux; any machine gives them."""
    signed = sign(texts("the cat sat on the mat"), config(bands=2, rows=2))
    assert RMinHash.ALGORITHM_VERSION == 2
    assert signed.signatures.tolist() == [SIGNATURE]
    assert signed.band_keys[:, 0].tolist() == BAND_KEYS


def test_equal_values_estimate_the_jaccard_similarity() -> None:
    """120 values: the standard deviation is at most sqrt(0.25 / 120) = 0.046."""
    a = words(400, seed=1)
    for kept in (390, 350, 250):
        b = a[:kept] + words(400 - kept, seed=kept)
        one, two = sign(texts(" ".join(a), " ".join(b)), config()).signatures
        assert (one == two).mean() == pytest.approx(similarity(a, b, 3), abs=4 * 0.046)


def test_a_signature_does_not_depend_on_the_texts_around_it() -> None:
    documents = ["a b c d e", "x", "a b", "p q r s", "a b c d e"]
    together = sign(texts(*documents), config())
    for number, document in enumerate(documents):
        alone = sign(texts(document), config())
        assert (alone.signatures[0] == together.signatures[number]).all()
        assert (alone.band_keys[:, 0] == together.band_keys[:, number]).all()


def test_a_text_shorter_than_an_ngram_is_one_ngram() -> None:
    signed = sign(texts("a b", "a b", "b a", "a"), config())
    same = [(signed.signatures[0] == other).mean() for other in signed.signatures]
    assert same[:2] == [1.0, 1.0]
    assert max(same[2:]) < 0.2


# Joining


def components(edges: set[tuple[int, int]], count: int) -> list[int]:
    """The smallest number of each component, by repeated relabelling."""
    label = list(range(count))
    for _ in range(count):
        for a, b in edges:
            label[a] = label[b] = min(label[a], label[b])
    return label


def join(
    folder: Path, signed: Signed, settings: NearDuplicatesConfig, dropped=None, **more: int
) -> tuple[list[int], dict[str, int]]:
    folder.mkdir(exist_ok=True)
    count = len(signed.signatures)
    files = SignatureFiles(folder, settings)
    for start in range(0, count, 7):
        part = slice(start, start + 7)
        files.append(Signed(signed.signatures[part], signed.band_keys[:, part]))
    joined = Joined(folder / "joined", count)
    dropped = np.zeros(count, np.uint8) if dropped is None else dropped
    counts = join_near(files, joined, dropped, settings, **more)
    return [joined.root(n) for n in range(count)], counts


@pytest.mark.parametrize("bucket_bytes", [1 << 10, 1 << 25])
@pytest.mark.parametrize("seed", range(3))
def test_joined_are_the_components_of_the_verified_candidates(
    tmp_path: Path, seed: int, bucket_bytes: int
) -> None:
    rng = np.random.default_rng(seed)
    settings = config(threshold=0.6, bands=10, rows=2)
    base = words(60, seed)
    documents = []
    for number in range(120):  # a slow drift: neighbours are alike, distant ones are not
        moved = int(rng.integers(0, 25))
        base = base[moved:] + words(moved, seed=1000 * seed + number)
        documents.append(" ".join(base))
    rng.shuffle(documents)
    signed = sign(texts(*documents), settings)
    edges = {
        (a, b)
        for a, b in combinations(range(120), 2)
        if (signed.band_keys[:, a] == signed.band_keys[:, b]).any()
        and (signed.signatures[a] == signed.signatures[b]).mean() >= 0.6
    }
    found, counts = join(tmp_path / "a", signed, settings, bucket_bytes=bucket_bytes)
    assert found == components(edges, 120)
    assert 1 < len(set(found)) < 100
    assert counts["divided_groups"] == 0


def test_a_chain_is_joined_though_its_ends_are_not_alike(tmp_path: Path) -> None:
    signatures = np.array([[1, 1, 1, 1], [1, 1, 1, 2], [1, 1, 2, 2], [9, 9, 9, 9]], np.uint16)
    signed = Signed(signatures, np.zeros((1, 4), np.uint64))
    settings = config(threshold=0.75, bands=1, rows=4)
    assert join(tmp_path, signed, settings)[0] == [0, 0, 0, 3]


def test_documents_that_are_dropped_already_join_nothing(tmp_path: Path) -> None:
    signatures = np.array([[1, 1, 1, 1], [1, 1, 1, 2], [1, 1, 2, 2]], np.uint16)
    signed = Signed(signatures, np.zeros((1, 3), np.uint64))
    settings = config(threshold=0.75, bands=1, rows=4)
    dropped = np.array([0, 1, 0], np.uint8)
    assert join(tmp_path, signed, settings, dropped)[0] == [0, 1, 2]


def test_the_threshold_itself_is_near_enough_and_less_is_not(tmp_path: Path) -> None:
    signatures = np.tile(np.arange(10, dtype=np.uint16), (3, 1))
    signatures[1, 8:] = 99  # 8 of 10 values
    signatures[2, 7:] = 77  # 7 of 10, and of the second's
    signed = Signed(signatures, np.zeros((1, 3), np.uint64))
    assert join(tmp_path, signed, config(bands=1, rows=10))[0] == [0, 0, 2]


def test_a_large_group_is_compared_in_blocks_with_its_first(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(near_duplicates, "_BLOCK", 3)
    signatures = np.ones((8, 4), np.uint16)
    signed = Signed(signatures, np.zeros((1, 8), np.uint64))
    found, counts = join(tmp_path, signed, config(bands=1, rows=4))
    assert found == [0] * 8
    assert counts == {"compared_groups": 1, "divided_groups": 1}
