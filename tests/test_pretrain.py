import json
import math
import os
import signal
import subprocess
import sys
import threading

import pytest
import torch

from bert.checkpoints.checkpoint import (
    CheckpointError,
    checkpoint_digests,
    list_steps,
    load_checkpoint,
    step_folder,
)
from bert.data.batches import cut_stream, read_steps
from bert.train.metrics import MetricsFile
from bert.train.pretrain import _reading, build, pretrain, train_step
from bert.train.stop import StopSignal
from tests.conftest import ADAMW


class Stop:
    """A stop flag that rises after so many questions."""

    def __init__(self, after=math.inf):
        self.after = after

    @property
    def received(self):
        self.after -= 1
        return self.after < 0


def run(setup, running, previous=None, stop=None):
    model, optimizer = build(setup)
    totals = pretrain(
        setup, model, optimizer, running=running, previous=previous, stop=stop or Stop()
    )
    return totals, model


def final_digests(setup, running):
    return checkpoint_digests(step_folder(running, setup.config.steps))


def metrics(running, kind, key="loss"):
    lines = [json.loads(line) for line in (running / "metrics.jsonl").read_text().splitlines()]
    return [(line["step"], line[key]) for line in lines if line["kind"] == kind]


@pytest.mark.parametrize("optimizer", ["lamb", "adamw"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("stop_at", [1, 5, 11])
def test_interrupted_training_ends_as_if_it_had_not_been(
    tmp_path, make_setup, optimizer, precision, stop_at
):
    phase = {"optimizer": ADAMW} if optimizer == "adamw" else {}
    setup = make_setup(phase, runtime={"precision": precision})
    run(setup, tmp_path / "whole")

    stopped, _ = run(setup, tmp_path / "parts", stop=Stop(after=stop_at - 1))
    run(setup, tmp_path / "parts")

    assert stopped is None
    assert final_digests(setup, tmp_path / "parts") == final_digests(setup, tmp_path / "whole")
    for kind, key in [("train", "loss"), ("evaluate", "mlm_loss")]:
        expected = metrics(tmp_path / "whole", kind, key)
        assert metrics(tmp_path / "parts", kind, key) == expected
    assert len(metrics(tmp_path / "parts", "train")) == 12


def test_a_run_killed_between_checkpoints_repeats_the_lost_steps_exactly(tmp_path, make_setup):
    setup = make_setup()
    run(setup, tmp_path / "whole")

    run(setup, tmp_path / "parts", stop=Stop(after=6))  # saves at 4 and, stopping, at 7
    killed = step_folder(tmp_path / "parts", 7)
    killed.rename(killed.with_name(".step-00000007.tmp"))  # as if killed while writing
    run(setup, tmp_path / "parts")

    assert final_digests(setup, tmp_path / "parts") == final_digests(setup, tmp_path / "whole")
    assert metrics(tmp_path / "parts", "train") == metrics(tmp_path / "whole", "train")


def test_micro_batches_do_not_change_the_gradient(make_setup):
    """Without dropout, one micro-batch or many give the same mean over all predicted tokens."""
    model = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    norms, losses = [], []
    for tokens in (40, 100, 10_000):
        setup = make_setup(model=model, runtime={"micro_batch_tokens": tokens})
        net, optimizer = build(setup)
        batch = next(iter(read_steps(setup.train, range(1, 2), _reading(setup))))
        result = train_step(setup, net, optimizer, batch)
        norms.append(result.gradient_norm)
        losses.append(result.mlm_loss + result.nsp_loss)

    assert norms == pytest.approx([norms[0]] * 3, rel=1e-5)
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-6)


def test_the_loss_is_the_mean_over_the_batch_by_hand(make_setup):
    """With all weights 0 every score is 0: ln(50) for a token and ln(2) for a pair."""
    setup = make_setup()
    model, optimizer = build(setup)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()

    batch = next(iter(read_steps(setup.train, range(1, 2), _reading(setup))))
    result = train_step(setup, model, optimizer, batch)

    assert result.mlm_loss == pytest.approx(math.log(50), rel=1e-6)
    assert result.nsp_loss == pytest.approx(math.log(2), rel=1e-6)


def test_training_learns_to_count(tmp_path, make_setup):
    phase = {"steps": 120, "learning_rate": 1e-2, "optimizer": ADAMW, "evaluation": {"every": 120}}
    setup = make_setup(phase | {"log_every": 40})

    run(setup, tmp_path)

    (_, last) = metrics(tmp_path, "evaluate", "mlm_loss")[-1]
    assert last < 0.85 * math.log(45)  # guessing among the 45 ordinary tokens costs ln(45)


def test_phase_2_starts_from_phase_1_with_its_moments_and_step_zero(tmp_path, make_setup):
    first = make_setup()
    run(first, tmp_path / "one")
    checkpoint = step_folder(tmp_path / "one", 12)

    second = make_setup({"start": "previous", "steps": 1, "learning_rate": 1e-30}, number=2)
    _, model = run(second, tmp_path / "two", previous=checkpoint)

    before, after = load_checkpoint(checkpoint), load_checkpoint(step_folder(tmp_path / "two", 1))
    assert all(torch.equal(before.model[n], t) for n, t in model.state_dict().items())
    assert after.state["optimizer_step"] == 1
    name = "exp_avg_sq:bert.embeddings.word_embeddings.weight"
    assert (after.optimizer[name] >= 0.999 * before.optimizer[name] - 1e-12).all()
    assert before.optimizer[name].max() > 0


def test_the_two_phases_see_other_samples(tmp_path, make_setup):
    first, second = make_setup({"steps": 1}), make_setup({"steps": 1}, number=2)
    run(first, tmp_path / "one")
    run(second, tmp_path / "two")

    assert metrics(tmp_path / "one", "train") != metrics(tmp_path / "two", "train")


def test_a_checkpoint_of_another_model_is_refused(tmp_path, make_setup):
    run(make_setup({"steps": 1}), tmp_path / "one")

    other = make_setup({"start": "previous"}, {"intermediate_size": 64}, number=2)

    with pytest.raises(CheckpointError, match=r"another model: model is .*'intermediate_size': 32"):
        run(other, tmp_path / "two", previous=step_folder(tmp_path / "one", 1))


def test_a_loss_that_is_not_finite_ends_the_run_with_the_weights_kept(tmp_path, make_setup):
    setup = make_setup()
    model, optimizer = build(setup)
    with torch.no_grad():
        model.cls.predictions.bias[7] = math.inf
    batch = next(iter(read_steps(setup.train, range(1, 2), _reading(setup))))
    before = model.bert.embeddings.word_embeddings.weight.clone()

    with pytest.raises(RuntimeError, match=r"Step 1 has mlm_loss (nan|inf)"):
        train_step(setup, model, optimizer, batch)

    assert torch.equal(model.bert.embeddings.word_embeddings.weight, before)


def test_only_the_newest_checkpoints_and_kept_multiples_stay(tmp_path, make_setup):
    setup = make_setup(runtime={"checkpoint": {"every_steps": 2, "keep_last": 2, "keep_every": 6}})

    run(setup, tmp_path)

    assert list_steps(tmp_path) == [6, 10, 12]


def test_metrics_past_the_resumed_step_and_half_lines_are_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"kind":"train","step":1}\n{"kind":"train","step":2}\n{"kind":"tr')

    MetricsFile(path, 1, active=True).write("train", 2, loss=0.5)

    assert path.read_text().splitlines() == [
        '{"kind":"train","step":1}',
        '{"kind": "train", "step": 2, "loss": 0.5}',
    ]


def test_totals_count_every_token_once(tmp_path, make_setup):
    setup = make_setup({"steps": 5})

    totals, _ = run(setup, tmp_path)

    streams = list(read_steps(setup.train, range(1, 6), _reading(setup)))
    micro = [m for step in streams for m in step.micro_batches]
    assert totals == {
        "steps": 5,
        "sequences": 80,
        "tokens": sum(len(m.input_ids) for m in micro),
        "masked_tokens": sum(len(m.masked_lm_ids) for m in micro),
    }


def test_sigterm_is_remembered():
    handlers = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGUSR1)}
    try:
        stop = StopSignal()
        assert not stop.received
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.received
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def test_a_stream_cut_finely_has_one_instance_each(make_setup):
    setup = make_setup(runtime={"micro_batch_tokens": 10_000})
    batch = next(iter(read_steps(setup.train, range(1, 2), _reading(setup))))

    assert len(cut_stream(batch.micro_batches[0], 1)) == 16


