import json
import math
import os
import socket
import subprocess
import sys
from contextlib import suppress
from typing import ClassVar

import numpy as np
import pytest
import torch

from bert.config import check
from bert.data.corpus import Corpus
from bert.data.shard_writer import write_instances
from bert.data.shards import Instances
from bert.model.bert import initialize
from bert.model.heads import BertForPretraining
from bert.ranks.ranks import Ranks
from bert.train.config import EvaluateConfig, EvaluationConfig
from bert.train.evaluate import evaluate
from bert.train.evaluation import reached
from bert.train.guard import NonFiniteError
from tests.conftest import INFO, PHASE


def build(setup):
    model = BertForPretraining(setup.model, setup.held_out.info.vocab_size)
    initialize(model, 0.02, torch.Generator().manual_seed(1), positions="normal")
    return model.train(), None


def run(setup, model, **changes):
    settings = {"seed": 1, "limit": None, "ranks": setup.ranks} | changes
    return evaluate(
        model,
        setup.held_out,
        setup.config.masking,
        runtime=setup.runtime,
        device=setup.device,
        **settings,
    )


def test_a_model_that_knows_nothing_scores_chance_by_hand(make_setup):
    """All weights 0: every score is 0, the losses are ln(50) and ln(2), and argmax is class 0."""
    setup = make_setup()
    model, _ = build(setup)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    labels = setup.held_out.take(torch.arange(40).numpy()).next_sentence_labels

    metrics = run(setup, model)

    assert metrics["mlm_loss"] == pytest.approx(math.log(50), rel=1e-6)
    assert metrics["nsp_loss"] == pytest.approx(math.log(2), rel=1e-6)
    assert metrics["mlm_accuracy"] == 0  # class 0 is [PAD], never a target
    assert metrics["nsp_accuracy"] == (labels == 0).mean()


def test_the_result_does_not_depend_on_micro_batches(make_setup):
    small, large = make_setup(), make_setup(runtime={"micro_batch_tokens": 10_000})
    model, _ = build(small)

    assert run(small, model) == pytest.approx(run(large, model), rel=1e-5)


class Meeting(Ranks):
    """Ranks that run one after the other: what each would send is kept, and its own returned."""

    sent: ClassVar[list[list[float]]] = []

    def sum(self, values, device):
        self.sent.append(list(values))
        return list(values)


@pytest.mark.parametrize("world", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("limit", [None, 1, 9])
def test_any_number_of_ranks_gives_exactly_the_same(make_setup, world, limit):
    """Ranks share whole micro-batches: the sums are the same numbers, added in another order."""
    setup = make_setup()
    model, _ = build(setup)
    whole = run(setup, model, limit=limit)

    Meeting.sent.clear()
    for rank in range(world):
        with suppress(ValueError):  # alone, a rank without instances has nothing to divide by
            run(setup, model, limit=limit, ranks=Meeting(rank, world, 0))
    mlm_loss, nsp_loss, mlm_correct, nsp_correct, tokens, instances = np.sum(Meeting.sent, axis=0)

    assert instances == (limit or 40)
    assert whole == {
        "mlm_loss": mlm_loss / tokens,
        "mlm_accuracy": mlm_correct / tokens,
        "nsp_loss": nsp_loss / instances,
        "nsp_accuracy": nsp_correct / instances,
    }


def test_a_limit_takes_the_first_instances(make_setup):
    setup = make_setup()
    model, _ = build(setup)

    assert run(setup, model, limit=5) != run(setup, model)
    assert run(setup, model, limit=1000) == run(setup, model)


def test_evaluation_leaves_the_model_in_training_mode_and_unchanged(make_setup):
    setup = make_setup()
    model, _ = build(setup)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    first, second = run(setup, model), run(setup, model)

    assert model.training
    assert first == second, "dropout must be off"
    assert all(torch.equal(before[n], t) for n, t in model.state_dict().items())


def test_a_model_without_the_head_has_no_next_sentence_metrics(make_setup):
    setup = make_setup(model={"next_sentence": False})
    model, _ = build(setup)

    metrics = run(setup, model)

    assert metrics["nsp_loss"] is None
    assert metrics["nsp_accuracy"] is None
    assert EvaluateConfig(seed=1, instances=None, masking=PHASE["masking"]).instances is None


def test_weights_that_are_not_finite_are_named_and_not_reported_as_a_loss(make_setup):
    setup = make_setup()
    model, _ = build(setup)
    with torch.no_grad():
        model.cls.predictions.bias[7] = math.nan

    with pytest.raises(NonFiniteError, match=r"shard-0\.h5 .* sum up to nan \(masked tokens\)"):
        run(setup, model)


def write_with_masks(folder, counts, masks):
    """A shard of instances with stored masks, of which there are `masks` each."""
    ids = np.tile(np.array([2, 9, 10, 3, 11, 3], np.uint16), counts)
    places = np.tile(np.arange(1, 1 + masks), counts)
    path = folder / "shard-0.h5"
    instances = Instances(
        ids,
        np.arange(0, 6 * counts + 1, 6).astype(np.uint64),
        np.full(counts, 4, np.uint16),
        np.zeros(counts, np.uint8),
        np.arange(0, masks * counts + 1, max(masks, 1)).astype(np.uint64)
        if masks
        else np.zeros(counts + 1, np.uint64),
        places.astype(np.uint16),
        np.full(masks * counts, 9, np.uint16),
    )
    write_instances(path, instances, INFO, seed=1, config={})
    return Corpus([path])


def test_instances_without_any_predicted_token_are_refused_by_name(make_setup, tmp_path):
    setup = make_setup({"masking": None})._replace(held_out=write_with_masks(tmp_path, 5, 0))
    model, _ = build(setup)

    with pytest.raises(ValueError, match=r"shard-0\.h5 .* no predicted token in 5 instances"):
        run(setup, model)


def test_stored_masks_are_evaluated_as_they_are(make_setup, tmp_path):
    """Each instance predicts token 9 once; a model biased to 9 is always right."""
    setup = make_setup({"masking": None})._replace(held_out=write_with_masks(tmp_path, 5, 1))
    model, _ = build(setup)
    with torch.no_grad():
        model.cls.predictions.bias[9] = 100

    assert run(setup, model)["mlm_accuracy"] == 1.0


def test_an_empty_corpus_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"the first is .*shard-0\.h5\) hold no instance"):
        write_with_masks(tmp_path, 0, 1)


