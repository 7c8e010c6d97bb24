import json
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from bert.manifest import ROOT
from bert.report.compare import write_comparison
from bert.report.comparison import arrival, compare_exactly, ended_at, levels
from bert.report.run import RunError
from bert.report.training_run import read_training
from tests.conftest import ADAMW, KFAC, PHASE
from tests.test_report_page import Reader
from tests.test_report_run import write_receipt

SPEED = {"tokens_per_s": 5000.0, "peak_memory_mb": 812.0}


def train_line(step, loss, *, batch=16, seconds=30.0):
    line = {"kind": "train", "step": step, "samples": batch * step, "mlm_loss": loss}
    return line | SPEED | {"elapsed_s": seconds * step}


def phase_lines(*, every=2, shift=0.0, slower=1.0, evaluate=5):
    """Ten steps of a loss that falls from 6 by 0.25 a step; held out 1 higher."""
    lines = []
    for step in range(1, 11):
        if step % every == 0:
            lines.append(train_line(step, 6 - step / 4 + shift, seconds=30 * slower))
        if step % evaluate == 0:
            lines.append({"kind": "evaluate", "step": step, "mlm_loss": 7 - step / 4 + shift})
    return lines


def write_log(folder, lines):
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text, "utf-8")


def write_run(folder, *phases, config=PHASE):
    for number, lines in enumerate(phases, 1):
        place = folder / f"pretrain/phase{number}"
        write_log(place, lines)
        device = {"name": "Some CPU", "precision": "bf16", "ranks": 2}
        more = {"config": {"phase": config}, "device": device}
        write_receipt(place / "manifest.json", "pretrain", {"steps": 10}, **more)
    return read_training(folder)


def test_phases_stand_one_after_the_other_on_every_axis(tmp_path):
    run = write_run(tmp_path / "a", phase_lines(), phase_lines(slower=2))

    assert run.curve("evaluate", "mlm_loss", "steps") == [
        [(5, 5.75), (10, 4.5)],
        [(15, 5.75), (20, 4.5)],
    ]
    # Step 5 lies halfway between the logged steps 4 and 6.
    assert [x for points in run.curve("evaluate", "mlm_loss", "samples") for x, _ in points] == [
        80, 160, 240, 320
    ]  # fmt: skip
    assert [x for points in run.curve("evaluate", "mlm_loss", "time") for x, _ in points] == [
        150, 300, 600, 900
    ]  # fmt: skip


def test_a_log_without_times_has_no_time_axis(tmp_path):
    lines = [{k: v for k, v in line.items() if k != "elapsed_s"} for line in phase_lines()]
    run = write_run(tmp_path / "a", lines)

    assert run.curve("train", "mlm_loss", "time") == []
    assert arrival(run, 4.5) == {"steps": 10, "samples": 160}


def test_the_first_evaluation_at_or_below_a_loss(tmp_path):
    run = write_run(tmp_path / "a", phase_lines(), phase_lines(shift=-1.0))

    assert arrival(run, 5.75) == {"steps": 5, "samples": 80, "time": 150}
    assert arrival(run, 4.6) == {"steps": 10, "samples": 160, "time": 300}
    assert arrival(run, 4.4) == {"steps": 20, "samples": 320, "time": 600}
    assert arrival(run, 3.0) == {}


def test_losses_to_reach_are_round_and_were_reached(tmp_path):
    """From 4.75, the lower of their first evaluations, down to 3.5, the lowest of all."""
    runs = [
        write_run(tmp_path / "a", phase_lines()),
        write_run(tmp_path / "b", phase_lines(shift=-1)),
    ]

    assert levels(runs) == [4.5, 4.0, 3.5]


def test_the_training_loss_at_the_end_is_the_mean_of_the_last_lines(tmp_path):
    lines = [train_line(step, float(step)) for step in range(1, 41)]
    log = write_run(tmp_path / "a", lines).logs["phase1"]

    assert ended_at(log, "train", "mlm_loss") == 39.5
    assert ended_at(log, "evaluate", "mlm_loss") is None


def test_runs_that_train_alike_are_equal_whatever_they_log_and_how_fast_they_are(tmp_path):
    one = write_run(tmp_path / "a", phase_lines(), phase_lines())
    resume = {"kind": "resume", "step": 4, "ranks": 1}
    other = write_run(tmp_path / "b", [*phase_lines(every=1, slower=3, evaluate=2), resume])

    found = compare_exactly(one, other)

    # Steps 2, 4, 6, 8, 10 of training, and the evaluation of step 10.
    assert (found.equal, found.last, found.difference) == (6, ("phase1", 10), None)


def test_the_first_difference_is_named_with_its_place_and_values(tmp_path):
    one = write_run(tmp_path / "a", phase_lines(), phase_lines())
    lines = phase_lines()
    lines[4]["mlm_loss"] += 1e-6
    other = write_run(tmp_path / "b", phase_lines(), lines)

    found = compare_exactly(one, other)

    assert lines[4]["step"] == 8
    assert (found.equal, found.last) == (7 + 4, ("phase2", 6))
    assert found.difference == "phase2 step 8, train: mlm_loss 4.0 and 4.000001"


def test_an_event_that_only_one_run_has_is_a_difference(tmp_path):
    skip = {"kind": "skip", "step": 3, "loss": None}
    one = write_run(tmp_path / "a", phase_lines())
    other = write_run(tmp_path / "b", [*phase_lines(), skip])

    for pair in ((one, other), (other, one)):
        found = compare_exactly(*pair)
        assert found.last == ("phase1", 2)
        assert found.difference == "phase1 step 3, skip: only one of them has it"


