"""The host asks the device for numbers once a step, whatever the micro-batches.

Shown on a CPU, where asking costs nothing but is seen: reads by a tensor's methods, and reads that
an operation makes inside. Dropout is off, whose seed the CPU's own kernels draw on the host.
"""

import warnings

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from bert.data.batches import read_steps
from bert.model.bert import set_attention_backend
from bert.train.evaluate import evaluate
from bert.train.setup import build
from bert.train.step import train_step
from tests.conftest import ADAMW
from tests.test_step import NO_DROPOUT

READS = {
    Tensor.tolist, Tensor.item, Tensor.cpu, Tensor.numpy, Tensor.nonzero,
    Tensor.__float__, Tensor.__int__, Tensor.__bool__, Tensor.__index__, Tensor.__array__,
}  # fmt: skip


class _Methods(TorchFunctionMode):
    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in READS:
            self.seen.append(function.__name__)
        return function(*args, **(kwargs or {}))


class _Inside(TorchDispatchMode):
    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default):
            self.seen.append(str(function))
        return function(*args, **(kwargs or {}))


def reads(work):
    """Names of the reads that `work` makes."""
    seen = []
    with _Methods(seen), _Inside(seen):
        work()
    return seen


def prepared(make_setup, phase, runtime):
    setup = make_setup(phase, NO_DROPOUT, runtime)
    learner = build(setup)
    set_attention_backend(learner.network, "padded")  # that of accelerators without their own
    return setup, learner


@pytest.mark.parametrize("phase", [{}, {"optimizer": ADAMW}])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_step_reads_once_for_any_number_of_micro_batches(make_setup, phase, precision):
    counts = []
    for tokens in (60, 10_000):
        runtime = {"precision": precision, "micro_batch_tokens": tokens}
        setup, learner = prepared(make_setup, phase, runtime)
        first, second = read_steps(setup.train, range(1, 3), setup.reading())
        counts.append(len(second.micro_batches))
        train_step(setup, learner, first, 1e-3)

        assert reads(lambda: train_step(setup, learner, second, 1e-3)) == ["tolist"]  # noqa: B023
    assert counts[0] > 5 * counts[1]


def test_evaluation_reads_once_for_all_its_micro_batches(make_setup):
    setup, learner = prepared(make_setup, {}, {"micro_batch_tokens": 100})
    found = reads(
        lambda: evaluate(
            learner.network, setup.held_out, setup.config.masking, seed=1, limit=None,
            runtime=setup.runtime, device=setup.device, ranks=setup.ranks,
        )
    )  # fmt: skip

    assert found == ["tolist"]


def test_reads_are_seen():
    value = torch.ones(())

    assert reads(lambda: float(value)) == ["__float__", "aten._local_scalar_dense.default"]
    assert reads(value.tolist) == ["tolist"]
    assert reads(lambda: torch.nonzero(value)) == ["aten.nonzero.default"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("execution", ["eager", "graph"])
def test_a_step_on_cuda_waits_once(make_setup, execution):
    """As torch's own watch of the device counts; with dropout, flash attention and fused LAMB."""
    runtime = {"precision": "bf16", "micro_batch_tokens": 60, "execution": execution}
    setup = make_setup(runtime=runtime)._replace(device=torch.device("cuda"))
    learner = build(setup)
    first, second = read_steps(setup.train, range(1, 3), setup.reading())
    train_step(setup, learner, first, 1e-3)

    torch.cuda.set_sync_debug_mode("warn")
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        result = train_step(setup, learner, second, 1e-3)
    torch.cuda.set_sync_debug_mode("default")

    assert not result.skipped
    assert sum("synchronizing CUDA operation" in str(one.message) for one in found) == 1
