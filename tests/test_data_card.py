import json
import shutil
from pathlib import Path

import pytest

from bert.report.data_card import data_card
from bert.report.run import read_run
from bert.report.sources import text_sources
from tests.test_report_page import Reader, make_report
from tests.test_report_run import build_run, write_receipt


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return build_run(tmp_path)


def rows(card: str) -> list[list[str]]:
    """Cells of all table lines of a Markdown text."""
    lines = [line for line in card.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_the_card_has_the_numbers_of_the_receipts(folder: Path) -> None:
    card = data_card(read_run(folder))
    found = rows(card)
    assert ["wikipedia", "CC-BY-SA-4.0", "", "70", "900", "not stated"] in found
    wikipedia = "1 exact duplicates, 4 near duplicates, 1 leaked"
    assert ["wikipedia", "70", wikipedia, "6", "1", "58"] in found
    assert ["books", "30", "10 by weight", "4", "2", "32"] in found
    task = ["squad", "50", "40", "20 (50.0 %)", "5 (12.5 %)", "7"]
    assert task in found
    assert "word 5-grams at least 0.8" in card
    assert "Of 40 held-out sentences of 10 words or more, 3 do (7.5\u202f%)." in card
    assert "Such documents were kept." in card
    assert f"- `input.txt` sha256 `{'1a' * 32}`" in card


def test_sources_come_in_the_order_of_their_documents(folder: Path) -> None:
    assert [source.name for source in text_sources(read_run(folder))] == ["wikipedia", "books"]


def test_a_run_without_filter_says_that_nothing_was_looked_for(folder: Path) -> None:
    shutil.rmtree(folder / "filter")
    write_receipt(folder / "split/manifest.json", "split", {"documents": 100})
    card = data_card(read_run(folder))
    assert "Duplicates were not looked for." in card
    assert "It was not looked for." in card
    assert "held-out sentences" not in card


def test_contaminated_documents_that_were_dropped_are_told(folder: Path) -> None:
    manifest = folder / "filter/manifest.json"
    receipt = json.loads(manifest.read_text())
    receipt["config"]["contamination"]["drop_share"] = 0.5
    receipt["config"] |= {"near_duplicates": None, "exact_duplicates": False}
    manifest.write_text(json.dumps(receipt))
    card = data_card(read_run(folder))
    assert "at least 50 % of their words" in card
    assert "Exact duplicates (equal words) were not removed" in card
    assert "Near duplicates were not looked for." in card


def test_a_long_list_of_raw_files_is_cut_and_the_rest_is_told(folder: Path) -> None:
    inputs = {f"web/{n:03d}.txt": f"{n:064x}" for n in range(100)}
    write_receipt(
        folder / "extract/books/manifest.json", "extract", {"documents": 30}, inputs=inputs
    )
    card = data_card(read_run(folder))
    assert "`web/039.txt`" in card
    assert "`web/040.txt`" not in card
    assert "- and 60 more; digest of the list" in card


def test_a_licence_with_a_bar_or_a_line_break_stays_in_its_cell(folder: Path) -> None:
    more = {"statistics": {"licence": "mixed | see\nthe list"}}
    write_receipt(folder / "extract/books/manifest.json", "extract", {"documents": 30}, **more)
    assert "| books | mixed \\| see the list |" in data_card(read_run(folder))


def test_the_page_shows_the_sources_and_the_card_lies_beside_it(folder: Path, tmp_path) -> None:
    page = Reader(make_report(folder, tmp_path / "report"))
    assert page.row("books", "public domain")[2:] == ["30", "10 by weight", "4", "2", "32"]
    assert page.row("squad", "50")[2:] == ["40", "20 (50.0 %)", "5 (12.5 %)", "7"]
    assert "No held-out document stands in the training text as a whole." in page.text
    assert (
        (tmp_path / "report/data_card.md").read_text("utf-8").startswith("# Data of the run tiny")
    )
