import importlib.util

import numpy as np
import pytest
import torch

from bert.config import check
from bert.data.batches import read_steps
from bert.devices.device import (
    array_to_device,
    choose_device,
    describe_device,
    probe_flops,
    to_device,
    training_flops,
)
from bert.model.config import ModelConfig
from bert.train.config import RuntimeConfig
from tests.conftest import MODEL, RUNTIME

LARGE = ModelConfig(
    **MODEL
    | {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "max_position_embeddings": 512,
    }
)


def runtime(**changes):
    return check(RuntimeConfig, RUNTIME | changes, where="a test")


@pytest.mark.parametrize(
    ("length", "masked", "published"), [(128, 20, 240.6e9), (512, 80, 1020.5e9)]
)
def test_flops_of_bert_large_are_the_published_count(length, masked, published):
    """layers (24 h^2 s + 4 s^2 h) + predictions 2 h (V + h), three times; V = 30,522."""
    assert training_flops(LARGE, 30_522, (length,), masked) == pytest.approx(published, rel=1e-3)


def test_cuda_without_a_device_is_refused():
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")

    with pytest.raises(ValueError, match=r"runtime.device is cuda, but torch finds no CUDA"):
        choose_device(runtime(device="cuda"), 0)


@pytest.mark.parametrize("kind", ["xpu", "hpu"])
def test_an_accelerator_that_is_not_here_is_refused(kind):
    with pytest.raises(ValueError, match=f"runtime.device is {kind}, but"):
        choose_device(runtime(device=kind), 0)


def test_auto_takes_the_cpu_where_there_is_no_accelerator():
    if torch.accelerator.is_available():
        pytest.skip("this machine has an accelerator")

    assert choose_device(runtime(device="auto"), 0) == torch.device("cpu")


def test_ipex_that_is_not_installed_is_refused():
    if importlib.util.find_spec("intel_extension_for_pytorch"):
        pytest.skip("it is installed here")

    with pytest.raises(ValueError, match="ipex is true, but intel_extension_for_pytorch is not"):
        choose_device(runtime(ipex=True), 0)


def test_cpu_is_taken_when_asked_for():
    assert choose_device(runtime(device="cpu"), 3) == torch.device("cpu")


def test_a_micro_batch_arrives_with_its_lengths(make_setup):
    setup = make_setup()
    micro = next(iter(read_steps(setup.train, range(1, 2), setup.reading()))).micro_batches[0]

    batch = to_device(micro, torch.device("cpu"))

    assert batch.sequences.cu_seqlens.tolist() == micro.cu_seqlens.tolist()
    assert sum(batch.sequences.lengths) == len(batch.input_ids)
    assert batch.masked_lm_ids.tolist() == micro.masked_lm_ids.tolist()
    assert batch.next_sentence_labels.tolist() == micro.next_sentence_labels.tolist()


def test_the_probe_and_the_description_are_of_this_machine():
    device = torch.device("cpu")

    assert probe_flops(device, runtime()) > 1e8
    described = describe_device(device, runtime())
    assert described["threads"] == torch.get_num_threads()
    assert described["instruction_set"] == torch.backends.cpu.get_cpu_capability()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.int32])
def test_small_integers_keep_their_values_on_the_device(dtype):
    values = np.array([0, 1, np.iinfo(dtype).max], dtype)

    found = array_to_device(values, torch.device("cpu"))

    assert (found.dtype, found.tolist()) == (torch.int64, values.tolist())
