"""Shards by their manifests: nothing opened before it is needed, static masks, given shards."""

import json

import h5py
import numpy as np
import pytest

from bert.data.batches import Reading, make_stream, read_all, read_steps, steps_ahead
from bert.data.corpus import Corpus, ShardFile, slice_instances
from bert.data.given import GivenPhase, check_given
from bert.data.index import describe_given, open_corpus
from bert.data.masking import MaskingConfig
from bert.data.shard_writer import write_instances
from bert.data.shards import ShardError, gather
from bert.manifest import ManifestError, sha256_file, write_manifest
from tests.test_dialects import (
    INFO,
    MASKING,
    assert_same,
    config_of,
    corpus_of,
    export,
    make_instances,
    masked_once,
    write_fixed,
)

DYNAMIC = MaskingConfig(**MASKING)


def reading(masking=DYNAMIC, **changes):
    base = Reading(3, 1, 8, masking, 100, 0, 1)
    return base._replace(**changes)


def write_shards(folder, counts, masked=False, stage="shard"):
    """A manifest and its shards as the stage leaves them."""
    target = folder / stage / "phase1" / "000"
    target.mkdir(parents=True)
    sizes = {}
    for number, count in enumerate(counts):
        instances = make_instances(count, seed=number, longest=20)
        path = target / f"shard-{number:05d}-of-{len(counts):05d}.h5"
        write_instances(
            path, masked_once(instances) if masked else instances, INFO, seed=1, config={}
        )
        sizes[path.name] = count
    manifest = target.with_suffix(".json")
    write_manifest(
        manifest, stage=stage, config={}, inputs={}, outputs=target.iterdir(), instances=sizes,
        counts={"instances": sum(counts), "tokens": 1000},
    )  # fmt: skip
    return manifest


def tokens_of(corpus, setting):
    steps = list(read_steps(corpus, range(1, 6), setting))
    return [micro.input_ids.tolist() for step in steps for micro in step.micro_batches]


def test_a_corpus_by_its_manifest_is_the_corpus_of_its_files(tmp_path):
    corpus, digests = open_corpus([write_shards(tmp_path, [13, 20, 7])])

    files = sorted((tmp_path / "shard" / "phase1" / "000").iterdir())
    assert corpus.files == files
    assert digests == {file.name: sha256_file(file) for file in files}
    assert tokens_of(corpus, reading()) == tokens_of(Corpus(files), reading())


