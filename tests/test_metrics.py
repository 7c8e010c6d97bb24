import json
import logging
import math
import re
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert.config import check
from bert.manifest import ROOT
from bert.train.config import PhaseConfig
from bert.train.metrics import Clock, MetricsFile, StepResult, exact_fields, process_peak_mb
from tests.conftest import PHASE, overlay

RESULT = StepResult(3.0, 0.5, 1.25, 400, 60, 1e9, 1e-3, None, False, 77, [])
SKIPPED = RESULT._replace(mlm_loss=math.nan, gradient_norm=math.inf, skipped=True)


def make_clock(**more):
    config = check(PhaseConfig, overlay(PHASE, {"log_every": 2}), where="a test")
    return Clock(config, 1e12, None, **more)


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def train(path, steps, *, step=0, results=None, **before):
    """Ticks through `steps` as the loop does."""
    metrics = MetricsFile(path, step, active=True)
    clock = make_clock(**before)
    for number in steps:
        clock.tick(number, (results or {}).get(number, RESULT), 1e-3, metrics)
    return clock


def exact(path):
    return [found for line in lines_of(path) if (found := exact_fields(line))]


def test_a_train_line_by_hand(tmp_path):
    """Two steps of 16 instances and 400 tokens each; a line is due at the second."""
    train(tmp_path / "m", [1, 2])

    (line,) = lines_of(tmp_path / "m")
    assert exact_fields(line) == {
        "kind": "train", "step": 2, "samples": 32, "tokens_seen": 800, "loss": 3.5,
        "mlm_loss": 3.0, "nsp_loss": 0.5, "learning_rate": 1e-3, "gradient_norm": 1.25,
        "loss_scale": None, "skipped_steps": 0, "batch_checksum": 77,
    }  # fmt: skip
    speed = line["tokens_per_s"]
    assert line["sequences_per_s"] == pytest.approx(speed * 32 / 800, rel=1e-6)
    assert line["step_time_s"] == pytest.approx(400 / speed, rel=1e-6)
    assert line["mfu"] == pytest.approx(speed / 400 * 1e9 / 1e12, rel=1e-6)
    assert line["elapsed_s"] == pytest.approx(800 / speed, rel=1e-6)
    assert 1 < line["peak_memory_mb"] <= process_peak_mb() + 1


def test_runs_that_train_alike_have_equal_exact_fields(tmp_path):
    """Whole, or in two jobs of which the first was killed behind its checkpoint of step 4."""
    train(tmp_path / "whole", range(1, 13))

    train(tmp_path / "parts", range(1, 8))
    train(tmp_path / "parts", range(5, 13), step=4, tokens=1600)

    assert exact(tmp_path / "parts") == exact(tmp_path / "whole")
    assert lines_of(tmp_path / "parts") != lines_of(tmp_path / "whole")


def test_what_a_job_did_is_not_what_the_training_did(tmp_path):
    metrics = MetricsFile(tmp_path / "m", 0, active=True)
    metrics.write("resume", 4, ranks=2)
    metrics.write("checkpoint", 8)
    metrics.write("spike", 9, loss=9.0, running_mean=3.0)

    assert exact(tmp_path / "m") == [
        {"kind": "spike", "step": 9, "loss": 9.0, "running_mean": 3.0}
    ]  # fmt: skip


def test_a_skipped_step_is_told_at_once_and_counted(tmp_path):
    train(tmp_path / "m", range(1, 5), results={1: SKIPPED, 4: SKIPPED})

    first, *others = exact(tmp_path / "m")
    assert first == {"kind": "skip", "step": 1, "loss": None} | {
        "gradient_norm": None, "loss_scale": None
    }  # fmt: skip
    assert [(o["kind"], o["step"], o.get("skipped_steps"), o["loss"]) for o in others] == [
        ("train", 2, 1, 3.5),
        ("skip", 4, None, None),
        ("train", 4, 2, None),
    ]


def test_a_rollback_leaves_the_lines_of_a_run_that_never_went_wrong_and_a_word(tmp_path):
    train(tmp_path / "whole", range(1, 13))

    metrics = MetricsFile(tmp_path / "back", 0, active=True)
    clock = make_clock()
    for step in (1, 2, 3, 4, 5, 6):
        clock.tick(step, SKIPPED if step > 4 else RESULT, 1e-3, metrics)
    metrics.rewind(4)
    clock.rewind(tokens=1600, skipped=0)
    metrics.write("rollback", 5, from_step=6, learning_rate_factor=0.5)
    for step in range(5, 13):
        clock.tick(step, RESULT, 1e-3, metrics)

    told = {"kind": "rollback", "step": 5, "from_step": 6, "learning_rate_factor": 0.5}
    assert [line for line in exact(tmp_path / "back") if line != told] == exact(tmp_path / "whole")
    assert exact(tmp_path / "back")[2] == told
    assert clock.elapsed_s > lines_of(tmp_path / "back")[-1]["elapsed_s"] - 1e-4


