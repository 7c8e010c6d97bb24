"""The gate: what is above no learning and random weights, and what is not."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bert.config import check
from bert.manifest import ROOT, read_manifest
from bert.tasks.gate import GateConfig, GateError, judge
from bert.tasks.trials import Trial, best_rate, parse_trial
from tests.test_report_page import Reader, make_report
from tests.test_report_run import build_run, write_score

# MRPC's development set: 279 of 408 pairs are paraphrases.
FLOOR = 100 * 279 / 408
GATE = {"action": "fail", "against": ["no_learning", "random"], "margin": 0.0}


def gate_config(**changes: Any) -> GateConfig:
    return check(GateConfig, GATE | changes, where="a test")


def scored(start: str, *values: float, rate: str = "", **more: Any) -> list[dict[str, Any]]:
    """Score receipts of one start, a seed for each value."""
    return [
        {"task": "mrpc", "start": start, "trial": f"{rate}seed-{seed}", "seed": seed}
        | {"headline": "accuracy", "metrics": {"accuracy": value, "f1": 81.0}}
        | {"baseline": {"accuracy": FLOOR, "f1": 81.22}}
        | more
        for seed, value in enumerate(values, 1)
    ]


def test_a_median_above_both_limits_passes() -> None:
    found = judge("mrpc", scored("pretrained", 60, 84, 86) + scored("random", 69), gate_config())

    assert found.passed
    assert (found.score, found.seeds) == (84, 3)
    assert found.limits == {"no_learning": FLOOR, "random": 69}
    assert found.words == (
        "accuracy 84.00 from pretrained weights (median of 3 seeds) is above 68.38 of no learning "
        "and 69.00 of random weights."
    )


def test_the_score_of_the_majority_class_does_not_pass_and_names_the_likely_cause() -> None:
    found = judge("mrpc", scored("pretrained", FLOOR, FLOOR, 84), gate_config())

    assert found.failed == ["no_learning"]
    assert "accuracy 68.38 from pretrained weights (median of 3 seeds) is not above 68.38" in (
        found.words
    )
    assert "2 of 3 seeds: 68.38 exactly. " in found.words
    assert "The checkpoint was probably not loaded" in found.words


def test_the_same_score_computed_in_another_order_of_sums_does_not_pass() -> None:
    almost = FLOOR + 1e-13
    assert almost > FLOOR

    assert not judge("mrpc", scored("pretrained", almost), gate_config()).passed


@pytest.mark.parametrize(
    ("pretrained", "random", "margin", "failed", "cause"),
    [
        ([50.0], [40.0], 0.0, ["no_learning"], "worse than no learning"),
        ([75.0], [76.0], 0.0, ["random"], "bring nothing"),
        ([75.0], [60.0], 7.0, ["no_learning"], "by less than `gate.margin`"),
        ([50.0], [60.0], 0.0, ["no_learning", "random"], "worse than no learning"),
        ([75.0], [60.0], 6.0, [], "is above 68.38 of no learning and 60.00 of random weights by"),
    ],
)
def test_the_words_follow_the_numbers(
    pretrained: list[float], random: list[float], margin: float, failed: list[str], cause: str
) -> None:
    receipts = scored("pretrained", *pretrained) + scored("random", *random)
    found = judge("mrpc", receipts, gate_config(margin=margin))

    assert found.failed == failed
    assert cause in found.words


def test_only_what_is_asked_for_and_was_run_is_compared() -> None:
    receipts = scored("pretrained", 50.0)

    assert judge("mrpc", receipts, gate_config(against=["random"])).limits == {}
    assert "is compared with nothing" in judge("mrpc", receipts, gate_config(against=[])).words
    assert judge("mrpc", receipts, gate_config(against=[])).passed


def test_of_a_grid_the_rate_with_the_best_median_is_judged_on_both_sides() -> None:
    receipts = [
        *scored("pretrained", 70, 71, 99, rate="rate-2e-05."),
        *scored("pretrained", 72, 73, 74, rate="rate-3e-05."),
        *scored("random", 69, rate="rate-2e-05."),
        *scored("random", 70, rate="rate-3e-05."),
    ]
    found = judge("mrpc", receipts, gate_config())

    assert (found.score, found.learning_rate, found.limits["random"]) == (73, 3e-5, 70)
    assert "(median of 3 seeds at learning rate 3e-05)" in found.words


@pytest.mark.parametrize(
    ("receipts", "message"),
    [
        (scored("random", 70), "the gate judges those from pretrained ones"),
        (scored("pretrained", 70, task="rte"), r"\('rte', 'accuracy'\).*expected those of mrpc"),
        (
            scored("pretrained", 70) + scored("random", 70, headline="f1"),
            "expected those of mrpc, with one headline",
        ),
        (
            scored("pretrained", 70) + scored("random", 60, baseline={"accuracy": 50.0}),
            "state 50.00 to 68.38 for no learning; expected one number",
        ),
        (scored("pretrained", 70, baseline={}), "has no accuracy in its metrics or its baseline"),
    ],
)
def test_scores_that_cannot_be_judged_together_are_refused(receipts: Any, message: str) -> None:
    with pytest.raises(GateError, match=message):
        judge("mrpc", receipts, gate_config())


def test_the_name_of_a_trial_says_its_rate_and_seed() -> None:
    assert parse_trial("seed-12") == Trial(None, 12)
    assert parse_trial("rate-2e-05.seed-3") == Trial(2e-5, 3)
    for wrong in ("seed-", "rate-2e-05", "seed-1.rate-2e-05", "rate-x.seed-1"):
        with pytest.raises(ValueError, match="is not the name of a trial"):
            parse_trial(wrong)


def test_the_best_rate_is_that_of_the_median_not_of_the_mean() -> None:
    assert best_rate({2e-5: [1, 80, 81], 3e-5: [79, 79, 99]}) == 2e-5
    assert best_rate({5e-5: [80], 3e-5: [80], 4e-5: [79]}) == 3e-5


def run_gate(folder: Path, **changes: Any) -> subprocess.CompletedProcess[str]:
    """Judges MRPC in a run's folder; exits with 3 if that has loaded torch."""
    (folder / "gate.json").write_text(gate_config(**changes).model_dump_json())
    scores = sorted(map(str, folder.glob("score/mrpc/*/*/metrics.json")))
    argv = ["gate", "--config", str(folder / "gate.json"), "--task", "mrpc", "--scores", *scores]
    argv += ["--output", str(folder / "gate/mrpc.json"), "--log", str(folder / "gate.log")]
    code = (
        f"import runpy, sys; sys.argv = {argv!r}; sys.path.insert(0, {str(ROOT)!r}); "
        "runpy.run_path('scripts/gate.py', run_name='__main__'); "
        "sys.exit(3 if 'torch' in sys.modules else 0)"
    )
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.fixture
def failing(tmp_path: Path) -> Path:
    """A run whose MRPC has the score of no learning, 9.75 in these receipts."""
    folder = build_run(tmp_path)
    for seed in (1, 2, 3):
        write_score(folder, "mrpc", "pretrained", seed, {"accuracy": 9.75, "f1": 80.25})
    return folder


