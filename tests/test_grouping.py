from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bert.text.grouping import equal_keys


def groups(path: Path, key_bytes: int, bucket_bytes: int) -> list[list[int]]:
    """Documents of each key that several have."""
    found = []
    for documents, repeats in equal_keys(path, key_bytes=key_bytes, bucket_bytes=bucket_bytes):
        for document, repeat in zip(documents.tolist(), repeats.tolist(), strict=True):
            if not repeat:
                found.append([])
            found[-1].append(document)
    return sorted(found)


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    keys=st.lists(st.integers(0, 9), max_size=60),
    key_bytes=st.sampled_from([8, 16]),
    bucket_bytes=st.sampled_from([64, 300, 1 << 20]),
)
def test_groups_are_those_of_a_dictionary(
    tmp_path: Path, keys: list[int], key_bytes: int, bucket_bytes: int
) -> None:
    # Keys in several buckets; pairs of them differ in the last bits only.
    parts = [[(k // 2 << 61) + k] if key_bytes == 8 else [k // 2 << 61, k] for k in keys]
    np.array(parts, np.uint64).tofile(tmp_path / "keys")
    expected = defaultdict(list)
    for document, key in enumerate(keys):
        expected[key].append(document)
    assert groups(tmp_path / "keys", key_bytes, bucket_bytes) == sorted(expected.values())
    assert [path.name for path in tmp_path.iterdir()] == ["keys"]


@pytest.mark.parametrize("bucket_bytes", [1 << 12, 1 << 30])
def test_every_document_comes_once(tmp_path: Path, bucket_bytes: int) -> None:
    keys = np.random.default_rng(1).integers(0, 2**64, 3000, dtype=np.uint64)
    keys[2000:] = keys[:1000]
    keys.tofile(tmp_path / "keys")
    found = list(equal_keys(tmp_path / "keys", key_bytes=8, bucket_bytes=bucket_bytes))
    documents = np.concatenate([documents for documents, _ in found])
    repeated = np.concatenate([documents[repeats] for documents, repeats in found])
    assert sorted(documents.tolist()) == list(range(3000))
    assert sorted(repeated.tolist()) == list(range(2000, 3000))
