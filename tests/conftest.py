"""Small corpora and settings that several test modules train on."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from bert.config import check
from bert.data.corpus import Corpus
from bert.data.shard_writer import write_instances
from bert.data.shards import Instances, ShardInfo
from bert.model.config import ModelConfig
from bert.train.config import PhaseConfig, RuntimeConfig
from bert.train.distributed import Ranks
from bert.train.pretrain import Setup
from tests.web import Site, serving

VOCAB = 50
INFO = ShardInfo(32, "ab" * 32, VOCAB, 4, (0, 1, 2, 3, 4))

MODEL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 32,
    "type_vocab_size": 2,
    "initializer_range": 0.02,
    "position_init": "normal",
    "layer_norm_eps": 1e-12,
    "vocab_multiple": 8,
    "next_sentence": True,
}
RUNTIME = {
    "device": "cpu",
    "precision": "fp32",
    "micro_batch_tokens": 128,
    "threads": 1,
    "finetune_threads": 1,
    "workers": 1,
    "downloads": 1,
    "processes": 1,
    "checkpoint_every": 4,
    "keep_last": 2,
    "keep_every": None,
}
PHASE = {
    "seed": 5,
    "start": "random",
    "steps": 12,
    "batch": 16,
    "learning_rate": 1e-3,
    "schedule": {"name": "polynomial", "warmup_proportion": 0.25, "degree": 0.5},
    "optimizer": {
        "name": "lamb",
        "variant": "nvidia",
        "beta1": 0.9,
        "beta2": 0.999,
        "eps": 1e-6,
        "weight_decay": 0.01,
        "max_grad_norm": 1.0,
    },
    "masking": {
        "unit": "token",
        "span": None,
        "mask_prob": 0.15,
        "max_predictions": 8,
        "mask_token_share": 0.8,
        "random_token_share": 0.1,
    },
    "log_every": 1,
    "evaluate_every": 6,
    "evaluate_instances": None,
}
ADAMW = {
    "name": "adamw",
    "beta1": 0.9,
    "beta2": 0.999,
    "eps": 1e-6,
    "weight_decay": 0.01,
    "bias_correction": True,
    "max_grad_norm": 1.0,
}


def write_counting_corpus(folder, counts, seed=0):
    """Shards of counting sequences: A counts up from a random token, B goes on or starts anew."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for place, count in enumerate(counts):
        pieces, starts, labels = [], [], []
        for _ in range(count):
            length_a, length_b = rng.integers(4, 12, 2)
            label = int(rng.integers(2))
            first = int(rng.integers(5, VOCAB))
            second = int(rng.integers(5, VOCAB)) if label else first + length_a
            a = 5 + (np.arange(first, first + length_a) - 5) % (VOCAB - 5)
            b = 5 + (np.arange(second, second + length_b) - 5) % (VOCAB - 5)
            pieces.append(np.concatenate([[2], a, [3], b, [3]]))
            starts.append(length_a + 2)
            labels.append(label)
        instances = Instances(
            np.concatenate(pieces).astype(np.uint16),
            np.concatenate([[0], np.cumsum([len(p) for p in pieces])]).astype(np.uint64),
            np.array(starts, np.uint16),
            np.array(labels, np.uint8),
        )
        path = folder / f"shard-{place}.h5"
        write_instances(path, instances, INFO, seed=1, config={})
        files.append(path)
    return Corpus(files)


@pytest.fixture(scope="session")
def corpora(tmp_path_factory):
    """A training corpus of 90 instances in 3 shards, and 40 held-out ones."""
    folder = tmp_path_factory.mktemp("corpora")
    train = write_counting_corpus(folder / "train", [30, 40, 20])
    return train, write_counting_corpus(folder / "held_out", [40], seed=1)


@pytest.fixture
def make_setup(corpora):
    """Builds a `Setup` on the counting corpora; keywords change phase, model and runtime."""

    def make(phase=None, model=None, runtime=None, ranks=None, number=1):
        return Setup(
            number,
            check(PhaseConfig, PHASE | (phase or {}), where="a test"),
            check(ModelConfig, MODEL | (model or {}), where="a test"),
            check(RuntimeConfig, RUNTIME | (runtime or {}), where="a test"),
            *corpora,
            ranks or Ranks(0, 1, 0),
            torch.device("cpu"),
        )

    return make


@pytest.fixture(autouse=True)
def one_thread():
    """One thread: sums of floats then do not depend on the machine's load."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def site(monkeypatch) -> Iterator[Site]:
    """A local web server that misbehaves as its pages say; no proxy stands between."""
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY", "BERT_CONTACT"):
        monkeypatch.delenv(name, raising=False)
    with serving() as running:
        yield running
