"""Ranks are real processes here; the oracle is the optimizer that is not sharded."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from bert.checkpoints.checkpoint import CheckpointError
from bert.config import check
from bert.kernels.build import BuildError
from bert.kernels.compiled import use_kernels
from bert.optim.config import AdamWConfig, LambConfig
from bert.optim.groups import make_optimizer
from bert.optim.moments import reset_step, set_learning_rate
from bert.optim.sharded import ShardedOptimizer, share_out
from bert.ranks.ranks import Ranks

SHARED = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-6, "weight_decay": 0.01, "max_grad_norm": 1.0}
LAMB = {"name": "lamb", "variant": "nvidia"} | SHARED
ADAMW = {"name": "adamw", "bias_correction": True} | SHARED
CONFIGS = {
    "lamb": check(LambConfig, LAMB, where="a test"),
    "adamw": check(AdamWConfig, ADAMW, where="a test"),
}

WORLDS = (2, 3)
# One interpreter loads torch and forks the ranks, which then start at once.
RANKS_SCRIPT = """
import multiprocessing
import sys
from pathlib import Path
import torch
import torch.distributed as dist
from safetensors.torch import save_file
from bert.kernels.compiled import use_kernels
from bert.optim.groups import make_optimizer
from bert.optim.sharded import ShardedOptimizer
from bert.ranks.ranks import Ranks
from tests.test_sharded import CONFIGS, WORLDS, make_net, train

def run(folder, rank, world):
    meet = f"file://{folder}/meet"
    dist.init_process_group("gloo", init_method=meet, rank=rank, world_size=world)
    for name, config in CONFIGS.items():
        net = make_net()
        optimizer = ShardedOptimizer(net.named_parameters(), config, Ranks(rank, world, rank))
        assert optimizer.tensors(net) == {}
        train(net, optimizer, 0, 3)
        save_file(net.state_dict(), folder / f"{name}-model-{rank}.safetensors")
        complete = optimizer.tensors(net)
        assert bool(complete) == (rank == 0)
        if rank == 0:
            save_file(complete, folder / f"{name}-optimizer.safetensors")
        held = sum(t.numel() for state in optimizer._own.state.values() for t in state.values())
        (folder / f"{name}-held-{rank}").write_text(str(held))
    dist.destroy_process_group()

