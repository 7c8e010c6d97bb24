"""The loop of a phase: what it learns, hands over, counts and writes."""

import math
import signal
import threading

import pytest
import torch

from bert.checkpoints.checkpoint import CheckpointError, list_steps, load_checkpoint, step_folder
from bert.config import check
from bert.data.batches import cut_stream, read_steps
from bert.ranks.ranks import Ranks
from bert.train.config import StopConfig
from bert.train.guard import Guard
from bert.train.pretrain import learning_rate
from bert.train.progress import Progress
from bert.train.stop import StopSignal
from tests.conftest import ADAMW, KFAC
from tests.training import Stop, final_digests, lines, metrics, run


def test_training_learns_to_count(tmp_path, make_setup):
    phase = {"steps": 120, "learning_rate": 1e-2, "optimizer": ADAMW, "evaluation": {"every": 120}}
    setup = make_setup(phase | {"log_every": 40})

    run(setup, tmp_path / "run")

    (_, last) = metrics(tmp_path / "run", "evaluate", "mlm_loss")[-1]
    assert last < 0.85 * math.log(45)  # guessing among the 45 ordinary tokens costs ln(45)


@pytest.mark.parametrize(
    ("start", "moments", "counter"),
    [("previous", True, 1), ("continued", True, 13), ("weights", False, 1)],
)
def test_a_phase_starts_from_the_one_before(tmp_path, make_setup, start, moments, counter):
    """Read from the optimizer's state after one step so small that no weight moves."""
    first = make_setup({"kfac": KFAC})
    run(first, tmp_path / "one")
    checkpoint = step_folder(tmp_path / "one", 12)

    change = {"start": start, "steps": 1, "learning_rate": 1e-30, "kfac": KFAC}
    run(make_setup(change, number=2), tmp_path / "two", previous=checkpoint)

    before, after = load_checkpoint(checkpoint), load_checkpoint(step_folder(tmp_path / "two", 1))
    assert all(torch.equal(before.model[name], tensor) for name, tensor in after.model.items())
    assert after.state["optimizer_step"] == counter
    assert after.state["totals"]["steps"] == 1
    name = "exp_avg_sq:bert.embeddings.word_embeddings.weight"
    kept = (after.optimizer[name] >= 0.999 * before.optimizer[name] - 1e-12).all()
    assert bool(kept) == moments
    assert before.optimizer[name].max() > 0
    assert int(after.preconditioner["updates"]) == (13 if moments else 1)


def test_the_two_phases_see_other_samples(tmp_path, make_setup):
    setups = make_setup({"steps": 1}), make_setup({"steps": 1}, number=2)
    digests = {run(s, tmp_path / str(s.phase))[0].samples_digest for s in setups}

    assert len(digests) == 2


def test_a_checkpoint_of_another_model_is_refused(tmp_path, make_setup):
    run(make_setup({"steps": 1}), tmp_path / "one")

    other = make_setup({"start": "previous"}, {"intermediate_size": 64}, number=2)

    with pytest.raises(CheckpointError, match=r"another model: model is .*'intermediate_size': 32"):
        run(other, tmp_path / "two", previous=step_folder(tmp_path / "one", 1))


def test_only_the_newest_checkpoints_and_kept_multiples_stay(tmp_path, make_setup):
    kept = {"every_steps": 2, "keep_last": 2, "keep_every": 6}

    run(make_setup(runtime={"checkpoint": kept}), tmp_path / "run")

    assert list_steps(tmp_path / "run") == [6, 10, 12]


def test_checkpoints_may_be_asked_for_by_samples(tmp_path, make_setup):
    """Every 40 instances from 60 on, at 16 a step: behind steps 5, 8, 10, and the last."""
    samples = {"every_steps": None, "every_samples": 40, "from_samples": 60, "keep_last": 9}

    run(make_setup(runtime={"checkpoint": samples}), tmp_path / "run")

    assert list_steps(tmp_path / "run") == [5, 8, 10, 12]


def test_evaluations_may_be_asked_for_by_samples_and_the_last_step_has_one(tmp_path, make_setup):
    """Every 70 instances from 100 on, at 16 a step: behind step 9, and the last."""
    setup = make_setup({"evaluation": {"every": 70, "unit": "samples", "from_samples": 100}})

    run(setup, tmp_path / "run")

    assert [step for step, _ in metrics(tmp_path / "run", "evaluate", "mlm_loss")] == [9, 12]


