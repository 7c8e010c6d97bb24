"""The guard inside the loop: a learning rate that really breaks the weights, and kills."""

import json
import logging
from contextlib import suppress

import pytest

from bert.checkpoints.checkpoint import list_steps, load_checkpoint, step_folder
from bert.train.guard import NonFiniteError
from tests.conftest import ADAMW
from tests.training import Stop, final_digests, lines, run

# The weights grow by this rate with each step, until step 4 overflows.
WILD = {"learning_rate": 1e4, "optimizer": ADAMW, "steps": 8, "evaluation": {"every": 100}}
BACK = {"max_skipped": 1, "then": "rollback", "max_rollbacks": 2, "rollback_factor": 1e-6}
RUNTIME = {"checkpoint": {"every_steps": 2, "keep_last": 1}}


class KilledError(Exception):
    """The end of a job at a moment at which it saves nothing."""


class Kill:
    """Ends the job without a checkpoint when it is asked for the `after`-th time."""

    def __init__(self, after):
        self.left = after

    def asked(self, _steps):
        self.left -= 1
        if not self.left:
            raise KilledError
        return False


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("undisturbed") / "run"


@pytest.fixture
def undisturbed(kept, make_setup):
    """The folder of the run that nothing interrupts, trained once."""
    if not kept.exists():
        run(make_setup(WILD | {"guard": BACK}, runtime=RUNTIME), kept)
    return kept


def test_a_run_goes_back_and_ends_with_finite_weights(undisturbed):
    events = [line for line in lines(undisturbed) if line["kind"] != "evaluate"]

    assert [(event["kind"], event["step"]) for event in events] == [
        ("train", 1), ("train", 2), ("rollback", 3), *(("train", n) for n in range(3, 9)),
    ]  # fmt: skip
    assert events[2]["from_step"] == 5
    rates = [event["learning_rate"] for event in events if event["kind"] == "train"]
    assert rates[:3] == pytest.approx([5e3, 1e4 * (7 / 8) ** 0.5, 1e4 * 1e-6 * (6 / 8) ** 0.5])
    final = load_checkpoint(step_folder(undisturbed, 8))
    assert all(tensor.isfinite().all() for tensor in final.model.values())
    assert final.state["guard"]["rollbacks"] == 1


def test_the_first_and_the_last_step_of_the_row_are_reported(undisturbed):
    folder = undisturbed.parent / "run-output" / "diagnostics"

    assert sorted(path.name for path in folder.iterdir()) == ["phase1-step4", "phase1-step5"]
    report = json.loads((folder / "phase1-step5" / "report.json").read_text())
    assert report["verdict"] == "rollback"
    assert report["gradients"]["not_finite"]
    assert all(found["not_finite"] == 0 for found in report["weights"].values())


@pytest.mark.parametrize(
    "jobs",
    [
        [(Stop, 3)],  # before the bad steps: saves step 3, which is not in the schedule
        [(Stop, 4)],  # between them: saves nothing
        [(Kill, 4)],
        [(Kill, 5)],  # right behind the rollback
        [(Stop, 4), (Kill, 6), (Stop, 1)],
    ],
    ids=lambda jobs: " ".join(f"{kind.__name__} {after}" for kind, after in jobs),
)
def test_an_interrupted_run_goes_back_to_where_the_undisturbed_one_does(
    make_setup, undisturbed, tmp_path, jobs
):
    setup = make_setup(WILD | {"guard": BACK}, runtime=RUNTIME)
    for kind, after in jobs:
        with suppress(KilledError):
            run(setup, tmp_path / "run", stop=kind(after))

    run(setup, tmp_path / "run")

    assert final_digests(tmp_path / "run") == final_digests(undisturbed)
    assert lines(tmp_path / "run") == lines(undisturbed)


def test_a_run_that_may_not_go_back_ends_with_a_report_and_its_good_checkpoint(
    make_setup, tmp_path, caplog
):
    setup = make_setup(WILD, runtime=RUNTIME)

    for _ in range(2):  # started again, it meets the same step
        with caplog.at_level(logging.WARNING), pytest.raises(NonFiniteError, match="Step 4 has"):
            run(setup, tmp_path / "run")

    assert list_steps(tmp_path / "run") == [2]
    folder = tmp_path / "run-output" / "diagnostics" / "phase1-step4"
    assert len((folder / "instances.csv").read_text().splitlines()) == 1 + 16
    assert caplog.text.count("step 4 has loss nan") == 2
