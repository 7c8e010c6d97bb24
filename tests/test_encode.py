import numpy as np
import pytest

from bert.data.encode import (
    EncodeError,
    Part,
    check_not_empty,
    encode_part,
    part_of,
    shard_info,
)
from bert.data.instance_config import InstanceConfig
from bert.data.layout import Layout, assemble
from bert.data.masking import MaskingConfig
from bert.data.part_counts import count_parts, from_json
from bert.data.runs import read_runs
from bert.data.shards import IS_NEXT, IS_RANDOM, open_shard, read_instances
from bert.data.tokenise import Tokeniser
from bert.data.vocab import load_vocabulary, write_vocabulary
from bert.data.wordpiece import SPECIAL_TOKENS
from bert.text.documents import write_documents

WORDS = [f"{a}{b}" for a in "abcdefgh" for b in "klmnopqr"]
VALUES = {
    "seed": 1,
    "max_seq_length": 32,
    "objective": "next_sentence",
    "short_seq_prob": 0.1,
    "random_next_prob": 0.5,
    "dupe_factor": 2,
    "cross_documents": False,
    "overlap": 0,
    "max_instances": None,
    "masking": None,
}
MASKING = MaskingConfig(
    unit="token",
    span=None,
    mask_prob=0.15,
    max_predictions=5,
    mask_token_share=0.8,
    random_token_share=0.1,
)


@pytest.fixture(scope="module")
def vocab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vocab")
    write_vocabulary(folder, [*SPECIAL_TOKENS, *WORDS, "##s"], lowercase=True)
    return Tokeniser(folder), load_vocabulary(folder)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """400 documents, each sentence of words that stand nowhere else in the document's place."""
    path = tmp_path_factory.mktemp("text") / "part-00000-of-00002"
    rng = np.random.default_rng(0)
    write_documents(
        path,
        (
            [" ".join(rng.choice(WORDS, rng.integers(1, 12))) for _ in range(rng.integers(1, 9))]
            for _ in range(400)
        ),
    )
    return path


def make_config(**changes):
    return InstanceConfig(**VALUES | changes)


def encode(text, output, vocab, *, phase=1, number=0, most=None, **changes):
    part = Part(text, phase, number, most)
    counts = encode_part(part, output, *vocab, make_config(**changes))
    return counts, read_instances(output)[0]


def items(instances):
    """Each instance as its tokens, B's start and the label."""
    ends = instances.offsets.astype(int)
    return [
        (tuple(instances.input_ids[a:b].tolist()), int(start), int(label))
        for a, b, start, label in zip(
            ends[:-1],
            ends[1:],
            instances.segment_b_start,
            instances.next_sentence_labels,
            strict=True,
        )
    ]


def small_blocks(monkeypatch):
    monkeypatch.setattr("bert.data.blocks.read_blocks.__defaults__", (2000,))


def test_a_pair_is_framed_by_special_tokens_by_hand():
    """A = tokens 0-2, B = tokens 4-5: [CLS] 10 11 12 [SEP] 14 15 [SEP], B starts at index 5."""
    layout = Layout(
        np.array([0, 4]), np.array([3, 2]), np.array([0, 2]), np.array([IS_RANDOM], np.uint8)
    )
    ids = np.arange(10, 20).astype(np.uint16)

    instances = assemble(layout, ids, cls_id=1, sep_id=2, has_pairs=True)

    assert items(instances) == [((1, 10, 11, 12, 2, 14, 15, 2), 5, IS_RANDOM)]
    assert instances.input_ids.dtype == np.uint16


def test_a_single_segment_has_a_separator_after_each_range_by_hand():
    """Up to the last token of the array, where nothing stands behind."""
    layout = Layout(
        np.array([8, 0, 9]),
        np.array([2, 1, 1]),
        np.array([0, 2, 3]),
        np.array([IS_NEXT] * 2, np.uint8),
    )

    instances = assemble(layout, np.arange(10, 20), cls_id=1, sep_id=2, has_pairs=False)

    assert items(instances) == [((1, 18, 19, 2, 10, 2), 0, 0), ((1, 19, 2), 0, 0)]