torch.set_num_threads(1)
use_kernels(sys.argv[2])
net = make_net()
train(net, make_optimizer(net.named_parameters(), CONFIGS["lamb"]), 0, 1)  # torch loads the rest
fork = multiprocessing.get_context("fork")
for world in WORLDS:
    folder = Path(sys.argv[1]) / str(world)
    folder.mkdir()
    ranks = [fork.Process(target=run, args=(folder, rank, world)) for rank in range(world)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join()
    assert [rank.exitcode for rank in ranks] == [0] * world
"""


class Net(nn.Module):
    """Tensors of many sizes; one never has a gradient."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8 + i, 12) for i in range(6))
        self.norm = nn.LayerNorm(12)
        self.unused = nn.Parameter(torch.ones(5, 3))


def make_net():
    net = Net()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return net


def train(net, optimizer, first, last):
    """Steps with gradients that are a function of the step alone, as after the sum over ranks."""
    for step in range(first, last):
        generator = torch.Generator().manual_seed(100 + step)
        for name, parameter in net.named_parameters():
            if name != "unused":
                parameter.grad = torch.randn(parameter.shape, generator=generator)
        set_learning_rate(optimizer, 0.01 * (step + 1))
        optimizer.step(divisor=torch.tensor(1.5))


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module", params=["torch", "native"])
def written(request, tmp_path_factory):
    """Folder with what 2 and what 3 ranks wrote after three steps; this process computes alike."""
    try:
        use_kernels(request.param)
    except BuildError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("sharded")
    command = [sys.executable, "-c", RANKS_SCRIPT, str(folder), request.param]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": "."}, timeout=180)
    yield folder
    use_kernels("torch")


@pytest.fixture(params=WORLDS)
def sharded(request, written):
    """Folder of one number of ranks, and the number."""
    return written / str(request.param), request.param


@pytest.mark.parametrize("name", CONFIGS)
def test_any_number_of_ranks_gives_the_weights_and_moments_of_one(sharded, name):
    folder, world = sharded
    net = make_net()
    plain = make_optimizer(net.named_parameters(), CONFIGS[name])
    train(net, plain, 0, 3)

    for rank in range(world):
        assert equal(load_file(folder / f"{name}-model-{rank}.safetensors"), net.state_dict())
    saved = load_file(folder / f"{name}-optimizer.safetensors")
    assert equal(saved, plain.tensors(net))
    assert "exp_avg:unused" not in saved
    assert "exp_avg:norm.bias" in saved


@pytest.mark.parametrize("name", CONFIGS)
def test_each_rank_holds_its_share_of_the_moments(sharded, name):
    folder, world = sharded
    held = [int((folder / f"{name}-held-{rank}").read_text()) for rank in range(world)]
    trained = [p.numel() for n, p in make_net().named_parameters() if n != "unused"]

    assert sum(held) == 2 * sum(trained)
    assert max(held) <= 1.25 * sum(held) / world


@pytest.mark.parametrize("name", CONFIGS)
def test_a_sharded_checkpoint_goes_on_in_a_plain_optimizer_and_back(sharded, name):
    """Three sharded steps, then two on one rank of either class, are five on one rank."""
    folder, _ = sharded
    weights = load_file(folder / f"{name}-model-0.safetensors")
    moments = load_file(folder / f"{name}-optimizer.safetensors")
    filler = {f"{key}:unused": torch.zeros(5, 3) for key in ("exp_avg", "exp_avg_sq")}
    straight = make_net()
    train(straight, make_optimizer(straight.named_parameters(), CONFIGS[name]), 0, 5)

    for build in (
        lambda net: ShardedOptimizer(net.named_parameters(), CONFIGS[name], Ranks(0, 1, 0)),
        lambda net: make_optimizer(net.named_parameters(), CONFIGS[name]),
    ):
        net = make_net()
        net.load_state_dict(weights)
        optimizer = build(net)
        optimizer.load(net, moments | filler, folder)
        for group in optimizer.param_groups:
            group["step"] = 3
        train(net, optimizer, 3, 5)
        assert equal(net.state_dict(), straight.state_dict())
        optimizer.forget()
        assert optimizer.tensors(net) == {}


def test_shares_are_balanced_and_a_function_of_the_sizes():
    # BERT-large: embeddings, then 24 layers of 4 h*h, 2 h*4h matrices and 10 vectors.
    layer = [1024 * 1024] * 4 + [4096 * 1024] * 2 + [1024] * 9 + [4096]
    sizes = [30528 * 1024, 512 * 1024, 2 * 1024, 1024, 1024] + layer * 24

    for world in (1, 2, 3, 8):
        owners = share_out(sizes, world)
        loads = [sum(s for s, o in zip(sizes, owners, strict=True) if o == r) for r in range(world)]
        assert max(loads) <= 1.01 * sum(sizes) / world
        assert owners == share_out(list(sizes), world)


def test_shares_by_hand():
    # 9 to rank 0, 7 to rank 1, 5 to rank 1 (7 < 9), 4 to rank 0 (9 < 12), 1 to rank 1 (12 < 13).
    assert share_out([4, 9, 1, 7, 5], 2) == [0, 0, 1, 1, 1]
    assert share_out([1], 4) == [0]


def test_a_rank_without_tensors_keeps_the_counters_of_the_others():
    """More ranks than tensors: the last has nothing to do and counts the same steps."""
    param = nn.Parameter(torch.ones(2, 2))
    optimizer = ShardedOptimizer([("w", param)], CONFIGS["lamb"], Ranks(0, 1, 0))
    idle = ShardedOptimizer([("w", param)], CONFIGS["lamb"], Ranks(3, 4, 3))
    idle._own.step()
    optimizer.step()

    assert [g["step"] for g in idle.param_groups] == [g["step"] for g in optimizer.param_groups]
    reset_step(idle)
    assert [g["step"] for g in idle.param_groups] == [0]
    assert idle.param_groups[0]["params"] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"exp_avg:other": torch.ones(1)}, r"for 1 tensors that are no parameters \['other'\]"),
        ({}, r"none for 1 that are \['unused'\]"),
    ],
)
def test_a_state_of_another_model_is_refused(sharded, change, message):
    folder, _ = sharded
    net = make_net()
    optimizer = ShardedOptimizer(net.named_parameters(), CONFIGS["lamb"], Ranks(0, 1, 0))
    moments = load_file(Path(folder) / "lamb-optimizer.safetensors")

    with pytest.raises(CheckpointError, match=message):
        optimizer.load(net, moments | change, folder)
