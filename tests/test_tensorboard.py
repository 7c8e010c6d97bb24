import json

import numpy as np
import pytest

from bert.train.metrics import MetricsFile

event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def values(step):
    return {"loss": 9.0 / step, "mfu": None, "samples": 32 * step, "batch_checksum": 77}


def curves(folder):
    """Tag to its points, as TensorBoard reads them; tags without points left out."""
    reader = event_accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0})
    reader.Reload()
    return {
        tag: [(event.step, event.value) for event in reader.Scalars(tag)]
        for tag in reader.Tags()["scalars"]
        if reader.Scalars(tag)
    }


def numbers(path):
    """The same of metrics.jsonl, in TensorBoard's fp32; a checksum is no curve."""
    found = {}
    for line in map(json.loads, path.read_text().splitlines()):
        kind, step = line.pop("kind"), line.pop("step")
        for name, value in line.items():
            if value is not None and name != "batch_checksum":
                found.setdefault(f"{kind}/{name}", []).append((step, float(np.float32(value))))
    return found


@pytest.fixture
def files(tmp_path):
    return tmp_path / "metrics.jsonl", tmp_path / "tensorboard"


def write(metrics, steps):
    for step in steps:
        metrics.write("train", step, **values(step))
        if step % 3 == 0:
            metrics.write("evaluate", step, mlm_loss=8.0 / step, nsp_loss=None)


def test_tensorboard_shows_the_numbers_of_the_log(files):
    metrics = MetricsFile(files[0], 0, active=True, tensorboard=files[1])
    write(metrics, range(1, 8))
    metrics.close()

    assert curves(files[1]) == numbers(files[0])
    assert set(curves(files[1])) == {"train/loss", "train/samples", "evaluate/mlm_loss"}


def test_a_run_that_goes_on_has_no_doubled_points_even_after_a_kill(files):
    """The first job is never closed, as if killed at step 8 behind its checkpoint of step 5."""
    killed = MetricsFile(files[0], 0, active=True, tensorboard=files[1])
    write(killed, range(1, 9))

    metrics = MetricsFile(files[0], 5, active=True, tensorboard=files[1])
    assert curves(files[1]) == numbers(files[0])
    write(metrics, range(6, 10))
    metrics.close()

    assert curves(files[1]) == numbers(files[0])
    assert [step for step, _ in curves(files[1])["train/loss"]] == list(range(1, 10))


def test_a_rollback_withdraws_what_it_undid(files):
    metrics = MetricsFile(files[0], 0, active=True, tensorboard=files[1])
    write(metrics, range(1, 8))
    metrics.rewind(4)
    metrics.write("rollback", 5, from_step=7)
    write(metrics, range(5, 10))
    metrics.rewind(8)
    write(metrics, range(9, 11))
    metrics.close()

    assert curves(files[1]) == numbers(files[0])
    assert curves(files[1])["rollback/from_step"] == [(5, 7.0)]


def test_a_run_that_starts_anew_shows_nothing_of_the_one_before(files):
    write(MetricsFile(files[0], 0, active=True, tensorboard=files[1]), range(1, 8))

    metrics = MetricsFile(files[0], 0, active=True, tensorboard=files[1])
    write(metrics, range(1, 3))

    assert curves(files[1]) == numbers(files[0])
    assert [step for step, _ in curves(files[1])["train/loss"]] == [1, 2]
