"""Law 4, checked on a run's folder: nothing is lost and nothing is counted twice."""

import json
from collections import Counter
from itertools import islice, pairwise

import numpy as np

from bert.data.batches import Reading, read_steps
from bert.data.index import open_corpus
from bert.data.shards import read_instances
from bert.text.documents import read_documents
from tests.stages import shard_manifests


def instances_of(files):
    """How often each instance stands in the files: tokens, start of B, label."""
    found = Counter()
    for file in files:
        instances, _ = read_instances(file)
        tokens, bounds = np.asarray(instances.input_ids), instances.offsets.tolist()
        starts, labels = instances.segment_b_start, instances.next_sentence_labels
        found.update(
            (tokens[low:high].tobytes(), start, label)
            for (low, high), start, label in zip(
                pairwise(bounds), starts.tolist(), labels.tolist(), strict=True
            )
        )
    return found


def loaded_instances(corpus, phase, batch, world):
    """How often each instance comes in the first epoch, masks undone, over all ranks."""
    steps = range(1, -(-corpus.num_instances // batch) + 1)
    readings = [
        Reading(phase.seed, 1, batch, phase.masking, 512, rank, world) for rank in range(world)
    ]
    streams = [_originals(read_steps(corpus, steps, reading)) for reading in readings]
    samples = (next(streams[place % batch % world]) for place in range(len(steps) * batch))
    return Counter(islice(samples, corpus.num_instances))


def _originals(steps):
    for step in steps:
        for stream in step.micro_batches:
            tokens = stream.input_ids.copy()
            tokens[stream.masked_lm_positions] = stream.masked_lm_ids
            bounds, labels = stream.cu_seqlens.tolist(), stream.next_sentence_labels.tolist()
            for (low, high), label in zip(pairwise(bounds), labels, strict=True):
                segments = stream.segment_ids[low:high]
                start = int(segments.argmax())  # 0 if there is no B
                yield tokens[low:high].tobytes(), start, label


def documents_in(files):
    return Counter(tuple(document) for file in files for document in read_documents(file))


def check_text(run):
    """Law 4 from the raw text to the parts; every document is somewhere exactly once."""
    extracted = run.manifest("extract/docs/manifest.json")["counts"]
    text = run.folder / "extract" / "docs" / "documents.txt"
    names = (run.folder / "extract" / "docs" / "names.txt").read_bytes().split(b"\n")[:-1]
    documents = list(read_documents(text))
    assert extracted["documents"] == len(documents) == len(names) == len(set(names))
    assert extracted["sentences"] == sum(map(len, documents))
    reasons = (run.folder / "filter" / "docs.u8").read_bytes()
    filtered = run.manifest("filter/manifest.json")["counts"]
    skipped = [v for k, v in filtered.items() if k.startswith("skipped_")]
    assert len(reasons) == filtered["documents"] == filtered["kept"] + sum(skipped)
    assert reasons.count(0) == filtered["kept"]
    split = run.manifest("split/manifest.json")["counts"]
    skipped = sum(v for k, v in split.items() if k.startswith("skipped_"))
    assert split["documents"] == len(documents)
    assert len(documents) == split["training_documents"] + split["held_out_documents"] + skipped
    parts = documents_in(sorted((run.folder / "split" / "parts").iterdir()))
    held_out = documents_in([run.folder / "split" / "held_out.txt"])
    kept = Counter(tuple(d) for d, reason in zip(documents, reasons, strict=True) if not reason)
    assert (parts + held_out).total() == split["training_documents"] + split["held_out_documents"]
    left_out = kept - parts - held_out
    assert parts + held_out + left_out == kept
    assert left_out.total() == split["skipped_leaked"]
    assert all(" ".join(d).lower() in {" ".join(h).lower() for h in held_out} for d in left_out)


def check_instances(run):
    """Law 4 from the parts to what the training loop sees."""
    split = run.manifest("split/manifest.json")["counts"]
    jobs = [f"encode/phase1/{job:03d}.json" for job in run.recipe.encode_jobs()]
    encoded = Counter()
    for job in jobs:
        encoded.update(run.manifest(job)["counts"])
    assert encoded["documents"] + encoded["empty_documents"] == split["dealt_documents"]
    assert encoded["sentences"] + encoded["empty_sentences"] == split["dealt_sentences"]
    made = instances_of(run.folder / job[:-5] / name for job in jobs for name in _files(run, job))
    assert encoded["instances"] == made.total()
    manifests = shard_manifests(run)
    sharded = sorted((run.folder / "shard" / "phase1").glob("*/*.h5"))
    assert instances_of(sharded) == made
    receipts = [json.loads(path.read_text()) for path in manifests]
    assert sum(receipt["counts"]["instances"] for receipt in receipts) == made.total()
    assert sum(receipt["counts"]["tokens"] for receipt in receipts) == encoded["tokens"]
    corpus, _ = open_corpus(manifests)
    phase = run.recipe.pretrain.phase1
    for least, world in ((7, 1), (6, 2)):
        batch = max(least, made.total() // 40 * world)
        assert loaded_instances(corpus, phase, batch, world) == made


def _files(run, manifest):
    return [name.split("/")[-1] for name in run.manifest(manifest)["outputs"]]
