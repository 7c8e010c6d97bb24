import json

import pytest

from bert.report.run import read_run
from bert.report.training_words import events, handed_on, method
from tests.conftest import ADAMW, KFAC, PHASE
from tests.test_report_page import Reader, make_report
from tests.test_report_run import build_run, write_receipt


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "LAMB (nvidia), batch 16, peak learning rate 0.001"),
        ({"kfac": KFAC, "batch": 65536}, "K-FAC (eigen) before LAMB (nvidia), batch 65,536, "),
        (
            {"optimizer": ADAMW, "learning_rate": 1e-4},
            "AdamW, batch 16, peak learning rate 1e\u22124",
        ),
        ({"optimizer": {"name": "adafactor"}}, "adafactor, batch 16"),
    ],
)
def test_a_method_in_words(changes, words):
    assert method(PHASE | changes).startswith(words)


def test_a_section_that_says_nothing_has_no_words():
    assert (method({}), handed_on({})) == ("", "")


def test_the_weights_that_a_phase_hands_on():
    average = {"weights": "average", "average_last": 10, "average_every": 1000}

    assert handed_on(PHASE) == "the last weights"
    assert handed_on({"result": {"weights": "best"}}) == "the best weights by held-out loss"
    assert handed_on({"result": average}) == (
        "the mean of the weights of 10 steps, 1,000 apart"
    )  # fmt: skip


@pytest.fixture
def run(tmp_path):
    """Phase 1 with K-FAC, a spike, two skipped steps and a rollback; phase 2 hands on its best."""
    folder = build_run(tmp_path)
    best = {"result": {"weights": "best", "average_last": None, "average_every": None}}
    counts = {"steps": 20, "sequences": 320, "tokens": 40_000, "masked_tokens": 6_000}
    for phase, config in (("phase1", PHASE | {"kfac": KFAC}), ("phase2", PHASE | best)):
        write_receipt(
            folder / f"pretrain/{phase}/manifest.json",
            "pretrain",
            counts | {"parameters": 4_390_144},
            config={"phase": config},
            device={"name": "Some CPU", "device": "cpu", "precision": "bf16", "ranks": 2},
        )
    lines = [
        {"kind": "spike", "step": 3, "loss": 9.0, "running_mean": 4.0},
        {"kind": "skip", "step": 4, "loss": None},
        {"kind": "skip", "step": 5, "loss": None},
        {"kind": "rollback", "step": 3, "from_step": 5},
        {"kind": "resume", "step": 8, "ranks": 2},
    ]
    with (folder / "pretrain/phase1/metrics.jsonl").open("a") as file:
        file.write("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_events_are_counted_and_interruptions_are_none(run):
    logs = read_run(run).logs

    assert events(logs["phase1"]) == "2 skipped steps, 1 rollback, 1 loss spike"
    assert events(logs["phase2"]) == ""


def test_the_page_tells_how_each_phase_was_trained(run, tmp_path):
    text = Reader(make_report(run, tmp_path / "report")).text

    device = "on Some CPU, device cpu, precision bf16, ranks 2."
    assert (
        f"phase1 K-FAC (eigen) before LAMB (nvidia), batch 16, peak learning rate 0.001 {device}"
        in text
    )
    assert f"phase2 LAMB (nvidia), batch 16, peak learning rate 0.001 {device}" in text
    assert "phase1 handed on the last weights." in text
    assert "phase2 handed on the best weights by held-out loss." in text
    assert "phase1 2 skipped steps, 1 rollback, 1 loss spike." in text
