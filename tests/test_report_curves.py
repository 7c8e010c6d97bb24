import json

import pytest

from bert.report.benchmarks import BenchmarkError, read_costs
from bert.report.curves import LogError, curve_table, read_log, thin
from tests.test_report_run import write_benchmark


def write_log(folder, *lines):
    file = folder / "metrics.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    return file


def test_values_come_in_the_order_of_steps_and_a_repeated_step_counts_once(tmp_path):
    steps = [(1, 9.0), (3, 7.0), (2, 8.0), (3, 6.5)]
    lines = [{"kind": "train", "step": step, "mlm_loss": loss} for step, loss in steps]
    log = read_log(write_log(tmp_path, *lines))
    assert log.values("train", "mlm_loss") == [(1, 9.0), (2, 8.0), (3, 6.5)]
    assert log.last_step == 3


def test_null_values_are_left_out_and_other_kinds_are_events(tmp_path):
    train = {"kind": "train", "step": 1, "mfu": None}
    log = read_log(write_log(tmp_path, train, {"kind": "checkpoint", "step": 1}))
    assert log.values("train", "mfu") == []
    assert log.values("evaluate", "mlm_loss") == []
    assert log.events == [{"kind": "checkpoint", "step": 1}]
    assert (log.count("checkpoint"), log.count("skip")) == (1, 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no line of kind 'train'"),
        ('{"kind": "evaluate", "step": 1}\n', "no line of kind 'train'"),
        ('{"kind": "train", "step": 1}\n{"kind": "tr', "line 2 is not JSON"),
        ('{"kind": "train", "step": 1, "mlm_loss": NaN}\n', "line 1 is not JSON .NaN is not"),
        ('{"kind": "train", "step": "1"}\n', "expected an object with `kind` and a whole `step`"),
        ("[1]\n", "expected an object"),
    ],
)
def test_a_log_of_another_form_is_refused(tmp_path, text, message):
    (tmp_path / "metrics.jsonl").write_text(text, "utf-8")
    with pytest.raises(LogError, match=message):
        read_log(tmp_path / "metrics.jsonl")


def test_a_missing_log_names_the_rule(tmp_path):
    with pytest.raises(FileNotFoundError, match="the rule `pretrain` writes it"):
        read_log(tmp_path / "metrics.jsonl")


def test_thinning_by_hand():
    stroke = thin([(0, 1.0), (1, 3.0), (2, 8.0), (3, 6.0), (4, 5.0)], 3)
    assert stroke.middle == [(0.5, 2.0), (2.5, 7.0), (4.0, 5.0)]
    assert stroke.low == [1.0, 6.0, 5.0]
    assert stroke.high == [3.0, 8.0, 5.0]


@pytest.mark.parametrize("count", [1, 2, 7, 100, 101])
def test_thinning_keeps_to_the_limit_and_hides_no_extreme(count):
    points = [(i, float((i * 37) % 101)) for i in range(count)]
    stroke = thin(points, 10)
    assert len(stroke.middle) <= 10
    assert min(stroke.low) == min(y for _, y in points)
    assert max(stroke.high) == max(y for _, y in points)


def test_costs_are_summed_over_files_and_lines_of_a_stage(tmp_path):
    write_benchmark(tmp_path / "encode/0.tsv", ("1.5", "100", "3.0"), ("2.5", "50", "NA"))
    write_benchmark(tmp_path / "encode/1.tsv", ("4.0", "-", "1.0"))
    write_benchmark(tmp_path / "vocab.tsv", ("2.0", "NA", "-"))
    costs = read_costs(tmp_path, sorted(tmp_path.rglob("*.tsv")))
    encode, vocab = costs["encode"], costs["vocab"]
    assert (encode.runs, encode.seconds, encode.cpu_seconds) == (3, 8.0, 4.0)
    assert encode.peak_bytes == 100 * 2**20
    assert (vocab.runs, vocab.seconds, vocab.cpu_seconds, vocab.peak_bytes) == (1, 2.0, None, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seconds\n1\n", "expected a Snakemake benchmark"),
        ("", "expected a Snakemake benchmark"),
        ("s\tmax_rss\nsoon\t1\n", "s is 'soon'"),
        ("s\tmax_rss\n-1\t1\n", "s is '-1'; expected a number of 0 or more"),
        ("s\tmax_rss\n1\tinf\n", "max_rss is 'inf'"),
    ],
)
def test_a_benchmark_of_another_form_is_refused(tmp_path, text, message):
    (tmp_path / "vocab.tsv").write_text(text, "utf-8")
    with pytest.raises(BenchmarkError, match=message):
        read_costs(tmp_path, [tmp_path / "vocab.tsv"])


def test_the_curve_table_counts_steps_on_through_the_phases(tmp_path):
    """Two phases of two and one steps: the second starts at step 3; a null is an empty field."""
    logs = {}
    for phase, steps in (("phase1", 2), ("phase2", 1)):
        lines = [
            {"kind": "train", "step": s, "loss": s / 2, "mfu": None} for s in range(1, steps + 1)
        ]
        file = tmp_path / f"{phase}.jsonl"
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        logs[phase] = read_log(file)

    assert curve_table(logs, "train") == (
        "phase,step,loss,mfu\nphase1,1,0.5,\nphase1,2,1.0,\nphase2,3,0.5,\n"
    )
