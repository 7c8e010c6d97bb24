import itertools
import os
import shlex
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from bert.config import ConfigError, check
from bert.ranks.config import LaunchConfig
from bert.ranks.hosts import passed_on, read_hosts
from bert.ranks.launch import launcher_command, main, threads_of_a_rank
from bert.ranks.status import UNFINISHED
from tests.rank_processes import LAUNCH, first_traceback, launch

SAVE_WHEN_ASKED = """
asked = []
for number in (signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, lambda n, _: asked.append(n))
with failing(ranks):
    join(ranks, CPU, timeout_s=60)
    print("ready", ranks.rank, flush=True)
    while not ranks.any(bool(asked), CPU):
        time.sleep(0.02)
    time.sleep(0.5 * ranks.rank)  # the last one is still saving when the first would like to leave
    Path(sys.argv[1], f"saved{ranks.rank}").write_text("")
    leave(ranks)
    os.kill(os.getpid(), signal.SIGTERM)  # as a launcher does when the other rank has ended
sys.exit(75)
"""
RAISE = """
with failing(ranks):
    join(ranks, CPU, timeout_s=60)
    ranks.barrier()
    if ranks.rank == 1:
        raise RuntimeError("the first cause")
    ranks.barrier()
"""
FAKE_SSH = """#!/bin/sh
# Runs the last argument here, as sshd would there: without this shell's folder and variables.
for command; do :; done
cd /
exec env -i HOME="$HOME" SSH_HOST="$3" sh -c "$command"
"""
ROOT_MAY = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
mpirun = pytest.mark.skipif(shutil.which("mpirun") is None, reason="no mpirun here")


def config(**changes):
    return check(LaunchConfig, LAUNCH | changes, where="a test")


