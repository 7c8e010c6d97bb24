import json
import shutil

import pytest

from bert.report.data_card import data_card
from bert.report.figure_data import flow_figure
from bert.report.figure_examine import examine_figure
from bert.report.flow import differences, trace
from bert.report.markup import as_html
from bert.report.run import read_run
from bert.report.section_examine import examine_part
from tests.test_report_run import build_run, write_receipt


@pytest.fixture
def finished_run(tmp_path):
    return build_run(tmp_path)


@pytest.fixture
def given_run(finished_run):
    """The finished run as if its shards had been given: nothing before them."""
    for stage in ("extract", "split", "encode", "shard"):
        shutil.rmtree(finished_run / stage)
    for phase in ("phase1", "phase2"):
        for job, instances in (("000", 1000), ("held_out", 20)):
            write_receipt(
                finished_run / f"shard/{phase}/{job}.json",
                "shard",
                {"shards": 4, "instances": instances},
                given={"dialect": "nvidia"},
                config={"max_seq_length": 128},
            )
    return read_run(finished_run)


def test_a_run_on_given_shards_starts_at_its_shards(given_run):
    flow = trace(given_run)

    assert flow.sources == ()
    assert [(p.instances, p.sharded, p.held_out) for p in flow.phases] == [(1000, 1000, 20)] * 2
    assert differences(given_run, flow) == []
    assert flow_figure(flow) is None


def test_the_data_card_of_given_shards_says_that_their_text_is_not_known(given_run):
    card = data_card(given_run)

    assert "licences are not known" in card
    assert "| phase1/000 | 1,000 | nvidia |" in card
    assert "## Sources" not in card


def test_text_stages_are_missed_only_where_text_was_the_start(finished_run):
    shutil.rmtree(finished_run / "encode")

    with pytest.raises(FileNotFoundError, match="the rule `encode` writes it"):
        read_run(finished_run)


def test_the_shares_of_what_is_shown_are_drawn_and_told(finished_run):
    run = read_run(finished_run)
    drawing = examine_figure(run.receipts["examine"])

    assert as_html(drawing).count("[MASK] 80.0") == 2  # a label in each phase
    assert "1.0\u202f%" in as_html(examine_part(run, drawing))


def test_a_run_that_was_not_examined_draws_nothing():
    assert examine_figure({}) is None


def test_columns_are_as_high_as_their_shares(finished_run):
    file = finished_run / "examine/phase1/manifest.json"
    receipt = json.loads(file.read_bytes())
    receipt["statistics"]["target_share_by_place"] = [0.2, 0.1] + [0.0] * 8
    drawing = examine_figure({"phase1": receipt})

    columns = [r for r in drawing.iter("rect") if r.get("class") == "bar grey"]
    heights = [float(column.get("height")) for column in columns]
    assert heights[0] == 2 * heights[1]
    assert set(heights[2:]) == {0.8}