RANK_SCRIPT = """
import sys
from pathlib import Path
from tests import conftest
from bert.config import check
from bert.data.corpus import Corpus
from bert.model.config import ModelConfig
from bert.train.config import PhaseConfig, RuntimeConfig
from bert.ranks.ranks import find_ranks, join, leave
from bert.train.pretrain import Setup, build, pretrain
from bert.train.stop import StopSignal
import torch

torch.set_num_threads(1)
folder, out = Path(sys.argv[1]), Path(sys.argv[2])
ranks = find_ranks()
join(ranks, torch.device("cpu"))
no_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
setup = Setup(
    1, check(PhaseConfig, conftest.PHASE, where="test"),
    check(ModelConfig, conftest.MODEL | no_dropout, where="test"),
    check(RuntimeConfig, conftest.RUNTIME, where="test"),
    Corpus(sorted((folder / "train").glob("*.h5"))),
    Corpus(sorted((folder / "held_out").glob("*.h5"))), ranks, torch.device("cpu"),
)
model, optimizer = build(setup)
assert pretrain(setup, model, optimizer, running=out, previous=None, stop=StopSignal())
leave(ranks)
"""


def test_two_ranks_train_as_one_does(tmp_path, corpora):
    """Same samples in the same steps: equal losses and weights up to the order of sums."""
    folder = corpora[0].files[0].parent.parent
    script = tmp_path / "rank.py"
    script.write_text(RANK_SCRIPT)
    launchers = {
        "one": [sys.executable],
        "two": f"{sys.executable} -m torch.distributed.run --standalone --nproc-per-node 2".split(),
    }
    for name, launcher in launchers.items():
        command = [*launcher, str(script), str(folder), str(tmp_path / name)]
        subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": "."}, timeout=180)

    one, two = (metrics(tmp_path / name, "train") for name in ("one", "two"))
    assert [step for step, _ in two] == [step for step, _ in one]
    assert [x for _, x in two] == pytest.approx([x for _, x in one], rel=1e-5)
    states = [load_checkpoint(step_folder(tmp_path / name, 12)) for name in ("one", "two")]
    assert states[0].state["totals"] == states[1].state["totals"]
    for name, tensor in states[0].model.items():
        assert torch.allclose(tensor, states[1].model[name], atol=2e-5), name


def test_no_thread_is_left_behind_by_a_stopped_run(tmp_path, make_setup):
    run(make_setup(), tmp_path, stop=Stop(after=0))

    threads = [t for t in threading.enumerate() if t.name == "prefetch"]
    for thread in threads:
        thread.join(timeout=5)
    assert not any(thread.is_alive() for thread in threads)