def test_counts_are_those_of_the_file(tmp_path, vocab, text):
    counts, instances = encode(text, tmp_path / "a.h5", vocab)

    numbers = counts.numbers
    assert read_instances(tmp_path / "a.h5")[1] == shard_info(vocab[1], 32)
    assert (numbers["documents"], numbers["unknown_tokens"]) == (400, 0)
    assert numbers["instances"] == len(instances.lengths)
    assert numbers["tokens"] == len(instances.input_ids) == counts.lengths @ np.arange(33)
    assert numbers["random_next"] == int((instances.next_sentence_labels == IS_RANDOM).sum())
    assert from_json(counts.to_json()).numbers == numbers


def test_equal_parts_give_equal_bytes_and_each_name_its_own_pairs(tmp_path, vocab, text):
    for name, changes in {
        "a": {},
        "b": {},
        "seed": {"seed": 2},
        "phase": {"phase": 2},
        "part": {"number": 1},
    }.items():
        encode(text, tmp_path / name, vocab, **changes)

    data = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert data.pop("a") == data["b"]
    assert len(set(data.values())) == 4


def test_a_run_stands_in_the_order_of_its_keys(tmp_path, vocab):
    """60 words of one document, 6 to an instance, are made in the order of the text."""
    path = tmp_path / "p"
    write_documents(path, [WORDS[:60]])
    changes = {"objective": "full_sentences", "random_next_prob": None, "dupe_factor": 1}
    _, instances = encode(
        path, tmp_path / "a.h5", vocab, number=3, max_seq_length=8, short_seq_prob=0.0, **changes
    )

    with open_shard(tmp_path / "a.h5") as file:
        runs = read_runs(tmp_path / "a.h5", file)
    assert (runs.seed, runs.phase, runs.part, runs.sizes) == (1, 1, 3, (10,))
    first_words = instances.input_ids[instances.offsets[:-1].astype(int) + 1] - 5
    assert (first_words // 6).tolist() == np.argsort(runs.keys(0)).tolist()


def test_every_block_is_a_run(tmp_path, vocab, text, monkeypatch):
    small_blocks(monkeypatch)
    _, instances = encode(text, tmp_path / "a.h5", vocab)

    with open_shard(tmp_path / "a.h5") as file:
        sizes = read_runs(tmp_path / "a.h5", file).sizes
    assert len(sizes) > 10
    assert sum(sizes) == len(instances.lengths)


def test_the_random_next_comes_from_the_same_block(tmp_path, vocab, monkeypatch):
    """One word a block: with the whole file as its source a B would show other words."""
    path = tmp_path / "p"
    write_documents(path, [[f"{WORDS[i // 10]}"] * 3 for i in range(60)])
    monkeypatch.setattr("bert.data.blocks.read_blocks.__defaults__", (path.stat().st_size // 6,))

    counts, instances = encode(path, tmp_path / "a.h5", vocab, random_next_prob=1.0)

    assert counts.numbers["random_next"] == len(instances.lengths) > 0
    words = [set(tokens) - {2, 3} for tokens, _, _ in items(instances)]
    assert sum(len(found) == 1 for found in words) > 0.8 * len(words)


@pytest.mark.parametrize("most", [0, 1, 7, 100, 1000])
@pytest.mark.parametrize("objective", ["next_sentence", "full_sentences"])
def test_a_cap_is_met_exactly(tmp_path, vocab, text, monkeypatch, most, objective):
    small_blocks(monkeypatch)
    changes = {"random_next_prob": None} if objective == "full_sentences" else {}

    counts, instances = encode(
        text, tmp_path / "a.h5", vocab, most=most, objective=objective, **changes
    )

    assert counts.numbers["instances"] == len(instances.lengths) == most


def test_a_cap_takes_from_every_block_by_its_bytes(tmp_path, vocab, text, monkeypatch):
    small_blocks(monkeypatch)
    encode(text, tmp_path / "a.h5", vocab, most=300)

    with open_shard(tmp_path / "a.h5") as file:
        sizes = read_runs(tmp_path / "a.h5", file).sizes
    assert len(sizes) > 10
    assert max(sizes) - min(sizes) <= 0.3 * max(sizes)


def test_a_cap_that_the_text_cannot_fill_gives_all_passes(tmp_path, vocab, text):
    _, capped = encode(text, tmp_path / "a.h5", vocab, most=10**6)
    _, free = encode(text, tmp_path / "b.h5", vocab)

    assert sorted(items(capped)) == sorted(items(free))


def test_static_masks_differ_between_passes_and_hide_the_text(tmp_path, vocab, text):
    changes = {"objective": "full_sentences", "random_next_prob": None, "short_seq_prob": 0.0}
    _, plain = encode(text, tmp_path / "a.h5", vocab, **changes)
    _, masked = encode(text, tmp_path / "b.h5", vocab, masking=MASKING, **changes)

    ends, targets = masked.offsets.astype(int), masked.masked_lm_offsets.astype(int)
    places = np.repeat(ends[:-1], np.diff(targets)) + masked.masked_lm_positions
    restored = masked.input_ids.copy()
    restored[places] = masked.masked_lm_ids
    assert np.array_equal(restored, plain.input_ids)
    share = (masked.input_ids[places] == vocab[1].mask_id).mean()
    assert abs(share - 0.8) < 5 * np.sqrt(0.16 / len(places))

    # Every instance is there twice, once a pass; a mask of several tokens is the same by chance.
    passes = {}
    for i, item in enumerate(items(plain)):
        chosen = tuple(masked.masked_lm_positions[targets[i] : targets[i + 1]].tolist())
        passes.setdefault(item, []).append(chosen)
    twice = [masks for tokens, masks in passes.items() if len(masks) == 2 and len(tokens[0]) > 25]
    assert len(twice) > 100
    assert np.mean([first == second for first, second in twice]) < 0.05


def test_static_masks_are_a_function_of_the_seed_and_the_instance(tmp_path, vocab, text):
    for name in "ab":
        encode(text, tmp_path / name, vocab, masking=MASKING)

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("most", [0, 1, 2, 3, 100, 10_007])
def test_the_shares_of_the_parts_add_up_to_the_cap(tmp_path, most):
    config = make_config(max_instances=most or None)
    texts = [tmp_path / f"part-{n:05d}-of-00007" for n in range(7)]

    shares = [part_of(text, 1, config).most_instances for text in texts]

    if not most:
        assert shares == [None] * 7
    else:
        assert sum(shares) == most
        assert max(shares) - min(shares) <= 1


def test_held_out_text_is_no_part_and_has_no_cap(tmp_path):
    part = part_of(tmp_path / "held_out.txt", 1, make_config(max_instances=5))

    assert part.most_instances is None
    assert part.number != part_of(tmp_path / "part-00000-of-00002", 1, make_config()).number


def test_a_cap_that_is_not_worked_out_is_refused(tmp_path):
    with pytest.raises(ValueError, match="max_instances is steps; expected a number"):
        part_of(tmp_path / "part-00000-of-00002", 1, make_config(max_instances="steps"))


def test_text_without_an_instance_is_refused_unless_none_was_asked_for(tmp_path, vocab):
    path = tmp_path / "part"
    path.write_text("\u200b\n\nab\n")
    counts, instances = encode(path, tmp_path / "a.h5", vocab)

    assert (counts.numbers["documents"], len(instances.lengths)) == (1, 0)
    assert counts.numbers["lone_sentences"] == 2
    with pytest.raises(EncodeError, match="give no instance; expected at least one document"):
        check_not_empty(0, [Part(path, 1, 0, None)])
    check_not_empty(0, [Part(path, 1, 0, 0)])


def test_summary_adds_up_parts(tmp_path, vocab, text):
    parts = [encode(text, tmp_path / "a", vocab, number=n)[0] for n in (0, 1)]

    counts, statistics = count_parts(parts)

    assert counts["instances"] == sum(part.numbers["instances"] for part in parts)
    assert sum(statistics["length_histogram"].values()) == counts["instances"]
    assert list(statistics["length_histogram"])[-1] == "32"
    assert statistics["mean_length"] == counts["tokens"] / counts["instances"]
    assert 0.5 < statistics["random_next_share"] < 1
    assert "truncated_tokens" in counts
