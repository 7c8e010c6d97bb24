import os

import pytest
import torch

from bert.data.batches import read_steps
from bert.devices.repeatable import compute_repeatably
from bert.train.setup import build
from bert.train.step import train_step
from tests.conftest import KFAC


@pytest.fixture
def back(monkeypatch):
    """Leaves torch and the environment as they were."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    fill = torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = fill
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)


def test_cuda_computes_repeatably_and_a_cpu_is_left_alone(back):
    compute_repeatably(torch.device("cpu"))
    assert not torch.are_deterministic_algorithms_enabled()
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ

    compute_repeatably(torch.device("cuda"))

    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.is_deterministic_algorithms_warn_only_enabled()  # flash would ignore a warning
    assert not torch.utils.deterministic.fill_uninitialized_memory
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


@pytest.mark.parametrize("phase", [{}, {"kfac": KFAC}])
def test_a_step_needs_no_operation_that_has_no_repeatable_form(back, make_setup, phase):
    """On this machine's device; the refusals of CUDA are others, and show themselves there."""
    setup = make_setup(phase)
    batch = next(iter(read_steps(setup.train, range(1, 2), setup.reading())))
    expected = train_step(setup, build(setup), batch, 1e-3)

    compute_repeatably(torch.device("cuda"))

    assert train_step(setup, build(setup), batch, 1e-3) == expected


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_steps_on_cuda_repeat_bit_for_bit(back, make_setup):
    compute_repeatably(torch.device("cuda"))
    setup = make_setup(runtime={"precision": "bf16"})._replace(device=torch.device("cuda"))
    states = []
    for _ in range(2):
        learner = build(setup)
        for batch in read_steps(setup.train, range(1, 6), setup.reading()):
            train_step(setup, learner, batch, 1e-3)
        states.append([p.detach().clone() for p in learner.network.parameters()])

    assert all(torch.equal(a, b) for a, b in zip(*states, strict=True))
