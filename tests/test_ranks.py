import pytest
import torch

from bert.ranks.ranks import Ranks, find_ranks, join, leave

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Ranks(0, 1, 0)),
        ({"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}, Ranks(3, 8, 1)),
        (
            {
                "OMPI_COMM_WORLD_RANK": "2",
                "OMPI_COMM_WORLD_SIZE": "4",
                "OMPI_COMM_WORLD_LOCAL_RANK": "0",
            },
            Ranks(2, 4, 0),
        ),
        ({"SLURM_PROCID": "5", "SLURM_NTASKS": "6", "SLURM_LOCALID": "1"}, Ranks(5, 6, 1)),
        ({"SLURM_PROCID": "5"}, Ranks(0, 1, 0)),
    ],
    ids=["alone", "torchrun", "mpirun", "srun", "half a launcher"],
)
def test_the_launcher_is_recognised_by_its_variables(environment, expected):
    assert find_ranks(environment) == expected


def test_torchrun_inside_a_slurm_job_wins():
    """srun starts torchrun, and torchrun starts the ranks: the inner launcher decides."""
    environment = {"SLURM_PROCID": "1", "SLURM_NTASKS": "2", "RANK": "7", "WORLD_SIZE": "8"}

    assert find_ranks(environment) == Ranks(7, 8, 0)


def test_ranks_without_a_meeting_point_are_refused(monkeypatch):
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.delenv("MASTER_PORT", raising=False)

    with pytest.raises(
        ValueError, match="2 ranks were started without MASTER_ADDR and MASTER_PORT"
    ):
        join(Ranks(0, 2, 0), CPU)


def test_one_rank_alone_needs_no_process_group():
    ranks = Ranks(0, 1, 0)

    join(ranks, CPU)
    ranks.barrier()
    ranks.sum_gradients([])
    leave(ranks)

    assert ranks.sum([1.5, 2.0], CPU) == [1.5, 2.0]
    assert ranks.any(True, CPU)
    assert not ranks.any(False, CPU)
