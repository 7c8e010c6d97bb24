import dataclasses
import logging

import pytest

from bert.model.heads import BertForPretraining
from bert.ranks.ranks import Ranks
from bert.train.opening import say_opening
from tests.conftest import KFAC, VOCAB
from tests.test_examine import NUMBERS


@pytest.fixture
def opening(make_setup, caplog, monkeypatch):
    """What is said: the head line, and topic to text with its lines joined."""
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    caplog.set_level(logging.INFO)

    def say(first_step=1, **changes):
        setup = make_setup(**changes)
        model = BertForPretraining(setup.model, VOCAB)
        caplog.clear()
        say_opening(setup, model, NUMBERS, first_step)
        (message,) = caplog.messages
        head, *lines = message.splitlines()
        topics, name = {}, None
        for line in lines:
            name = line[2:13].strip() or name
            topics[name] = f"{topics.get(name, '')} {line[14:].strip()}".strip()
        return head, topics, lines

    return say


def test_the_opening_adds_up(opening, corpora):
    head, said, lines = opening()

    tokens = corpora[0].num_tokens
    mean = tokens / 90
    assert head == "phase 1 begins"
    assert said["steps"] == "12 of 16 instances = 192 samples, 2.13 epochs"
    assert said["data"] == (
        f"90 instances of {mean:.1f} tokens on average, up to 32, {tokens:,} tokens in 3 shards; "
        "held out 40 instances"
    )
    # Micro-batches of 128 tokens.
    assert f"1 rank x 3 micro-batches of about {128 / mean:.0f} instances" in said["batch"]
    assert said["model"].startswith("2 layers, width 16, 2 heads, feed-forward 32 (gelu)")
    assert len(lines) < 60
    assert max(map(len, lines)) <= 130


def test_parameters_are_those_of_the_papers_formula(opening):
    """Per layer 4 d^2 + 2 d f + 9 d + f; tables of 56, 32 and 2 rows, each with its norm."""
    d, f = 16, 32
    encoder = 2 * (4 * d * d + 2 * d * f + 9 * d + f)
    embeddings = (56 + 32 + 2) * d + 2 * d
    heads = (d * d + d) + (d * d + d + 2 * d + 56) + (2 * d + 2)  # pooler, MLM, next sentence

    said = opening()[1]

    total = encoder + embeddings + heads
    each = f"encoder {encoder:,} + embeddings {embeddings:,} + heads {heads:,}"
    assert said["parameters"] == f"{total:,} = {each}"


def test_memory_by_hand(opening):
    """6,586 weights of 4 bytes, as many gradients, two moments; K-FAC's factors of 6 matrices."""
    model = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 1}
    said = opening(phase={"kfac": KFAC}, model=model)[1]

    weights = 4 * int(said["parameters"].split(" = ")[0].replace(",", ""))
    factors = 4 * (5 * 257**2 + 513**2 + 5 * 256**2 + 512**2)
    values = 4 * (5 * 257 + 513 + 5 * 256 + 512)
    kfac = 3 * factors + values  # running means, sums of a step, eigenvectors with their values
    mb = [f"{x / 1e6:.1f}" for x in (4 * weights + kfac, weights, weights, 2 * weights, kfac)]
    assert said["memory"] == (
        f"{mb[0]} MB on each rank = weights {mb[1]} + gradients {mb[2]} + moments {mb[3]} + "
        f"K-FAC {mb[4]}, and activations"
    )


def test_ranks_share_the_batch_and_the_moments(opening, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_RANK", "0")
    runtime = {"shard_optimizer": True, "micro_batch_tokens": 4096}
    model = {"hidden_size": 256, "intermediate_size": 512}
    said = opening(ranks=Ranks(0, 4, 0), runtime=runtime, model=model)[1]

    assert said["batch"].startswith("16 instances = 4 ranks x 1 micro-batch of about 4 instances")
    assert said["ranks"] == "4, started by torchrun, gradients travel as fp32"
    weights, moments = (
        said["memory"].partition(name)[2].split()[0].strip(",") for name in ("weights ", "moments ")
    )
    assert float(moments) == pytest.approx(float(weights) / 2, abs=0.1)


def test_an_instance_is_shown_as_training_sees_it(opening):
    said = opening()[1]["instance"]

    assert said.startswith("first of step 1, predicted tokens as {original>shown}: ")
    assert "[CLS] n" in said
    assert ">[MASK]}" in said
    assert said == opening()[1]["instance"]
    assert said != opening(phase={"seed": 6})[1]["instance"]


def test_config_and_runtime_are_said_as_they_were_resolved(opening):
    said = opening(phase={"budget_hours": 1.5})[1]

    assert "learning_rate: 0.001" in said["config"]
    assert "schedule: {name: polynomial, warmup_proportion: 0.25" in said["config"]
    assert "all_reduce: {dtype: fp32, bucket_mb: 25.0, overlap: true}" in said["runtime"]
    assert "downloads" not in said["runtime"]
    assert said["steps"].startswith("at most, 1.5 h of training end the phase; 12 of 16")


def test_device_versions_and_code_are_named(opening):
    said = opening()[1]

    assert "device cpu, instruction set" in said["device"]
    assert "precision fp32" in said["device"]
    assert said["versions"].startswith("python 3.")
    for word in ("torch ", "numpy ", "git commit ", "code digest "):
        assert word in said["versions"]


def test_a_run_that_goes_on_says_where(opening):
    assert opening(first_step=9)[0] == "phase 1 goes on at step 9"


def test_another_vocabulary_is_refused(make_setup):
    setup = make_setup()
    other = dataclasses.replace(NUMBERS, sha256="cd" * 32)

    with pytest.raises(ValueError, match="sha256 cdcdcdcdcdcd, but the shards were made with abab"):
        say_opening(setup, BertForPretraining(setup.model, VOCAB), other, 1)