# One class after the other is made the model's only guess, so that the accuracy is the share of
# that class among the masked tokens; each rank's own share reaches the target at another step.
RANK_SCRIPT = """
import json, sys
from pathlib import Path
import torch
from bert.config import check
from bert.data.corpus import Corpus
from bert.model.config import ModelConfig
from bert.model.heads import BertForPretraining
from bert.ranks.ranks import Ranks, find_ranks, join, leave
from bert.train.config import EvaluationConfig, PhaseConfig, RuntimeConfig
from bert.train.evaluate import evaluate
from bert.train.evaluation import reached
from tests import conftest

torch.set_num_threads(1)
corpus = Corpus([Path(sys.argv[1])])
target = check(
    EvaluationConfig, conftest.PHASE["evaluation"] | json.loads(sys.argv[2]), where="a test"
)
ranks, cpu = find_ranks(), torch.device("cpu")
join(ranks, cpu)
model = BertForPretraining(check(ModelConfig, conftest.MODEL, where="a test"), 50)
masking = check(PhaseConfig, conftest.PHASE, where="a test").masking
runtime = check(RuntimeConfig, conftest.RUNTIME, where="a test")


class Own(Ranks):
    def sum(self, values, device):
        return list(values)


def accuracy(step, ranks, limit=None):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.cls.predictions.bias[4 + step] = 1.0
    return evaluate(
        model, corpus, masking, seed=1, limit=limit, runtime=runtime, device=cpu, ranks=ranks
    )


few = accuracy(3, ranks, limit=1)
together = next(s for s in range(1, 11) if reached(accuracy(s, ranks), target))
own = [reached(accuracy(s, Own(*ranks)), target) for s in range(1, 11)]
print(json.dumps([together, own.index(True) + 1 if True in own else None, few]))
leave(ranks)
"""


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_two_processes_stop_at_the_same_step_though_their_shares_disagree(make_setup, tmp_path):
    setup = make_setup()
    model, _ = build(setup)
    accuracies, few = [], None
    for step in range(1, 11):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
            model.cls.predictions.bias[4 + step] = 1.0
        accuracies.append(run(setup, model)["mlm_accuracy"])
        few = run(setup, model, limit=1) if step == 3 else few
    target = {"target_mlm_accuracy": max(accuracies)}
    config = check(EvaluationConfig, PHASE["evaluation"] | target, where="a test")
    alone = [reached({"mlm_accuracy": a}, config) for a in accuracies].index(True) + 1

    script = tmp_path / "rank.py"
    script.write_text(RANK_SCRIPT)
    command = [sys.executable, script, setup.held_out.files[0], json.dumps(target)]
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    processes = [
        subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True,
            env=os.environ | meeting | {"RANK": rank, "LOCAL_RANK": rank, "PYTHONPATH": "."},
        )
        for rank in "01"
    ]  # fmt: skip
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    found = [json.loads(output.splitlines()[-1]) for output in outputs]  # gloo may greet first

    assert [together for together, _, _ in found] == [alone, alone]
    assert found[0][1] != found[1][1], "by their own shares they would stop at different steps"
    assert [few_of_rank for _, _, few_of_rank in found] == [few, few], "one instance, two ranks"
