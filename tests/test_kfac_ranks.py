"""K-FAC on several processes against one: any distribution, uneven shares, a change on the way."""

import json
import os
import runpy
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import KFAC
from tests.test_kfac import close

DISTRIBUTIONS = ("comm_opt", "hybrid_opt", "mem_opt")

RANK_SCRIPT = """
import itertools
import json
import sys
from pathlib import Path
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import nn
from bert.optim.config import KfacConfig
from bert.optim.kfac import Kfac
from bert.ranks.ranks import find_ranks, join, leave

torch.set_num_threads(1)
out, given, distributions = Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3:]
ranks = find_ranks()
join(ranks, torch.device("cpu"))

def normal(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))

def make_net():
    net = nn.Module()
    net.bert = nn.Module()
    net.bert.encoder = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 6), nn.Linear(6, 2))
    for number, parameter in enumerate(net.parameters()):
        parameter.data = 0.5 * normal(*parameter.shape, seed=number)
    return net

def make_kfac(net, distribution):
    return Kfac(net, KfacConfig(**given | {"distribution": distribution}), ranks)

def step(kfac, net, number):
    kfac.collect(number)
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    # Four micro-batches of a batch of 20 tokens; in step 3 rank 0 has them all.
    for micro in range(4):
        if ranks.rank == (0 if number == 3 else micro % ranks.world):
            seed = 10 * number + micro
            found = net.bert.encoder(normal(5, 3, seed=seed))
            loss = (found - normal(5, 2, seed=1000 + seed)).square()
            (loss.sum() / 20).backward()
    for parameter in net.parameters():
        if ranks.world > 1:
            dist.all_reduce(parameter.grad)
    kfac.precondition(number, 0.1)
    return {f"{number}:{name}": p.grad.clone() for name, p in net.named_parameters()}

def save_state(kfac, path):
    tensors = kfac.tensors()
    assert bool(tensors) == (ranks.rank == 0)
    if ranks.rank == 0:
        save_file(tensors, path)
    ranks.barrier()

for number, name in enumerate(distributions):
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    net = make_net()
    kfac = make_kfac(net, name)
    gradients = {}
    for step_number in range(1, 8):
        if step_number == 4:  # between two inverses, to another distribution
            save_state(kfac, folder / "middle.safetensors")
            kfac = make_kfac(net, distributions[number - 1])
            kfac.load(load_file(folder / "middle.safetensors"), folder)
        gradients |= step(kfac, net, step_number)
    save_file(gradients, folder / f"gradients-{ranks.rank}.safetensors")
    save_state(kfac, folder / "state.safetensors")
leave(ranks)
"""


@pytest.fixture(scope="module", params=[2, 3])
def runs(request, tmp_path_factory):
    """Number of processes, folder of their run, folder of the same run alone."""
    base = tmp_path_factory.mktemp("kfac")
    script = base / "rank.py"
    script.write_text(RANK_SCRIPT)
    settings = KFAC | {"inverse_every": 4, "kl_clip": 0.01, "damping": 0.2}
    arguments = [json.dumps(settings), *DISTRIBUTIONS]
    launcher = f"-m torch.distributed.run --standalone --nproc-per-node {request.param}".split()
    subprocess.run(
        [sys.executable, *launcher, str(script), str(base / "together"), *arguments],
        check=True,
        env=os.environ | {"PYTHONPATH": ".", "OMP_NUM_THREADS": "1"},
        timeout=120,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(script), str(base / "alone"), *arguments])
        runpy.run_path(str(script))
    return request.param, base / "together", base / "alone"


def test_ranks_precondition_as_one_does(runs):
    _, together, alone = runs
    for name in DISTRIBUTIONS:
        found = load_file(together / name / "gradients-0.safetensors")
        for key, tensor in load_file(alone / name / "gradients-0.safetensors").items():
            assert close(found[key], tensor), (name, key)


def test_every_rank_and_every_distribution_has_the_same_bits(runs):
    world, together, _ = runs
    expected = load_file(together / "comm_opt" / "gradients-0.safetensors")
    for name in DISTRIBUTIONS:
        for rank in range(world):
            found = load_file(together / name / f"gradients-{rank}.safetensors")
            assert all(torch.equal(found[key], expected[key]) for key in expected), (name, rank)


def test_rank_0_saves_the_whole_state_in_every_distribution(runs):
    _, together, _ = runs
    for file in ("middle.safetensors", "state.safetensors"):
        expected = load_file(together / "comm_opt" / file)
        assert len(expected) == 1 + 3 * 6
        for name in DISTRIBUTIONS:
            found = load_file(together / name / file)
            assert found.keys() == expected.keys()
            assert all(torch.equal(found[key], expected[key]) for key in expected), (name, file)
