from typing import Any

from bert.report.run import Run
from bert.report.section_vocabulary import vocabulary_table


def run_with(receipt: dict[str, Any]) -> Run:
    return Run(name="r", receipts={"vocab": {"": receipt}}, logs={}, costs={}, digests={})


def test_each_source_is_a_row_of_its_shares() -> None:
    values = {
        "bytes": 8_000_000,
        "words": 1_300_000,
        "tokens": 1_700_000,
        "unknown_share": 0.00012,
        "continuation_share": 0.205,
        "tokens_per_word": 1.3077,
        "tokens_per_byte": 0.2125,
    }
    found = vocabulary_table(run_with({"statistics": {"coverage": {"books": values}}}))
    assert found is not None
    cells = [cell.text for cell in found.iter("td")]
    assert cells == ["books", "8\u202fMB", "0.012\u202f%", "1.31", "20.5\u202f%", "0.212"]


def test_a_receipt_without_coverage_leaves_no_gap() -> None:
    assert vocabulary_table(run_with({"counts": {}})) is None
