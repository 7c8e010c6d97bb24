import pytest

from bert.report.axes import Frame, apart, ticks
from bert.report.markup import as_html, as_svg, coordinate, tag
from bert.report.numbers import fixed, percent, short, size, spread, tick, whole


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (whole(1234567), "1,234,567"),
        (short(0), "0"),
        (short(950), "950"),
        (short(999.6), "1 k"),
        (short(12_345), "12.3 k"),
        (short(4_390_144), "4.39 M"),
        (short(2.75e9), "2.75 B"),
        (size(512), "512 B"),
        (size(5.5e9), "5.5 GB"),
        (percent(0.15), "15.0 %"),
        (percent(None), "\u2013"),
        (fixed(-1.234), "\u22121.23"),
        (fixed(None), "\u2013"),
        (spread(61.24, 0.85, 2), "61.24 \u00b1 0.85"),
        (spread(61.24, None), "61.2"),
        (tick(0), "0"),
        (tick(0.25), "0.25"),
        (tick(0.0004), "4e\u22124"),
        (tick(1500), "1.5k"),
        (tick(2_000_000), "2M"),
    ],
)
def test_numbers_are_written_for_readers(shown, expected):
    assert shown.replace("\u202f", " ") == expected


@pytest.mark.parametrize("low", [-7.3, 0.0, 1e-6, 2.5])
@pytest.mark.parametrize("width", [1e-5, 0.3, 1.0, 47.0, 8601.0])
@pytest.mark.parametrize("count", [3, 4, 6])
def test_ticks_enclose_the_values_in_about_as_many_round_steps(low, width, count):
    values = ticks(low, low + width, count)
    step = values[1] - values[0]
    assert values[0] <= low + 1e-6 * step
    assert values[-1] >= low + width - 1e-6 * step
    assert 2 <= len(values) <= count + 3
    digits = f"{step:.6e}"
    assert digits[0] in "125"
    assert digits[1:8] == ".000000"


@pytest.mark.parametrize("value", [0.0, 5.0, -2.0])
def test_ticks_of_a_single_value_have_it_inside(value):
    values = ticks(value, value, 4)
    assert values[0] < value < values[-1]


def test_a_frame_puts_values_at_its_edges():
    frame = Frame(x0=0, x1=200, y0=2, y1=8)
    assert (frame.x(0), frame.x(200), frame.x(100)) == (40.0, 304.0, 172.0)
    assert (frame.y(2), frame.y(8)) == (178.0, 40.0)


def test_labels_are_moved_apart_and_stay_above_the_lowest_place():
    assert apart([50.0, 10.0], 20.0, 100.0) == [50.0, 10.0]
    assert apart([12.0, 10.0], 20.0, 100.0) == [30.0, 10.0]
    assert apart([98.0, 97.0], 20.0, 100.0) == [100.0, 80.0]


def test_texts_and_attributes_are_escaped():
    element = tag("p", "<b>&", tag("em", "x", title='"<'), "a < b", class_="it's")
    html = '<p class="it\'s">&lt;b&gt;&amp;<em title="&quot;<">x</em>a &lt; b</p>'
    assert "".join(as_html(element).split("\n")) == html


def test_what_xml_cannot_hold_is_replaced():
    assert "a\ufffdb\ufffd" in as_html(tag("p", "a\x00b\udcff"))


def test_a_drawing_of_its_own_has_a_margin_a_background_and_its_style():
    file = as_svg(tag("svg", tag("path", d="M0 0"), viewBox="0 0 100 50"), "path{fill:red}")
    assert 'viewBox="-12 -12 124 74"' in file
    assert '<rect class="paper" x="-12" y="-12" width="124" height="74"' in file
    assert "<style>path{fill:red}</style>" in file


def test_coordinates_are_short_and_have_no_negative_zero():
    assert [coordinate(v) for v in (12.50001, 3.0, -0.001, -1.25)] == ["12.5", "3", "0", "-1.25"]
