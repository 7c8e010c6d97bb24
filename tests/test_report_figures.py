import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.test_report_page import make_report
from tests.test_report_run import build_run, write_benchmark

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def figures(tmp_path) -> Path:
    run = build_run(tmp_path)
    write_benchmark(run / "benchmarks/vocab/vocab.tsv", ("1800.0", "9.0", "1.0"))
    make_report(run, tmp_path / "report")
    return tmp_path / "report/figures"


def shapes(file: Path, kind: str) -> dict[str, dict[str, str]]:
    """What a drawing says about a shape when pointed at -> its attributes."""
    found = ElementTree.parse(file).getroot().iter(f"{SVG}{kind}")
    return {e.findtext(f"{SVG}title").replace("\u202f", " "): e.attrib for e in found if len(e)}


def test_a_figure_is_readable_xml_without_raster_or_font_and_in_both_colour_schemes(figures):
    files = sorted(figures.iterdir())
    names = (
        "accuracy costs data gradient_norm learning_rate lengths masks mfu mlm_loss nsp_loss scores"
    )
    assert [file.stem for file in files] == [*names.split(), "tokens_per_s"]
    for file in files:
        root = ElementTree.fromstring(file.read_bytes())
        assert root.tag == f"{SVG}svg"
        assert root.get("aria-label")
        assert "prefers-color-scheme: dark" in (root.findtext(f"{SVG}style") or "")
        assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
            *("svg", "style", "g", "path", "rect", "circle", "text", "tspan", "title")
        }
        places = [value for element in root.iter() for value in element.attrib.values()]
        assert not re.search(r"\b(nan|inf)\b", " ".join(places))


def test_every_dot_of_the_strip_plot_stands_at_its_score(figures):
    dots = shapes(figures / "scores.svg", "circle")
    # The axis goes from 0 at 82 to 100 at 302 drawing units.
    assert float(dots["seed 3: 63.00"]["cx"]) == pytest.approx(82 + 2.2 * 63, abs=0.01)
    published = dots["Big: 90.68 \u00b1 0.16"]
    assert float(published["cx"]) == pytest.approx(82 + 2.2 * 90.68, abs=0.01)


def test_phases_follow_each_other_on_the_axis_of_steps(figures):
    dots = shapes(figures / "mlm_loss.svg", "circle")
    assert list(dots) == [f"step {step}: 4.25" for step in (10, 20, 30, 40)]
    # 40 steps between 40 and 304 drawing units.
    assert [float(dot["cx"]) for dot in dots.values()] == [106.0, 172.0, 238.0, 304.0]
    heights = {dot["cy"] for dot in dots.values()}
    assert len(heights) == 1


def test_bars_of_time_are_as_long_as_the_time(figures):
    bars = shapes(figures / "costs.svg", "rect")
    width = {name.partition(":")[0]: float(bar["width"]) for name, bar in bars.items()}
    # 7200 s fill the 234 units; 1800 s are a quarter of it; 12 s less than the visible least.
    assert width == {"pretrain": 234.0, "vocab": 58.5, "extract": 0.8}
    assert list(bars)[-1] == "pretrain: 79.9 % of the time"


def test_bars_of_lengths_are_as_high_as_their_share(figures):
    # phase1 has two jobs of 600 instances: a quarter is up to 64 long, the rest up to 128.
    bars = shapes(figures / "lengths.svg", "rect")
    assert float(bars["up to 64 tokens: 300, 25.0 %"]["height"]) == 20.0
    assert float(bars["up to 128 tokens: 900, 75.0 %"]["height"]) == 60.0


def test_bars_of_documents_and_of_instances_keep_their_scales(figures):
    bars = {n: float(b["width"]) + 1 for n, b in shapes(figures / "data.svg", "rect").items()}
    # 108 items fill 352 units; 1220 instances of phase1 fill a column of 180 less a margin of 24.
    assert bars["kept 100"] == pytest.approx(352 * 100 / 108, abs=0.01)
    assert bars["wikipedia 70"] == pytest.approx(352 * 70 / 108, abs=0.01)
    assert bars["held out 10"] == pytest.approx(352 * 10 / 108, abs=0.01)
    assert bars["1,200"] == pytest.approx(156 * 1200 / 1220, abs=0.01)
    assert bars["400"] == pytest.approx(156 * 400 / 1220, abs=0.01)
