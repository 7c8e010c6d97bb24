import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert.ranks.launchers import find_local_world, tasks_per_node
from bert.ranks.meeting import make_port, meeting_point
from bert.ranks.nodelist import expand_nodelist
from bert.ranks.ranks import Ranks, find_ranks

OPENMPI = {
    "OMPI_COMM_WORLD_RANK": "2",
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_LOCAL_RANK": "0",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "4",
    "PMIX_NAMESPACE": "1166802945",
}
SRUN = {
    "SLURM_PROCID": "5",
    "SLURM_STEP_NUM_TASKS": "6",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "2",
    "SLURM_STEP_TASKS_PER_NODE": "2(x3)",
    "SLURM_STEP_NODELIST": "n[08-10]",
    "SLURM_JOB_NODELIST": "n[01-10]",
    "SLURM_JOB_ID": "77",
    "SLURM_STEP_ID": "3",
}
PALS = {
    "PALS_RANKID": "3",
    "PALS_LOCAL_RANKID": "1",
    "PALS_LOCAL_SIZE": "2",
    "PALS_APID": "a-b-c",
    "PMI_RANK": "3",
    "PMI_SIZE": "4",
}
MPICH = {"PMI_RANK": "1", "PMI_SIZE": "2", "MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "2"}
TORCHRUN = {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
# What a batch script of `sbatch --nodes 2 --ntasks-per-node 2` has, which is one process.
BATCH_SCRIPT = {"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_LOCALID": "0"}


@pytest.mark.parametrize(
    ("environment", "expected", "local_world"),
    [
        ({}, Ranks(0, 1, 0), 1),
        (TORCHRUN, Ranks(3, 8, 1), 4),
        ({"RANK": "3", "WORLD_SIZE": "8"}, Ranks(3, 8, 0), 1),
        (OPENMPI, Ranks(2, 4, 0), 4),
        (PALS, Ranks(3, 4, 1), 2),
        (MPICH, Ranks(1, 2, 1), 2),
        (SRUN, Ranks(5, 6, 1), 2),
        (BATCH_SCRIPT, Ranks(0, 1, 0), 1),
        (SRUN | {"PMI_RANK": "5", "PMI_SIZE": "6"}, Ranks(5, 6, 1), 2),
        (SRUN | OPENMPI, Ranks(2, 4, 0), 4),
        (SRUN | OPENMPI | TORCHRUN, Ranks(3, 8, 1), 4),
    ],
    ids=[
        *("alone", "torchrun", "by hand", "mpirun", "PALS", "MPICH", "srun", "batch script"),
        *("srun with PMI", "mpirun in srun", "torchrun in mpirun in srun"),
    ],
)
def test_the_innermost_launcher_is_recognised_by_its_variables(environment, expected, local_world):
    assert find_ranks(environment) == expected
    assert find_local_world(environment) == local_world


@pytest.mark.parametrize("rank", ["8", "-1", "", "one"])
def test_a_rank_that_is_not_among_the_ranks_is_refused(rank):
    with pytest.raises(ValueError, match=f"torchrun set RANK={rank}, WORLD_SIZE=8"):
        find_ranks(TORCHRUN | {"RANK": rank})


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (TORCHRUN | {"MASTER_ADDR": "a", "MASTER_PORT": "29500"}, ("a", 29500)),
        (SRUN | {"MASTER_ADDR": "a", "MASTER_PORT": "29500"}, ("a", 29500)),
        (SRUN, ("n08", make_port("77.3"))),
        (SRUN | {"SLURM_STEP_TASKS_PER_NODE": "6"} | {"SLURM_NODEID": "0"}, "127.0.0.1"),
        (OPENMPI, ("127.0.0.1", make_port("1166802945."))),
        (PALS | {"PALS_LOCAL_SIZE": "4"}, ("127.0.0.1", make_port("a-b-c."))),
        (MPICH, "127.0.0.1"),
        # The remote ranks of mpirun inherit srun's step of the remote daemons: only the job counts.
        (SRUN | OPENMPI | {"OMPI_COMM_WORLD_LOCAL_SIZE": "2"}, "n01"),
    ],
    ids=["torchrun", "given", "srun", "srun, one node", "mpirun", "PALS", "MPICH", "both"],
)
def test_the_meeting_point_is_found(environment, expected):
    address, port = meeting_point(environment)

    assert expected in (address, (address, port))
    assert 1024 < port < 32768


def test_the_meeting_point_is_on_the_first_host_of_the_node_file(tmp_path):
    (tmp_path / "nodes").write_text("x1\nx1\nx2\nx2\n")

    assert meeting_point(PALS | {"PBS_NODEFILE": str(tmp_path / "nodes")})[0] == "x1"


def test_jobs_and_steps_meet_at_other_ports():
    others = [{}, {"SLURM_JOB_ID": "78"}, {"SLURM_STEP_ID": "4"}]

    assert len({meeting_point(SRUN | other)[1] for other in others}) == 3


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "start the ranks with torchrun, or set MASTER_ADDR"),
        (TORCHRUN, "start the ranks with torchrun, or set MASTER_ADDR"),
        (
            OPENMPI | {"OMPI_COMM_WORLD_LOCAL_SIZE": "2"},
            "4 ranks were started by mpirun on several machines.*mpirun -x MASTER_ADDR=",
        ),
        (MPICH | {"PMI_SIZE": "4"}, "mpiexec -genv MASTER_ADDR"),
        (SRUN | {"MASTER_PORT": "70000"}, "MASTER_PORT is '70000'; expected a port number"),
        ({"MASTER_ADDR": "a"}, "MASTER_PORT is not set"),
        (SRUN | {"SLURM_STEP_TASKS_PER_NODE": "two"}, "SLURM_STEP_TASKS_PER_NODE is 'two'"),
    ],
)
def test_a_launcher_that_tells_too_little_is_refused(environment, message):
    with pytest.raises(ValueError, match=message):
        meeting_point(environment)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("login", ["login"]),
        ("a,b", ["a", "b"]),
        ("node[01-03,7]", ["node01", "node02", "node03", "node7"]),
        ("node[01-03,7],login", ["node01", "node02", "node03", "node7", "login"]),
        ("r[1-2]n[08-10]", ["r1n08", "r1n09", "r1n10", "r2n08", "r2n09", "r2n10"]),
        ("n[9-10]-ib", ["n9-ib", "n10-ib"]),
        ("n[099-101]", ["n099", "n100", "n101"]),
    ],
)
def test_node_lists_are_expanded(text, expected):
    """By the rules of SLURM's manual (man scontrol, show hostnames)."""
    assert expand_nodelist(text) == expected


@pytest.mark.parametrize("text", ["", ",", "a,", "n[", "n[1-", "n]1[", "n[]", "n[3-1]", "n[a-b]"])
def test_what_is_no_node_list_is_refused(text):
    with pytest.raises(ValueError, match="is not a list of hosts as SLURM writes it"):
        expand_nodelist(text)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 20)), min_size=1, max_size=5))
def test_ranges_count_every_host_once(ranges):
    text = ",".join(f"{first:03d}-{first + more:03d}" for first, more in ranges)

    hosts = expand_nodelist(f"n[{text}]")

    assert hosts == [f"n{f + i:03d}" for f, more in ranges for i in range(more + 1)]


def test_tasks_on_nodes_are_expanded():
    assert tasks_per_node("2(x3),1") == [2, 2, 2, 1]
    assert tasks_per_node("4") == [4]
