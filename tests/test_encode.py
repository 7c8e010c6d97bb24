import numpy as np
import pytest

from bert.data.encode import (
    EncodeError,
    assemble,
    count_parts,
    encode_part,
    part_rng,
    shard_info,
    tokenise,
)
from bert.data.pairs import Pair, PairsConfig, Tokens
from bert.data.shards import IS_NEXT, IS_RANDOM, read_instances
from bert.data.vocab import SPECIAL_TOKENS, load_vocabulary, make_tokenizer, write_vocabulary
from bert.text.documents import write_documents

WORDS = ["river", "town", "the", "flows", "through", "##s", "."]
CONFIG = PairsConfig(
    seed=1, max_seq_length=32, short_seq_prob=0.1, random_next_prob=0.5, dupe_factor=2
)


@pytest.fixture
def vocab(tmp_path):
    folder = tmp_path / "vocab"
    folder.mkdir()
    write_vocabulary(folder, [*SPECIAL_TOKENS, *WORDS], True)
    return load_vocabulary(folder), make_tokenizer(folder / "vocab.txt", True)


def ids(vocabulary, text):
    return [vocabulary.tokens.index(token) for token in text.split()]


def test_sentences_become_the_pieces_of_the_vocabulary(vocab):
    vocabulary, tokenizer = vocab
    documents = [["The rivers.", "Towns"], ["the river flows"]]

    tokens, empty = tokenise(iter(documents), tokenizer, vocabulary)

    expected = "the river ##s . town ##s the river flows"
    assert tokens.ids.tolist() == ids(vocabulary, expected)
    assert tokens.sentences.tolist() == [0, 4, 6, 9]
    assert tokens.documents.tolist() == [0, 2, 3]
    assert (tokens.ids.dtype, empty) == (np.uint16, 0)


def test_sentences_without_a_token_are_left_out_and_counted(vocab):
    vocabulary, tokenizer = vocab
    documents = [["\u200b", "the town"], ["\u200b"]]

    tokens, empty = tokenise(iter(documents), tokenizer, vocabulary)

    assert tokens.documents.tolist() == [0, 1]
    assert empty == 2


def test_a_pair_is_framed_by_special_tokens_by_hand(vocab):
    """A = tokens 0-2, B = tokens 4-5: [CLS] 10 11 12 [SEP] 14 15 [SEP], B starts at index 5."""
    vocabulary, _ = vocab
    tokens = Tokens(np.arange(10, 20).astype(np.uint16), np.array([0]), np.array([0]))

    instances = assemble(tokens, [Pair((0, 3), (4, 6), IS_RANDOM)], vocabulary)

    cls, sep = vocabulary.cls_id, vocabulary.sep_id
    assert instances.input_ids.tolist() == [cls, 10, 11, 12, sep, 14, 15, sep]
    assert instances.offsets.tolist() == [0, 8]
    assert instances.segment_b_start.tolist() == [5]
    assert instances.next_sentence_labels.tolist() == [IS_RANDOM]


def write_part(path, documents=6):
    text = ["The river flows through the town."] * 3
    write_documents(path, [list(text) for _ in range(documents)])
    return path


def encode(tmp_path, vocab, name="part-00000-of-00002", out="a.h5"):
    vocabulary, tokenizer = vocab
    text = write_part(tmp_path / name)
    rng = part_rng(CONFIG.seed, 1, name)
    return encode_part(text, tmp_path / out, tokenizer, vocabulary, CONFIG, rng)


def test_counts_are_those_of_the_file(tmp_path, vocab):
    counts = encode(tmp_path, vocab)
    instances, info = read_instances(tmp_path / "a.h5")

    assert info == shard_info(vocab[0], 32)
    assert (counts.documents, counts.sentences, counts.unknown_tokens) == (6, 18, 0)
    assert counts.instances == len(instances.lengths)
    assert counts.tokens == len(instances.input_ids) == counts.length_histogram @ np.arange(33)
    assert counts.random_next == int((instances.next_sentence_labels == IS_RANDOM).sum())
    assert set(instances.next_sentence_labels.tolist()) == {IS_NEXT, IS_RANDOM}


def test_equal_parts_give_equal_bytes_and_other_names_other_pairs(tmp_path, vocab):
    for name, out in [("p0", "a.h5"), ("p0", "b.h5"), ("p1", "c.h5")]:
        encode(tmp_path, vocab, name, out)

    first, again, other = ((tmp_path / f"{n}.h5").read_bytes() for n in "abc")
    assert first == again
    assert first != other


def test_a_part_without_a_token_is_refused(tmp_path, vocab):
    vocabulary, tokenizer = vocab
    (tmp_path / "part").write_text("\u200b\n")

    with pytest.raises(EncodeError, match="holds no document with a token"):
        encode_part(
            tmp_path / "part", tmp_path / "a.h5", tokenizer, vocabulary, CONFIG, part_rng(1, 1, "p")
        )
    assert not (tmp_path / "a.h5").exists()


def test_summary_adds_up_parts(tmp_path, vocab):
    parts = [encode(tmp_path, vocab, name, f"{name}.h5") for name in ("p0", "p1")]

    counts, statistics = count_parts(parts)

    assert counts["instances"] == parts[0].instances + parts[1].instances
    assert sum(statistics["length_histogram"].values()) == counts["instances"]
    assert list(statistics["length_histogram"])[-1] == "32"
    assert statistics["mean_length"] == counts["tokens"] / counts["instances"]