def test_the_script_writes_the_verdict_without_torch(tmp_path: Path) -> None:
    folder = build_run(tmp_path)
    done = run_gate(folder)

    assert done.returncode == 0, done.stderr
    found = read_manifest(folder / "gate/mrpc.json", stage="gate")
    assert (found["task"], found["metric"], found["passed"]) == ("mrpc", "accuracy", True)
    assert (found["score"], found["limits"]) == (71.5, {"no_learning": 9.75})
    assert found["words"].startswith("accuracy 71.50 from pretrained weights (1 seed) is above")
    assert list(found["inputs"]) == ["score/pretrained/seed-1"]


def test_a_task_that_does_not_pass_fails_and_leaves_no_verdict_not_even_an_old_one(
    failing: Path,
) -> None:
    (failing / "gate").mkdir()
    (failing / "gate/mrpc.json").write_text("{}")
    done = run_gate(failing)

    assert done.returncode == 1
    assert "mrpc does not pass the gate: accuracy 9.75" in done.stderr
    assert "is not above 9.75 of no learning. 3 of 3 seeds: 9.75 exactly." in done.stderr
    assert "Traceback" not in done.stderr
    assert list((failing / "gate").iterdir()) == []


def test_a_warning_lets_the_run_go_on_and_keeps_the_verdict(failing: Path) -> None:
    done = run_gate(failing, action="warn")

    assert done.returncode == 0, done.stderr
    assert "WARNING mrpc does not pass the gate: accuracy 9.75" in done.stderr
    assert read_manifest(failing / "gate/mrpc.json", stage="gate")["passed"] is False


def test_the_page_says_what_the_gate_will_say(failing: Path, tmp_path: Path) -> None:
    page = Reader(make_report(failing, tmp_path / "report"))

    assert "Not a result. MRPC does not pass the gate: see the scores below." in page.text
    assert "MRPC does not pass. accuracy 9.75 from pretrained weights (median of 3 seeds)" in (
        page.text
    )
    squad = page.row("SQuAD F1", "61.00", "3")
    assert squad[3:] == ["9.75", "20.12", "passes"]
    assert page.row("MRPC accuracy", "9.75", "3")[3:] == ["9.75", "\u2013", "fails"]


def test_a_page_without_failures_has_no_alarm(tmp_path: Path) -> None:
    page = Reader(make_report(build_run(tmp_path), tmp_path / "report"))

    assert "Not a result" not in page.text
