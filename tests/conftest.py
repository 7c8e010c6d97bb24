"""Small corpora and settings that several test modules train on."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from bert.config import check
from bert.data.corpus import Corpus
from bert.data.shard_writer import write_instances
from bert.data.shards import Instances, ShardInfo
from bert.kernels.build import BuildError
from bert.kernels.compiled import use_kernels
from bert.model.config import ModelConfig
from bert.ranks.ranks import Ranks
from bert.text import ordered, wikidump, wikistreams
from bert.train.config import PhaseConfig, RuntimeConfig
from bert.train.setup import Setup
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
    "positions": "learned",
    "position_init": "normal",
    "norm": "post",
    "layer_norm_eps": 1e-12,
    "vocab_multiple": 8,
    "next_sentence": True,
}
RUNTIME = {
    "device": "cpu",
    "precision": "fp32",
    "instruction_set": None,
    "execution": "eager",
    "kernels": "torch",
    "ipex": False,
    "activation_checkpointing": False,
    "micro_batch_tokens": 128,
    "all_reduce": {"dtype": "fp32", "bucket_mb": 25, "overlap": True},
    "shard_optimizer": False,
    "threads": 1,
    "finetune_threads": 1,
    "finetune_processes": 1,
    "finetune_checkpoint_steps": 4,
    "workers": 1,
    "downloads": 1,
    "launch": {
        "launcher": "torchrun",
        "processes": 1,
        "bind": "none",
        "hosts": None,
        "backend": "auto",
        "options": "",
        "timeout_s": 300,
    },
    "checkpoint": {
        "every_steps": 4,
        "every_samples": None,
        "from_samples": 0,
        "keep_last": 2,
        "keep_every": None,
        "asynchronous": True,
    },
    "stop": {"minutes": None, "steps": None},
    "tensorboard": False,
}
PHASE = {
    "seed": 5,
    "start": "random",
    "steps": 12,
    "batch": 16,
    "budget_hours": None,
    "learning_rate": 1e-3,
    "learning_rate_scaling": "none",
    "schedule": {
        "name": "polynomial",
        "warmup_proportion": 0.25,
        "warmup_steps": None,
        "warmup_start": 0,
        "degree": 0.5,
        "end_factor": 0.0,
        "steps_before": 0,
        "total_steps": None,
    },
    "optimizer": {
        "name": "lamb",
        "variant": "nvidia",
        "beta1": 0.9,
        "beta2": 0.999,
        "eps": 1e-6,
        "weight_decay": 0.01,
        "max_grad_norm": 1.0,
    },
    "kfac": None,
    "loss_mean": "batch",
    "masking": {
        "unit": "token",
        "span": None,
        "mask_prob": 0.15,
        "max_predictions": 8,
        "mask_token_share": 0.8,
        "random_token_share": 0.1,
    },
    "evaluation": {
        "every": 6,
        "unit": "steps",
        "from_samples": 0,
        "instances": None,
        "target_mlm_accuracy": None,
    },
    "result": {"weights": "last", "average_last": None, "average_every": None},
    "guard": {
        "max_skipped": 0,
        "then": "stop",
        "max_rollbacks": 0,
        "rollback_factor": 0.5,
        "spike": None,
    },
    "log_every": 1,
}
KFAC = {
    "method": "eigen",
    "factor_every": 1,
    "inverse_every": 2,
    "factor_decay": 0.95,
    "damping": 0.003,
    "kl_clip": 0.001,
    "distribution": "comm_opt",
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


_NESTED = ("evaluation", "result", "guard", "all_reduce", "launch", "checkpoint", "stop")


def overlay(base, changes):
    """`base` with `changes`; the sections in it that have no kinds are merged key by key."""
    nested = {key: base[key] | changes[key] for key in _NESTED if key in base and key in changes}
    return base | changes | nested


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
            check(PhaseConfig, overlay(PHASE, phase or {}), where="a test"),
            check(ModelConfig, MODEL | (model or {}), where="a test"),
            check(RuntimeConfig, overlay(RUNTIME, runtime or {}), where="a test"),
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
def native():
    """The native kernels, switched on; without a compiler there are none to test."""
    try:
        use_kernels("native")
    except BuildError as error:
        pytest.skip(str(error))
    yield
    use_kernels("torch")


@pytest.fixture(params=["torch", "native"])
def kernels(request):
    """A test that runs twice: with torch's operations, and with the native kernels."""
    if request.param == "native":
        request.getfixturevalue("native")
    return request.param


@pytest.fixture
def small_items(monkeypatch):
    """Cuts every few pages, so that a small dump has many items."""
    monkeypatch.setattr(wikidump, "_ITEM_BYTES", 2000)
    monkeypatch.setattr(wikidump, "_READ_BYTES", 16)
    monkeypatch.setattr(wikistreams, "_RANGE_BYTES", 300)
    monkeypatch.setattr(wikistreams, "_READ_BYTES", 64)
    monkeypatch.setattr(ordered, "_BATCH_WEIGHT", 4000)


@pytest.fixture
def site(monkeypatch) -> Iterator[Site]:
    """A local web server that misbehaves as its pages say; no proxy stands between."""
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY", "BERT_CONTACT"):
        monkeypatch.delenv(name, raising=False)
    with serving() as running:
        yield running
