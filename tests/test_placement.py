"""Real ranks on the cores of this machine, and this process on some of its own."""

import json
import logging
import os

import pytest
import torch

from bert.config import ConfigError, check
from bert.ranks.config import LaunchConfig
from bert.ranks.launch import count_processes, launcher_command
from bert.ranks.placement import bind, place, share_threads
from bert.ranks.ranks import Ranks
from bert.ranks.topology import allowed_cpus, count_nodes, divide, read_cores, words
from tests.rank_processes import LAUNCH, launch

pytestmark = pytest.mark.skipif(allowed_cpus() is None, reason="no CPU masks here")
ALONE, CPU = Ranks(0, 1, 0), torch.device("cpu")
BODY = """
import threading
from bert.config import check
from bert.ranks.config import LaunchConfig
from bert.ranks.placement import bind, place, share_threads
from tests.rank_processes import LAUNCH

everything = os.sched_getaffinity(0)
waiting = threading.Event()
before = threading.Thread(target=waiting.wait, daemon=True)
before.start()
if "BOUND" in os.environ:  # as launchers do that bind ranks themselves
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[ranks.rank]})
share_threads()
with failing(ranks):
    join(ranks, CPU, timeout_s=60)
    place(check(LaunchConfig, LAUNCH | {"bind": "numa"}, where="test"), ranks, CPU)
    tasks = [sorted(os.sched_getaffinity(int(task))) for task in os.listdir("/proc/self/task")]
    found = {"threads": torch.get_num_threads(), "tasks": tasks}
    bind({min(everything)})
    place(check(LaunchConfig, LAUNCH | {"bind": "numa"}, where="test"), ranks, CPU)
    found["crowded"] = torch.get_num_threads()
    Path(sys.argv[1], f"{ranks.rank}.json").write_text(json.dumps(found))
    leave(ranks)
"""


def config(**changes):
    return check(LaunchConfig, LAUNCH | changes, where="a test")


@pytest.fixture
def as_before():
    """Threads and mask of this process, put back at the end."""
    threads, mask = torch.get_num_threads(), os.sched_getaffinity(0)
    yield
    torch.set_num_threads(threads)
    bind(mask)


def run(folder, **environment):
    """What each of two ranks found about its threads."""
    ended = launch(folder, BODY, environment={"OMP_NUM_THREADS": "999"} | environment)
    assert ended.status == 0, ended.text
    return ended.text, [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.skipif(len(read_cores(allowed_cpus() or {0})) < 2, reason="one core")
def test_ranks_have_cores_of_their_own_and_one_thread_a_core(tmp_path):
    """All threads of a process, the one that ran before it was bound, too."""
    shares = divide(read_cores(allowed_cpus()), 2)

    text, found = run(tmp_path)

    for one, share in zip(found, shares, strict=True):
        own = sorted(cpu for core in share for cpu in core.cpus)
        assert one["tasks"] == [own] * len(one["tasks"])
        assert len(one["tasks"]) > 1
        assert one["threads"] == len(share)
    said = "; ".join(f"rank {rank}: {words(share)}" for rank, share in enumerate(shares))
    assert said in text
    # Then both were given the same single CPU.
    assert [one["crowded"] for one in found] == [1, 1]
    assert "more ranks (2) than cores (1, CPUs" in text
    assert "lower runtime.launch.processes" in text


@pytest.mark.skipif(len(allowed_cpus() or {0}) < 2, reason="one CPU")
def test_ranks_that_a_launcher_has_bound_keep_their_cpus(tmp_path):
    """One CPU each: divided among two ranks, one would have none."""
    text, found = run(tmp_path, BOUND="1")

    cpus = sorted(allowed_cpus())
    assert [one["tasks"][0] for one in found] == [[cpus[0]], [cpus[1]]]
    assert [one["threads"] for one in found] == [1, 1]
    assert f"rank 0: CPUs {cpus[0]} " in text


def test_a_rank_alone_keeps_its_cpus_and_has_one_thread_a_core(as_before, caplog):
    caplog.set_level(logging.INFO)
    before = allowed_cpus()
    torch.set_num_threads(len(before) + 3)

    place(config(bind="numa"), ALONE, CPU)

    assert allowed_cpus() == before
    assert torch.get_num_threads() == len(read_cores(before))
    assert f"threads of a rank: {len(read_cores(before))}; rank 0: CPUs" in caplog.text


def test_fewer_threads_than_cores_stay_fewer(as_before):
    """Snakemake gave this job one thread; the other cores are other jobs'."""
    torch.set_num_threads(1)

    place(config(bind="numa"), ALONE, CPU)

    assert torch.get_num_threads() == 1


def test_bind_none_touches_nothing(as_before):
    torch.set_num_threads(len(allowed_cpus()) + 3)

    place(config(bind="none"), ALONE, CPU)

    assert torch.get_num_threads() == len(allowed_cpus()) + 3


def test_a_system_that_refuses_is_told_about():
    with pytest.raises(OSError, match=r"bind is numa, but .* CPUs 999999 .* write none"):
        bind({999_999})


def test_threads_of_the_job_are_divided_before_anything_computes(as_before, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "9")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")

    share_threads()

    assert torch.get_num_threads() == 2


def test_processes_numa_is_one_for_each_node_of_this_machine():
    nodes = count_nodes(read_cores(allowed_cpus()))

    assert count_processes(config(processes="numa")) == nodes
    command = launcher_command(config(launcher="srun", processes="numa"), ["s.py"])
    assert f"--ntasks-per-node={nodes}" in command


@pytest.mark.parametrize("processes", [0, "sockets"])
def test_other_numbers_of_processes_are_refused(processes):
    with pytest.raises(ConfigError, match=f"processes is {json.dumps(processes)}"):
        config(processes=processes)
