"""How fast this machine trains, by a short trial: some seconds, for a wide model a minute.

Models of one and of three layers of the recipe's width are timed on full instances and with the
recipe's optimizer; time and memory of more layers follow on the straight line through the two.
"""

import resource
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from bert.data.batches import MicroBatch, segments_and_positions
from bert.devices.device import to_device
from bert.devices.precision import autocast
from bert.model.bert import initialize
from bert.model.config import ModelConfig
from bert.model.heads import BertForPretraining
from bert.optim.config import AdamWConfig, LambConfig
from bert.optim.groups import make_optimizer
from bert.optim.moments import set_learning_rate
from bert.train.config import RuntimeConfig
from bert.train.evaluate import losses, run_model

_SHALLOW, _DEEP = 1, 3
_REPEATS = 3
_MOST_TOKENS = 4096
_MASKED_SHARE = 0.15
_STATE_BYTES = 16  # a parameter: weight, gradient, two moments in fp32


class TrainingSpeed(NamedTuple):
    """Seconds of training on this machine, all its threads together."""

    seconds_per_token: float  # forward and backward
    seconds_per_update: float  # of the optimizer, once a step
    parameters: float
    peak_bytes: float  # of a process: weights, gradients, moments and activations


def training_speed(
    model: ModelConfig, optimizer: LambConfig | AdamWConfig, runtime: RuntimeConfig,
    device: torch.device, *, vocab_size: int, length: int,
) -> TrainingSpeed:  # fmt: skip
    """Times the training step of a recipe at one length of instances, in tokens."""
    shallow, deep = (
        _trial(
            model.model_copy(update={"num_hidden_layers": layers}),
            optimizer,
            runtime,
            device,
            vocab_size=vocab_size,
            length=length,
        )
        for layers in (_SHALLOW, _DEEP)
    )
    more = (model.num_hidden_layers - _SHALLOW) / (_DEEP - _SHALLOW)
    return TrainingSpeed(*(max(a, a + (b - a) * more) for a, b in zip(shallow, deep, strict=True)))


def _trial(
    config: ModelConfig, section: LambConfig | AdamWConfig, runtime: RuntimeConfig,
    device: torch.device, *, vocab_size: int, length: int,
) -> TrainingSpeed:  # fmt: skip
    model = BertForPretraining(config, vocab_size)
    generator = torch.Generator().manual_seed(0)
    initialize(model, config.initializer_range, generator, positions=config.position_init)
    model.to(device).train()
    optimizer = make_optimizer(model.named_parameters(), section)
    set_learning_rate(optimizer, 1e-6)
    tokens = min(runtime.micro_batch_tokens, _MOST_TOKENS)
    batch = to_device(_full_instances(max(1, tokens // length), length, vocab_size), device)

    def forward_and_backward() -> None:
        with autocast(runtime, device):
            logits = run_model(model, batch)
        sums = losses(logits, batch)
        (sums.mlm_loss + sums.nsp_loss).backward()  # type: ignore[no-untyped-call]

    seconds = _median_seconds(forward_and_backward, device)
    update = _median_seconds(optimizer.step, device)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return TrainingSpeed(seconds / len(batch.input_ids), update, parameters, _peak_bytes(device))


def _full_instances(count: int, length: int, vocab_size: int) -> MicroBatch:
    """`count` instances of `length` random tokens, none of them special."""
    rng = np.random.default_rng(0)
    offsets = np.arange(count + 1) * length
    ids = rng.integers(vocab_size // 2, vocab_size, count * length)
    start = np.full(count, length // 2, np.uint16)
    segment_ids, position_ids = segments_and_positions(offsets, start)
    masked = np.sort(rng.permutation(len(ids))[: max(1, int(_MASKED_SHARE * len(ids)))])
    return MicroBatch(
        ids,
        segment_ids,
        position_ids,
        offsets.astype(np.int32),
        masked.astype(np.int32),
        ids[masked],
        rng.integers(0, 2, count).astype(np.uint8),
    )


def _median_seconds(work: Callable[[], object], device: torch.device) -> float:
    work()
    times = []
    for _ in range(_REPEATS):
        _wait(device)
        start = time.perf_counter()
        work()
        _wait(device)
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _peak_bytes(device: torch.device) -> float:
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    # Linux counts in KiB, macOS in bytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak if peak > 1 << 34 else peak * 1024)


def given_speed(model: ModelConfig, *, vocab_size: int, tokens_per_second: float) -> TrainingSpeed:
    """The speed that the user states, with the model's size; the update's time is part of it."""
    with torch.device("meta"):
        built = BertForPretraining(model, vocab_size)
    parameters = sum(parameter.numel() for parameter in built.parameters())
    return TrainingSpeed(1 / tokens_per_second, 0.0, parameters, _STATE_BYTES * parameters)