def test_only_the_shards_of_a_step_are_opened(tmp_path):
    """8 of 240 instances come from one or two of 12 shards; the others may be damaged."""
    manifest = write_shards(tmp_path, [20] * 12)
    corpus, _ = open_corpus([manifest])
    _, needed = np.divmod(corpus.order(3, 1, 0, np.arange(8)), 20)
    used = {int(n) // 20 for n in corpus.order(3, 1, 0, np.arange(8))}
    assert len(needed) == 8
    for number, path in enumerate(corpus.files):
        if number not in used:
            path.write_bytes(b"x" * path.stat().st_size)

    assert len(list(read_steps(corpus, range(1, 2), reading()))) == 1
    with pytest.raises(ShardError, match="cannot be opened as HDF5"):
        list(read_steps(corpus, range(1, 31), reading()))


def test_a_damaged_shard_is_noticed_when_it_is_first_opened(tmp_path):
    manifest = write_shards(tmp_path, [20])
    (path,) = (tmp_path / "shard" / "phase1" / "000").iterdir()
    corpus, _ = open_corpus([manifest])
    with h5py.File(path, "r+") as file:
        file["input_ids"][5] += 1

    with pytest.raises(ShardError, match="does not have the digest"):
        corpus.take(np.arange(3))


def test_a_shard_that_was_written_anew_is_refused(tmp_path):
    manifest = write_shards(tmp_path, [20])
    values = json.loads(manifest.read_text())
    values["instances"] = dict.fromkeys(values["instances"], 19)
    manifest.write_text(json.dumps(values))

    with pytest.raises(ShardError, match="holds 20 instances; its manifest states 19"):
        open_corpus([manifest])[0].take(np.arange(3))


def test_a_missing_shard_is_refused_at_once(tmp_path):
    manifest = write_shards(tmp_path, [20, 20])
    next((tmp_path / "shard" / "phase1" / "000").iterdir()).unlink()

    with pytest.raises(ManifestError, match="has no bytes"):
        open_corpus([manifest])


def test_without_masking_the_stored_masks_are_used(tmp_path):
    corpus, _ = open_corpus([write_shards(tmp_path, [20, 30], masked=True)])
    index = np.array([3, 45, 20, 0])

    stream = make_stream(corpus, 0 * index, index, None, seed=9, phase=1)
    stored = corpus.take(index)

    assert np.array_equal(stream.input_ids, stored.input_ids)
    assert np.array_equal(stream.masked_lm_ids, stored.masked_lm_ids)
    restored = stream.input_ids.copy()
    restored[stream.masked_lm_positions] = stream.masked_lm_ids
    plain, _ = open_corpus([write_shards(tmp_path / "plain", [20, 30])])
    assert np.array_equal(restored, plain.take(index).input_ids)


def test_masking_static_shards_anew_is_masking_the_original_text(tmp_path):
    static, _ = open_corpus([write_shards(tmp_path / "a", [20, 30], masked=True)])
    plain, _ = open_corpus([write_shards(tmp_path / "b", [20, 30])])

    assert tokens_of(static, reading()) == tokens_of(plain, reading())


def test_stored_masks_that_are_not_there_are_refused_by_the_setting(tmp_path):
    corpus, _ = open_corpus([write_shards(tmp_path, [20])])

    with pytest.raises(ShardError, match=r"hold none. Give pretrain.phase<n>.masking"):
        list(read_steps(corpus, range(1, 2), reading(masking=None)))


def test_held_out_instances_of_encode_are_opened_by_their_headers(tmp_path):
    manifest = write_shards(tmp_path, [20], stage="encode")
    values = json.loads(manifest.read_text())
    del values["instances"]
    manifest.write_text(json.dumps(values))

    corpus, _ = open_corpus([manifest])

    micro = list(read_all(corpus, micro_batch_tokens=90, masking=DYNAMIC, seed=1, limit=None))
    assert sum(len(m.next_sentence_labels) for m in micro) == 20


def test_a_slice_of_instances_is_those_instances():
    whole = masked_once(make_instances(12))
    assert_same(slice_instances(whole, 3, 9), gather(whole, np.arange(3, 9)))


@pytest.mark.parametrize(("batch", "expected"), [(8, 8), (65_536, 1), (20_000, 4)])
def test_large_steps_are_not_made_far_ahead(batch, expected):
    """128 tokens an instance at 6 bytes: 65,536 are 50 MB, 20,000 are 15 MB of the 67 MB."""
    corpus = Corpus.from_index([ShardFile("a", 100)], 12_800, INFO)

    assert steps_ahead(corpus, reading(batch=batch)) == expected


def expected_of(**changes):
    base = {"train": "a", "held_out": "b", "max_seq_length": 32, "max_predictions": 5}
    return GivenPhase(**base | changes)


def given_corpus(folder, files, expected):
    """As the stage `shard` lists them and `pretrain` opens them."""
    checked = check_given(files, expected, INFO)
    fetched = {str(f): (sha256_file(f), f.stat().st_size) for f in files}
    manifest = folder / "shard" / "phase1" / "000.json"
    manifest.parent.mkdir(parents=True)
    write_manifest(
        manifest, stage="shard", config={}, inputs={}, counts=checked.counts(), outputs=[],
        given=describe_given(checked, INFO, fetched),
    )  # fmt: skip
    return manifest


@pytest.mark.parametrize(
    "format", ["nvidia", "mlperf_fixed", "mlperf_varlength", "gpauloski", "tfrecord_mlperf"]
)
def test_given_shards_train_as_this_projects_own_would(tmp_path, format):
    """12 files, so that part_10 must not come before part_2."""
    own = corpus_of(tmp_path, make_instances(60))
    files = export(tmp_path / "out", own, config_of(format, files=12))
    places = None if format == "gpauloski" else 5
    manifest = given_corpus(tmp_path, files[::-1], expected_of(max_predictions=places))

    corpus, digests = open_corpus([manifest])

    index = np.arange(60)
    assert (corpus.num_instances, len(digests)) == (60, 12)
    ours = make_stream(own, 0 * index, index, DYNAMIC, seed=1, phase=1)
    theirs = make_stream(corpus, 0 * index, index, DYNAMIC, seed=1, phase=1)
    for name, array in ours._asdict().items():
        assert np.array_equal(getattr(theirs, name), array), name


def test_this_projects_own_shards_can_be_given(tmp_path):
    own = corpus_of(tmp_path, make_instances(60))

    manifest = given_corpus(tmp_path, own.files, expected_of(max_predictions=None))

    assert open_corpus([manifest])[0].take(np.array([5])).offsets[1] > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_predictions": 20}, r"has max_predictions 5, but shard.given.<phase>.max_pred.* 20"),
        ({"max_predictions": None}, "has max_predictions 5, but .* is None"),
        ({"max_seq_length": 128}, "has max_seq_length 32, but .* is 128"),
    ],
)
def test_given_shards_of_another_shape_are_refused(tmp_path, changes, message):
    files = export(tmp_path / "out", corpus_of(tmp_path, make_instances()), config_of("nvidia"))

    with pytest.raises(ShardError, match=message):
        check_given(files, expected_of(**changes), INFO)


def test_rows_that_do_not_fit_what_was_said_of_varlength_shards_are_refused(tmp_path):
    own = corpus_of(tmp_path, make_instances())
    files = export(tmp_path / "out", own, config_of("mlperf_varlength"))

    with pytest.raises(ShardError, match=r"has max_predictions 5, but .* is 3"):
        check_given(files, expected_of(max_predictions=3), INFO)
    with pytest.raises(ShardError, match=r"has max_seq_length 32, but .* is 20"):
        check_given(files, expected_of(max_seq_length=20), INFO)


def test_a_folder_of_two_dialects_or_lengths_is_refused(tmp_path):
    own = corpus_of(tmp_path, make_instances())
    one = export(tmp_path / "out", own, config_of("nvidia"))
    two = export(tmp_path / "out", own, config_of("mlperf_fixed"))

    with pytest.raises(ShardError, match=r"has dialect \w+, but .* has \w+; all shards"):
        check_given([*one, *two], expected_of(), INFO)
    with pytest.raises(ShardError, match=r"has max_seq_length \d+, but .* has \d+; all shards"):
        check_given([two[0], write_fixed(tmp_path / "short.hdf5")], expected_of(), INFO)


def test_a_given_shard_that_changed_is_refused(tmp_path):
    files = export(tmp_path / "out", corpus_of(tmp_path, make_instances()), config_of("nvidia"))
    manifest = given_corpus(tmp_path, files, expected_of())
    files[1].write_bytes(files[1].read_bytes()[:-1])

    with pytest.raises(ShardError, match=r"training_1.hdf5 has \d+ bytes; .* states"):
        open_corpus([manifest])