@pytest.fixture
def over_ssh(tmp_path):
    """Settings for two hosts that are this machine, behind an ssh that runs commands here."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ssh").write_text(FAKE_SSH)
    (tmp_path / "bin" / "ssh").chmod(0o755)
    (tmp_path / "hosts").write_text("localhost slots=1  # the first\n\n127.0.0.1\n")
    return {
        "launch": {"launcher": "ssh", "hosts": str(tmp_path / "hosts"), "processes": 1},
        "environment": {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"},
    }


def saved(folder):
    return sorted(path.name for path in folder.glob("saved*"))


def test_torchrun_passes_a_stop_signal_on_and_keeps_the_status(tmp_path):
    """Plain torchrun dies of SIGUSR1, and makes 1 of 75."""
    ended = launch(tmp_path, SAVE_WHEN_ASKED, send=signal.SIGUSR1)

    assert ended.status == UNFINISHED
    assert saved(tmp_path) == ["saved0", "saved1"]
    assert "Traceback" not in ended.text


@pytest.mark.slow
def test_torchrun_passes_sigterm_on_too(tmp_path):
    ended = launch(tmp_path, SAVE_WHEN_ASKED, send=signal.SIGTERM)

    assert (ended.status, saved(tmp_path)) == (UNFINISHED, ["saved0", "saved1"])


@pytest.mark.slow
def test_a_stop_signal_before_the_ranks_have_started_loses_nothing(tmp_path):
    body = "print('ready', flush=True)\ntime.sleep(60)\n"

    ended = launch(tmp_path, body, send=signal.SIGTERM)

    assert ended.status == UNFINISHED
    assert ended.seconds < 40


@pytest.mark.slow
def test_ranks_end_with_a_launcher_that_is_killed(tmp_path):
    body = "Path(sys.argv[1], f'{os.getpid()}.pid').touch()\nprint('ready', flush=True)\n"

    ended = launch(tmp_path, body + "time.sleep(120)\n", send=signal.SIGKILL)

    assert ended.status == -signal.SIGKILL
    processes = [path.stem for path in tmp_path.glob("*.pid")]
    assert len(processes) == 2
    assert wait_for(lambda: not any(Path("/proc", name).exists() for name in processes))


def test_ssh_starts_ranks_on_every_host_and_stops_them_all(tmp_path, over_ssh):
    body = "print(os.environ['SSH_HOST'], Path.cwd(), flush=True)\n" + SAVE_WHEN_ASKED

    ended = launch(tmp_path, body, send=signal.SIGTERM, **over_ssh)

    assert ended.status == UNFINISHED, ended.text
    assert saved(tmp_path) == ["saved0", "saved1"]
    here = Path.cwd()
    assert {f"localhost: localhost {here}", f"127.0.0.1: 127.0.0.1 {here}"} <= set(
        ended.text.splitlines()
    )
    assert {"localhost: ready 0", "127.0.0.1: ready 1"} <= set(ended.text.splitlines())


@pytest.mark.slow
def test_a_failure_on_one_host_ends_the_others_and_stands_first(tmp_path, over_ssh):
    ended = launch(tmp_path, RAISE, **over_ssh)

    assert ended.status == 1
    assert ended.seconds < 60
    traceback = first_traceback(ended.text.replace("127.0.0.1: ", ""))
    assert traceback.endswith("RuntimeError: the first cause")
    assert ended.text.count("Traceback") == 1


@pytest.mark.slow
def test_ranks_on_other_hosts_end_with_a_launcher_that_is_killed(tmp_path, over_ssh):
    body = "Path(sys.argv[1], f'{os.getpid()}.pid').touch()\nprint('ready', flush=True)\n"
    body += "signal.signal(signal.SIGTERM, lambda *_: None)\ntime.sleep(120)\n"

    launch(tmp_path, body, send=signal.SIGKILL, **over_ssh)

    processes = [path.stem for path in tmp_path.glob("*.pid")]
    assert processes
    assert wait_for(lambda: not any(Path("/proc", name).exists() for name in processes))


def test_an_ssh_that_fails_is_named(tmp_path, over_ssh):
    (tmp_path / "bin" / "ssh").write_text("#!/bin/sh\necho 'Permission denied' >&2\nexit 255\n")

    ended = launch(tmp_path, "", **over_ssh)

    assert ended.status == 255
    assert "localhost: Permission denied" in ended.text
    assert "localhost: ssh itself failed; try: ssh localhost true" in ended.text


@mpirun
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_mpirun_passes_a_stop_signal_on_and_keeps_the_status(tmp_path, number):
    how = {"launch": {"launcher": "mpirun"}, "environment": ROOT_MAY}

    ended = launch(tmp_path, SAVE_WHEN_ASKED, send=number, **how)

    assert ended.status == UNFINISHED, ended.text
    assert saved(tmp_path) == ["saved0", "saved1"]


@mpirun
@pytest.mark.slow
def test_mpirun_ends_all_ranks_when_one_fails(tmp_path):
    (tmp_path / "hosts").write_text("localhost slots=2\n")
    hosts = str(tmp_path / "hosts")

    ended = launch(
        tmp_path, RAISE, launch={"launcher": "mpirun", "hosts": hosts}, environment=ROOT_MAY
    )

    assert ended.status == 1
    assert first_traceback(ended.text).endswith("RuntimeError: the first cause")
    assert ended.text.count("Traceback") == 1


def test_one_process_is_python_itself(tmp_path):
    body = "print(os.getpid(), ranks, sys.argv[2:])\nsys.exit(75)\n"
    ended = launch(tmp_path, body, processes=1)

    assert ended.status == UNFINISHED
    assert "Ranks(rank=0, world=1, local_rank=0)" in ended.text


def test_srun_starts_so_many_tasks_on_each_node_and_ends_with_the_first_failure():
    command = launcher_command(
        config(launcher="srun", options="--nodes=2 --cpu-bind='map_cpu:0, 1'"), ["s.py", "--x"]
    )

    assert shlex.join(command) == (
        "srun --kill-on-bad-exit=1 --ntasks-per-node=2 --nodes=2 '--cpu-bind=map_cpu:0, 1' "
        f"{sys.executable} s.py --x"
    )


def test_mpirun_on_one_machine_binds_no_rank_to_a_core():
    command = launcher_command(config(launcher="mpirun"), ["s.py"])

    assert command == ["mpirun", "-np", "2", "--bind-to", "none", sys.executable, "s.py"]


def test_ranks_of_mpirun_share_the_threads_of_the_job(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "9")

    assert [threads_of_a_rank(n) for n in (1, 4, 16)] == [9, 2, 1]


def test_options_of_mpirun_decide_on_binding():
    command = launcher_command(config(launcher="mpirun", options="--bind-to socket"), ["s.py"])

    assert command.count("--bind-to") == 1
    assert "socket" in command


def test_mpirun_over_hosts_names_the_meeting_point(tmp_path, monkeypatch):
    monkeypatch.setenv("NCCL_DEBUG", "INFO")
    (tmp_path / "hosts").write_text("a\nb\n")

    command = launcher_command(config(launcher="mpirun", hosts=str(tmp_path / "hosts")), ["s.py"])

    assert command[:7] == ["mpirun", "-np", "4", "--host", "a:2,b:2", "--map-by", "ppr:2:node"]
    exported = {after for word, after in itertools.pairwise(command) if word == "-x"}
    assert {"MASTER_ADDR=a", "NCCL_DEBUG", "PATH"} <= exported


def test_a_launcher_that_is_not_there_is_named(tmp_path):
    ended = launch(tmp_path, "", launch={"launcher": "srun"}, environment={"PATH": str(tmp_path)})

    assert ended.status == 1
    assert "runtime.launch.launcher is srun, which is not on this machine's PATH" in ended.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"launcher": "ssh"}, "hosts is null with launcher ssh; name a file"),
        ({"hosts": "x"}, "hosts is x with launcher torchrun, which reads none"),
        ({"launcher": "srun", "hosts": "x"}, "hosts is x with launcher srun, which reads none"),
    ],
)
def test_hosts_belong_to_ssh_and_mpirun(changes, message):
    with pytest.raises(ConfigError, match=message):
        config(**changes)


def test_a_host_file_is_one_host_a_line(tmp_path):
    (tmp_path / "hosts").write_text("# cluster\nn1 slots=4 # big\n\n  10.0.0.2\nn3 slots = 2\n")

    assert read_hosts(tmp_path / "hosts", 2) == ["n1", "10.0.0.2", "n3"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no host"),
        ("# n1\n", "names no host"),
        ("n1 n2\n", "line 1 is 'n1 n2'; expected a host"),
        ("n1\n-oProxyCommand=x\n", "line 2 is '-oProxyCommand=x'"),
        ("n1 slots=1\n", "line 1 gives n1 1 slots, fewer than runtime.launch.processes 2"),
        ("n1\nn1\n", "line 2 names n1 again"),
    ],
)
def test_what_is_no_host_file_is_refused(tmp_path, text, message):
    (tmp_path / "hosts").write_text(text)

    with pytest.raises(ValueError, match=message):
        read_hosts(tmp_path / "hosts", 2)


def test_a_missing_host_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"runtime\.launch\.hosts is .*hosts, which is no"):
        read_hosts(tmp_path / "hosts", 2)


def test_only_what_steers_the_computation_goes_to_other_machines():
    variables = {"PATH": "/bin", "OMP_NUM_THREADS": "4", "NCCL_DEBUG": "INFO", "PYTHONPATH": "."}
    others = {"HOME": "/h", "AWS_SECRET_ACCESS_KEY": "s", "MY_PATH": "x", "OMP_": "", "RANK": "0"}

    assert passed_on(variables | others) == variables


def test_a_section_without_launch_is_refused(tmp_path):
    (tmp_path / "runtime.json").write_text("{}")

    with pytest.raises(ConfigError, match="launch"):
        main(["--section", str(tmp_path / "runtime.json"), "--", "s.py"])


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
    return condition()