def test_elapsed_time_goes_on_over_jobs_and_leaves_out_pauses(tmp_path):
    clock, metrics = make_clock(elapsed_s=100.0), MetricsFile(tmp_path / "m", 4, active=True)
    clock.pause()
    clock.tick(5, RESULT, 1e-3, metrics)
    assert clock.elapsed_s == 100.0
    clock.pause()
    clock.go()
    clock.tick(6, RESULT, 1e-3, metrics)
    assert 100.0 < clock.elapsed_s < 200.0
    assert lines_of(tmp_path / "m")[-1]["elapsed_s"] == pytest.approx(clock.elapsed_s)


@pytest.mark.parametrize(("by_steps", "left"), [(50, 7), (3, 3), (math.nan, 7)])
def test_a_budget_of_time_bounds_the_time_left(by_steps, left):
    config = check(PhaseConfig, overlay(PHASE, {"budget_hours": 0.03}), where="a test")
    clock = Clock(config, 1e12, None, elapsed_s=101.0)

    assert clock._left_s(by_steps) == pytest.approx(left)


def test_a_step_that_was_not_measured_has_no_speed(tmp_path):
    clock, metrics = make_clock(), MetricsFile(tmp_path / "m", 0, active=True)
    clock.tick(1, RESULT, 1e-3, metrics)
    clock.tick(2, RESULT, 1e-3, metrics)
    clock.pause()
    clock._config = check(PhaseConfig, PHASE, where="a test")  # a line is due at every step
    clock.tick(3, RESULT, 1e-3, metrics)

    assert [line["mfu"] is None for line in lines_of(tmp_path / "m")] == [False, True]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    steps=st.lists(st.integers(0, 9), max_size=12).map(sorted),
    resumed=st.integers(0, 9),
    half=st.sampled_from(["", "{", '{"kind": "train", "step": 0', "\x00\x00"]),
)
def test_what_stays_is_what_a_filter_of_all_whole_lines_keeps(
    tmp_path_factory, steps, resumed, half
):
    path = tmp_path_factory.mktemp("cut") / "m"
    lines = [json.dumps({"kind": "train", "step": step, "at": i}) for i, step in enumerate(steps)]
    path.write_text("".join(line + "\n" for line in lines) + half)

    MetricsFile(path, resumed, active=True)

    kept = [line for line in lines if json.loads(line)["step"] <= resumed]
    assert path.read_text().splitlines() == kept


def test_a_damaged_line_is_refused_with_its_place(tmp_path):
    (tmp_path / "m").write_text('{"kind":"train","step":1}\n\x00\x00\n')

    with pytest.raises(ValueError, match=r"m has a damaged line at byte 26 .* Delete the file"):
        MetricsFile(tmp_path / "m", 1, active=True)


def test_only_the_active_rank_touches_files(tmp_path):
    metrics = MetricsFile(tmp_path / "m", 3, active=False, tensorboard=tmp_path / "t")
    metrics.write("train", 1, loss=math.nan)
    metrics.rewind(0)
    metrics.sync()
    metrics.close()

    assert not list(tmp_path.iterdir())


def test_a_number_that_json_cannot_hold_is_refused(tmp_path):
    metrics = MetricsFile(tmp_path / "m", 0, active=True)
    metrics.write("train", 1, loss=1.23456789)

    with pytest.raises(ValueError, match="not JSON compliant"):
        metrics.write("train", 2, loss=math.nan)

    metrics.sync()
    assert lines_of(tmp_path / "m") == [{"kind": "train", "step": 1, "loss": 1.234568}]


def test_an_evaluation_is_told_in_the_log(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    values = {"mlm_loss": 4.25, "mlm_accuracy": 0.3125, "nsp_loss": None, "nsp_accuracy": None}

    MetricsFile(tmp_path / "m", 0, active=True).write("evaluate", 6, **values)

    assert caplog.messages == ["held out at step 6: mlm 4.250 (31.2%)"]


def documented():
    """Kind to field to the column `exact` of the table in docs/training.md."""
    found = {}
    section = (ROOT / "docs/training.md").read_text("utf-8").partition("## metrics.jsonl")[2]
    for row in re.findall(r"^\| (.+) \|$", section.partition("\n## ")[0], re.MULTILINE):
        kinds, name, *_, is_exact = [cell.strip() for cell in row.split("|")]
        for kind in re.findall(r"`(\w+)`", kinds):
            found.setdefault(kind, {})[name.strip("`")] = is_exact
    return found


def test_the_documented_names_are_the_written_ones(tmp_path):
    train(tmp_path / "m", range(1, 3), results={1: SKIPPED})
    skip, line = lines_of(tmp_path / "m")
    table = documented()

    assert set(table["train"]) == set(line) - {"kind", "step"}
    assert set(table["skip"]) == set(skip) - {"kind", "step"}
    for kind, fields in table.items():
        for name, is_exact in fields.items():
            assert (name in exact_fields({"kind": kind, name: 0})) == (is_exact == "yes"), name


def test_nothing_heavy_is_imported_before_it_is_wanted():
    """The report reads this module's law, and TensorBoard is wanted on one rank only."""
    program = (
        "import sys, bert.train.metrics\n"
        "print([n for n in ('torch', 'tensorboard') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
