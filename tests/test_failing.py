"""What the others see, and when all is over, when one of several real ranks dies."""

import pytest
import torch

from bert.ranks.failing import failing, lost_another_rank
from bert.ranks.ranks import Ranks
from bert.ranks.status import HUNG
from tests.rank_processes import first_traceback, launch

BODY = """
def guilty(step):
    if ranks.rank == 1 and step == 3:
        {how}

dog = Watchdog(2.0, ranks.rank)
with failing(ranks, Path(sys.argv[1], "log")):
    join(ranks, CPU, timeout_s=60)
    for step in range(1, 1000):
        ranks.sum([1.0], CPU)
        print("ready", flush=True)
        dog.kick(step)
        guilty(step)
        time.sleep(0.05)
    leave(ranks)
"""
LIMIT_S = 60  # seconds from the start of the launcher, the import of torch included


def test_a_rank_that_raises_ends_the_job_and_its_traceback_stands_first(tmp_path):
    ended = launch(tmp_path, BODY.format(how="raise RuntimeError('the first cause')"))

    assert ended.status == 1
    assert ended.seconds < LIMIT_S
    assert ended.text.count("Traceback") == 1
    assert first_traceback(ended.text).endswith("RuntimeError: the first cause")
    assert "in guilty" in first_traceback(ended.text)
    before = ended.text.partition("Traceback")[0].splitlines()[-1]
    assert before.startswith("ERROR rank 1 of 2 on ")
    assert "rank 1 with 1" in ended.text.splitlines()[-1]
    assert "RuntimeError: the first cause" in (tmp_path / "log").read_text()


def test_a_rank_that_hangs_ends_the_job_and_shows_its_stack_first(tmp_path):
    ended = launch(tmp_path, BODY.format(how="time.sleep(500)"))

    assert ended.status == HUNG
    assert ended.seconds < LIMIT_S
    first = next(line for line in ended.text.splitlines() if line.startswith("rank "))
    assert first.startswith("rank 1 makes no progress after step 3")
    assert "in guilty" in ended.text


def test_a_rank_that_is_killed_ends_the_job_and_the_others_say_one_line_each(tmp_path):
    """The ranks catch SIGTERM, as in training, so that the launcher's does not end them."""
    body = "signal.signal(signal.SIGTERM, lambda *_: None)\n" + BODY

    ended = launch(tmp_path, body.format(how="os.kill(os.getpid(), signal.SIGKILL)"))

    assert ended.status == 1
    assert ended.seconds < LIMIT_S
    assert "Traceback" not in ended.text
    lines = [line for line in ended.text.splitlines() if "lost another rank" in line]
    assert len(lines) == 1
    assert lines[0].startswith("ERROR rank 0 of 2 on ")
    assert "Connection" in lines[0]
    assert "rank 1 by SIGKILL" in ended.text.splitlines()[-1]


def test_an_error_of_a_rank_alone_goes_its_usual_way():
    with pytest.raises(KeyError, match="usual"), failing(Ranks(0, 1, 0)):
        raise KeyError("usual")


def test_exits_pass():
    with pytest.raises(SystemExit, match="75"), failing(Ranks(0, 2, 0)):
        raise SystemExit(75)


def test_without_a_process_group_no_rank_is_lost():
    """A download that fails on one rank is that rank's own fault."""
    assert not torch.distributed.is_initialized()
    assert not lost_another_rank(RuntimeError("Connection closed by peer"))