def test_totals_count_every_token_once(tmp_path, make_setup):
    setup = make_setup({"steps": 5})

    progress, _ = run(setup, tmp_path / "run")

    streams = list(read_steps(setup.train, range(1, 6), setup.reading()))
    micro = [m for step in streams for m in step.micro_batches]
    assert progress.totals == {
        "steps": 5,
        "sequences": 80,
        "tokens": sum(len(m.input_ids) for m in micro),
        "masked_tokens": sum(len(m.masked_lm_ids) for m in micro),
        "skipped_steps": 0,
    }


def test_a_stream_cut_finely_has_one_instance_each(make_setup):
    setup = make_setup(runtime={"micro_batch_tokens": 10_000})
    batch = next(iter(read_steps(setup.train, range(1, 2), setup.reading())))

    assert len(cut_stream(batch.micro_batches[0], 1)) == 16


def timed(make_setup, hours, steps):
    schedule = make_setup().config.schedule.model_dump()
    schedule |= {"name": "linear", "warmup_proportion": 0.1, "degree": None}
    return make_setup({"budget_hours": hours, "schedule": schedule, "steps": steps})


def test_the_learning_rate_of_a_time_budget_follows_the_clock(make_setup):
    """With a warm-up of a tenth and a linear way down, half of the budget is 5/9 of the peak."""
    setup = timed(make_setup, 1.0, 1000)
    progress = Progress(Guard(setup.config.guard))

    progress.elapsed_s = 1800 * 99 / 100  # step 100 ends at half of the budget
    assert learning_rate(setup, progress, 100) == pytest.approx(1e-3 * 5 / 9, rel=1e-6)
    progress.elapsed_s = 3600.0
    assert learning_rate(setup, progress, 1000) == 0


def test_a_time_budget_ends_the_phase_and_survives_interruptions(tmp_path, make_setup):
    """Half a second of training in jobs of one step: far fewer than the steps allowed."""
    setup = timed(make_setup, 0.5 / 3600, 100_000)
    jobs = 1
    while run(setup, tmp_path / "run", stop=Stop(1))[0] is None:
        jobs += 1
        assert jobs < 500
    last = list_steps(tmp_path / "run")[-1]

    assert load_checkpoint(step_folder(tmp_path / "run", last)).state["elapsed_s"] >= 0.5
    assert last == jobs


def test_ranks_scale_the_learning_rate_as_asked(make_setup):
    rates = {}
    for kind in ("none", "square_root", "linear"):
        setup = make_setup({"learning_rate_scaling": kind}, ranks=Ranks(0, 4, 0))
        rates[kind] = learning_rate(setup, Progress(Guard(setup.config.guard)), 3)

    assert rates["square_root"] == 2 * rates["none"]
    assert rates["linear"] == 4 * rates["none"]


def test_kfac_wants_eager_execution(make_setup, tmp_path):
    with pytest.raises(ValueError, match=r"runtime.execution is graph; K-FAC looks at"):
        run(make_setup({"kfac": KFAC}, runtime={"execution": "graph"}), tmp_path / "run")


@pytest.fixture
def handlers():
    """Puts the handlers of signals back."""
    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGUSR1)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def stop_config(**changes):
    return check(StopConfig, {"minutes": None, "steps": None} | changes, where="a test")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_asks_to_stop_after_the_step(handlers, number):
    stop = StopSignal(stop_config())
    assert not stop.asked(10**9)

    signal.raise_signal(number)

    assert stop.asked(1)


def test_a_job_ends_after_its_steps_or_its_minutes(handlers):
    assert not StopSignal(stop_config(steps=3)).asked(2)
    assert StopSignal(stop_config(steps=3)).asked(3)
    assert StopSignal(stop_config(minutes=1e-9)).asked(1)
    assert not StopSignal(stop_config(minutes=60)).asked(1)


def test_metrics_of_two_equal_runs_are_equal_line_by_line(tmp_path, make_setup):
    for name in ("one", "two"):
        run(make_setup(), tmp_path / name)

    assert lines(tmp_path / "one") == lines(tmp_path / "two")
    assert final_digests(tmp_path / "one") == final_digests(tmp_path / "two")


def test_no_thread_is_left_behind_by_a_stopped_run(tmp_path, make_setup):
    run(make_setup(), tmp_path / "run", stop=Stop(1))

    names = ("prefetch", "checkpoint", "watchdog")
    threads = [thread for thread in threading.enumerate() if thread.name in names]
    for thread in threads:
        thread.join(timeout=5)
    assert not any(thread.is_alive() for thread in threads)
