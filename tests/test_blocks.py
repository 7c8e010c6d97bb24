from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bert.data.blocks import read_blocks
from bert.data.tokenise import Tokeniser
from bert.data.vocab import write_vocabulary
from bert.data.wordpiece import SPECIAL_TOKENS
from bert.text.documents import TextFormatError, read_documents

LETTERS = "abcdefgh"


@pytest.fixture(scope="module")
def tokeniser(tmp_path_factory):
    """Every letter is a token, so a word of n letters has n tokens."""
    folder = tmp_path_factory.mktemp("vocab")
    tokens = [*SPECIAL_TOKENS, *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    write_vocabulary(folder, tokens, lowercase=True)
    return Tokeniser(folder)


def blocks_of(path, data, tokeniser, block_bytes=1 << 20):
    path.write_bytes(data)
    return list(read_blocks(path, tokeniser, block_bytes))


def lengths_of(block):
    """Tokens of each sentence of each document."""
    lengths = np.diff(block.tokens.sentences).tolist()
    ends = block.tokens.documents.tolist()
    return [lengths[a:b] for a, b in pairwise(ends)]


def test_documents_and_sentences_are_those_of_the_file(tmp_path, tokeniser):
    data = b"ab cd\n  abc \r\n\n\n \t\na\n"

    (block,) = blocks_of(tmp_path / "p", data, tokeniser)

    assert lengths_of(block) == [[4, 3], [1]]
    assert (block.read, block.size) == (len(data), len(data))
    assert (block.empty_documents, block.empty_sentences) == (0, 0)
    assert block.tokens.ids[:4].tolist() == [5, 14, 7, 16]


def test_sentences_and_documents_without_a_token_are_left_out_and_counted(tmp_path, tokeniser):
    data = "\u200b\nab\n\n\u200b\n\na\n".encode()

    (block,) = blocks_of(tmp_path / "p", data, tokeniser)

    assert lengths_of(block) == [[2], [1]]
    assert (block.empty_documents, block.empty_sentences) == (1, 2)


def test_a_line_of_any_white_space_ends_a_document(tmp_path, tokeniser):
    (block,) = blocks_of(tmp_path / "p", "a\n\u00a0\u3000\nb\n".encode(), tokeniser)

    assert lengths_of(block) == [[1], [1]]
    assert block.empty_sentences == 0


def test_blocks_end_with_documents_and_are_about_equally_large(tmp_path, tokeniser):
    data = b"\n".join([b"abcd\n"] * 100)  # 599 bytes

    blocks = blocks_of(tmp_path / "p", data, tokeniser, 200)

    assert [len(lengths_of(block)) for block in blocks] == [34, 33, 33]
    assert [block.read for block in blocks] == [204, 402, 599]


def test_a_document_longer_than_a_block_stays_whole(tmp_path, tokeniser):
    data = b"ab\n" * 100 + b"\n" + b"a\n"

    blocks = blocks_of(tmp_path / "p", data, tokeniser, 50)

    assert [lengths_of(block) for block in blocks] == [[[2] * 100], [[1]]]


def test_an_empty_file_has_no_block(tmp_path, tokeniser):
    assert blocks_of(tmp_path / "p", b"", tokeniser) == []


def test_bytes_that_are_no_text_are_refused_with_their_line(tmp_path, tokeniser):
    data = b"a\n\n" * 70_000 + b"b\n\xff\xfe\n"

    with pytest.raises(TextFormatError, match=r"p, line 140002: .*Convert the file to UTF-8"):
        blocks_of(tmp_path / "p", data, tokeniser)


line = st.text(st.sampled_from([*"abc \t\r\x00\x85\u00a0\u200b\u0301\u4e2d\u202e"]), max_size=6)


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(lines=st.lists(line, max_size=30), block_bytes=st.integers(1, 60))
def test_any_cut_into_blocks_gives_the_documents_of_the_text_format(
    tmp_path, tokeniser, lines, block_bytes
):
    path = tmp_path / "p"
    blocks = blocks_of(path, "\n".join(lines).encode(), tokeniser, block_bytes)

    expected, empty, documents = [], 0, 0
    for document in read_documents(path):
        lengths = tokeniser.sentences(document)[1]
        empty += int((lengths == 0).sum())
        documents += 1
        expected += [lengths[lengths > 0].tolist()] if lengths.any() else []
    assert [document for block in blocks for document in lengths_of(block)] == expected
    assert sum(block.empty_sentences for block in blocks) == empty
    assert sum(block.empty_documents for block in blocks) == documents - len(expected)
    assert not blocks or blocks[-1].read == path.stat().st_size