def test_a_run_that_is_not_finished_is_compared_as_far_as_it_is(tmp_path):
    one = write_run(tmp_path / "a", phase_lines())
    write_log(tmp_path / "b/pretrain/phase1/running/ab12", phase_lines()[:4])
    (tmp_path / "b/config").mkdir()
    (tmp_path / "b/config/pretrain.phase1.json").write_text(json.dumps(PHASE | {"batch": 77}))
    other = read_training(tmp_path / "b")

    assert compare_exactly(one, other).last == ("phase1", 6)
    assert other.configs["phase1"]["batch"] == 77


@pytest.fixture
def three(tmp_path):
    skips = [{"kind": "skip", "step": step, "loss": None} for step in (3, 7)]
    lamb = write_run(tmp_path / "lamb", phase_lines(), phase_lines())
    config = PHASE | {"optimizer": ADAMW}
    adamw = write_run(tmp_path / "adamw", [*phase_lines(shift=0.5), *skips], config=config)
    kfac = write_run(tmp_path / "kfac", phase_lines(shift=-1), config=PHASE | {"kfac": KFAC})
    return [lamb, adamw, kfac]


def make_page(runs, folder):
    folder.mkdir(parents=True)
    said = write_comparison(runs, levels(runs), folder)
    return said, Reader((folder / "compare.html").read_text("utf-8"))


def test_the_page_tells_who_was_sooner_and_who_is_equal(three, tmp_path):
    said, page = make_page(three, tmp_path / "out")

    assert page.row("lamb", "phase2")[2:] == [
        "LAMB (nvidia), batch 16, peak learning rate 0.001, bf16, Some CPU, 2 ranks",
        "\u2013", "10", "3.500", "4.500", "\u2013", "5 k", "812 MB", "5.0 min",
    ]  # fmt: skip
    assert page.row("adamw", "phase1")[2].startswith("AdamW, batch 16")
    assert page.row("adamw", "phase1")[3] == "2 skipped steps"
    assert page.row("kfac", "phase1")[2].startswith("K-FAC (eigen) before LAMB (nvidia), ")
    arrived = "10 160 samples, 5.0 min"
    assert page.row("4.5")[1:] == [arrived, "\u2013", arrived]
    assert page.row("3.5")[1:] == ["\u2013", "\u2013", arrived]
    assert said[0].startswith("adamw: nothing")
    assert page.row("kfac", "nothing")[2:] == ["0", "phase1 step 2, train: mlm_loss 5.5 and 4.5"]


def test_every_run_has_a_line_in_every_figure_and_one_sheet_holds_all(three, tmp_path):
    make_page(three, tmp_path / "out")

    files = sorted((tmp_path / "out/figures").iterdir())
    assert len(files) == 7
    svg = "{http://www.w3.org/2000/svg}"
    for file in files:
        root = ElementTree.fromstring(file.read_bytes())
        classes = [element.get("class") for element in root.iter(f"{svg}g")]
        assert {"blue", "rust", "green"} <= set(classes)
        words = [element.text for element in root.iter(f"{svg}text")]
        assert {"lamb", "adamw", "kfac", "4.500" if "held" in file.name else "3.500"} <= set(words)
        text = file.read_text()
        assert "nan" not in text.replace("nats", "")


def test_dots_stand_where_the_losses_are(three, tmp_path):
    make_page(three, tmp_path / "out")
    root = ElementTree.parse(tmp_path / "out/figures/held_out_over_steps.svg").getroot()
    svg = "{http://www.w3.org/2000/svg}"
    dots = {c.findtext(f"{svg}title"): c for c in root.iter(f"{svg}circle")}

    # The axis goes from 0 at 40 to 20 at 304.
    assert float(dots["10 optimizer steps: 3.500"].get("cx")) == 172.0
    assert float(dots["20 optimizer steps: 4.500"].get("cx")) == 304.0


def test_equal_runs_give_equal_bytes(three, tmp_path):
    for name in ("one", "two"):
        make_page(three, tmp_path / name)

    for file in (tmp_path / "one").rglob("*.*"):
        other = tmp_path / "two" / file.relative_to(tmp_path / "one")
        assert file.read_bytes() == other.read_bytes()


def compare(*arguments):
    command = [sys.executable, "-m", "bert.report.compare", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_command_line_writes_the_folder_and_says_what_is_equal(three, tmp_path):
    done = compare(
        *(tmp_path / run.name for run in three), "--output", tmp_path / "out", "--losses", 5, 4.5
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "equal to lamb up to: adamw: nothing"
    rows = (tmp_path / "out/compare.csv").read_text().splitlines()
    assert rows == [
        "run,held_out_mlm_loss,steps,samples,training_s",
        "lamb,5,10,160,300",
        "lamb,4.5,10,160,300",
        "adamw,5,10,160,300",
        "adamw,4.5,,,",
        "kfac,5,5,80,150",
        "kfac,4.5,10,160,300",
    ]


def test_what_cannot_be_compared_is_refused(three, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(RunError, match="lamb: expected two to 6 runs"):
        write_comparison(three[:1], [], tmp_path / "out")
    with pytest.raises(RunError, match=r"lamb, kfac, lamb: .* different names"):
        write_comparison([three[0], three[2], three[0]], [], tmp_path / "out")
    done = compare(tmp_path / "lamb", tmp_path / "nothing", "--output", tmp_path / "new")
    assert done.returncode == 1
    assert "holds no pretrain/phase<n>/metrics.jsonl" in done.stderr
    assert not (tmp_path / "new").exists()
