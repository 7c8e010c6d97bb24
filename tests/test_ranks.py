import pytest
import torch

from bert.ranks.backends import choose_backend
from bert.ranks.ranks import Ranks, join, leave
from bert.ranks.status import HUNG, joint_status, shell_status

CPU = torch.device("cpu")


def test_ranks_without_a_meeting_point_are_refused(monkeypatch):
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(ValueError, match="set MASTER_ADDR and MASTER_PORT to the first machine"):
        join(Ranks(0, 2, 0), CPU)


def test_one_rank_alone_needs_no_process_group():
    ranks = Ranks(0, 1, 0)

    join(ranks, CPU)
    ranks.barrier()
    ranks.check_same("the configuration", "abc", CPU)
    leave(ranks)

    assert ranks.sum([1.5, 2.0], CPU) == [1.5, 2.0]
    assert ranks.any(True, CPU)
    assert not ranks.any(False, CPU)


@pytest.mark.parametrize(("backend", "device"), [("auto", "cpu"), ("gloo", "cpu"), ("gloo", "xpu")])
def test_cpus_meet_in_gloo_and_so_does_who_asks_for_it(backend, device):
    assert choose_backend(backend, torch.device(device)) == "gloo"


def test_accelerators_have_gloo_beside_their_own_backend(monkeypatch):
    """Numbers on the host meet there; this torch need not have the other."""
    monkeypatch.setattr(torch.distributed, "is_backend_available", lambda name: True)

    assert choose_backend("auto", torch.device("cuda")) == "cpu:gloo,cuda:nccl"
    assert choose_backend("nccl", torch.device("cuda", 1)) == "cpu:gloo,cuda:nccl"
    assert choose_backend("auto", torch.device("xpu")) == "cpu:gloo,xpu:xccl"


def test_a_backend_that_torch_lacks_is_refused():
    with pytest.raises(ValueError, match=r"backend is mpi, .* a torch that was built with mpi"):
        choose_backend("mpi", CPU)


@pytest.mark.parametrize(
    ("statuses", "joint"),
    [
        ([], 0),
        ([0, 0], 0),
        ([75, 75], 75),
        ([0, 75], 75),
        ([75, 143], 75),  # torchrun ended the second one when the first had left
        ([75, 1], 1),
        ([1, HUNG], 1),
        ([143, 1, 143], 1),
        ([0, 137], 137),
    ],
)
def test_the_joint_status_is_that_of_the_first_real_failure(statuses, joint):
    assert joint_status(statuses) == joint


def test_signals_are_statuses_as_in_a_shell():
    assert [shell_status(code) for code in (0, 1, -9, -15)] == [0, 1, 137, 143]
