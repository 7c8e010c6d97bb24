import os
import subprocess
import sys
import time

import pytest

from bert import leash

FOLLOWER = """
import os, sys, time
from bert import leash
leash.follow(os.environ)
print("following", flush=True)
time.sleep(60)
"""


def test_a_job_ends_soon_after_its_workflow_is_killed():
    workflow = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    environment = dict(os.environ)
    leash.hand_over(environment)
    environment["BERT_WORKFLOW"] = environment["BERT_WORKFLOW"].replace(
        f":{os.getpid()}", f":{workflow.pid}"
    )
    job = subprocess.Popen(
        [sys.executable, "-c", FOLLOWER], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert job.stdout is not None
    assert job.stdout.readline() == "following\n"

    time.sleep(1)
    assert job.poll() is None
    workflow.kill()
    workflow.wait()

    assert job.wait(timeout=20) == 1


def test_a_process_without_a_workflow_follows_nobody():
    assert leash.follow({}) is None


def test_a_process_on_another_host_follows_nobody():
    assert leash.follow({"BERT_WORKFLOW": "some-other-host:1"}) is None


def test_the_workflow_names_itself():
    environment = {}

    leash.hand_over(environment)

    assert environment["BERT_WORKFLOW"].endswith(f":{os.getpid()}")
    assert leash.follow(environment, end=lambda _: None) is not None


HOLDER = """
import sys, time
from pathlib import Path
from bert import leash
leash.lock(Path(sys.argv[1]))
print("locked", flush=True)
time.sleep(60)
"""


def test_a_folder_is_locked_until_its_workflow_is_killed(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "locked\n"

    with pytest.raises(leash.LockedError, match="Another snakemake is working on"):
        leash.lock(tmp_path)
    holder.kill()
    holder.wait()

    leash.lock(tmp_path)
