import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from docutils.core import publish_string

from bert.config import ConfigError, check, load_section
from bert.manifest import read_manifest, sha256_file
from bert.report.config import ReportConfig
from bert.report.page import write_report
from bert.report.run import read_run
from bert.tasks.gate import GateConfig
from tests.test_report_run import build_run, write_receipt, write_score

ROOT = Path(__file__).parent.parent
PUBLISHED = [
    {
        "task": "squad",
        "model": "Big",
        "metric": "f1",
        "value": 90.68,
        "sd": 0.16,
        "source": "a README",
    },
    {"task": "mrpc", "model": "Large", "metric": "accuracy", "value": 86.0, "sd": None}
    | {"source": "https://example.org/mrpc"},
    {
        "task": "cola",
        "model": "Absent",
        "metric": "mcc",
        "value": 60.5,
        "sd": None,
        "source": "a page",
    },
]


GATE = check(
    GateConfig,
    {"action": "fail", "against": ["no_learning", "random"], "margin": 0.0},
    where="test",
)


def make_config(**changes) -> ReportConfig:
    values = {"title": "From text to scores", "pick": "median", "published": PUBLISHED} | changes
    return check(ReportConfig, values, where="test")


def make_report(run: Path, output: Path, **changes) -> str:
    output.mkdir(parents=True)
    write_report(read_run(run), make_config(**changes), GATE, output)
    return (output / "report.html").read_text("utf-8")


class Reader(HTMLParser):
    """Words, attributes and table rows of a page; notices tags that do not match."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str | None]] = []
        self.words: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, name, attributes):
        self.tags.add(name)
        self.attributes += [(name, key, value) for key, value in attributes]
        if name not in {"meta", "link"}:
            self.open.append(name)
        if name == "tr":
            self.rows.append([])
        if name in {"td", "th"}:
            self.rows[-1].append("")

    def handle_endtag(self, name):
        assert self.open.pop() == name

    def handle_data(self, data):
        if "style" in self.open:
            return
        self.words.append(data)
        if "td" in self.open:
            self.rows[-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).replace("\u202f", " ").split())

    def row(self, *start: str) -> list[str]:
        rows = [[cell.replace("\u202f", " ") for cell in row] for row in self.rows]
        return next(row for row in rows if row[: len(start)] == list(start))


@pytest.fixture
def page(tmp_path) -> Reader:
    return Reader(make_report(build_run(tmp_path), tmp_path / "report"))


def test_nothing_is_loaded_from_anywhere(page, tmp_path):
    text = (tmp_path / "report/report.html").read_text("utf-8")
    loading = {"src", "srcset", "data", "action", "poster", "background", "xlink:href"}
    assert not [a for a in page.attributes if a[1] in loading]
    links = [(name, value) for name, key, value in page.attributes if key == "href"]
    outside = [link for link in links if not link[1].startswith(("#", "data:,"))]
    assert outside == [("a", "https://example.org/mrpc")]
    assert not page.tags & {"script", "img", "iframe", "object", "embed", "use", "image"}
    assert "<script" not in text
    assert "@import" not in text
    assert "url(" not in text
    assert ("meta", "content", "default-src 'none'; style-src 'unsafe-inline'; img-src data:") in (
        page.attributes
    )


def test_only_web_addresses_become_links(tmp_path):
    published = [PUBLISHED[0] | {"source": "javascript:alert(1)"}]
    page = Reader(make_report(build_run(tmp_path), tmp_path / "report", published=published))
    assert "javascript:alert(1)" in page.text
    assert not [a for a in page.attributes if "javascript" in (a[2] or "")]


def test_every_contents_link_leads_to_a_section(page):
    targets = {v for name, key, v in page.attributes if (name, key) == ("section", "id")}
    links = {v for name, key, v in page.attributes if (name, key) == ("a", "href")}
    assert {link[1:] for link in links if link.startswith("#")} == targets


def test_odd_names_are_shown_and_never_read_as_markup(tmp_path):
    odd = "<script>alert('x') & \"y\"</script>"
    folder = build_run(tmp_path, 'a <b> & "c"')
    receipt = folder / "extract/wikipedia/manifest.json"
    write_receipt(folder / "extract/a<i>b/manifest.json", "extract", {"documents": 1, odd: 2})
    write_receipt(receipt, "extract", {"documents": 1}, config={"pattern": odd}, inputs={odd: "00"})
    published = [PUBLISHED[0] | {"model": odd, "source": f'https://example.org/"{odd}'}]
    page = Reader(make_report(folder, tmp_path / "report", title=odd, published=published))
    assert page.text.count(odd) >= 4
    assert 'Run a <b> & "c"' in page.text
    assert "extract a<i>b" in page.text
    assert not page.tags & {"script", "i", "b"}
    for file in (tmp_path / "report/figures").iterdir():
        ElementTree.fromstring(file.read_bytes())


def test_equal_runs_give_equal_bytes_wherever_they_lie(tmp_path):
    for place in ("here", "there"):
        make_report(build_run(tmp_path / place), tmp_path / place / "report")
    here = sorted(p for p in (tmp_path / "here/report").rglob("*") if p.is_file())
    assert len(here) == 18
    for file in here:
        other = tmp_path / "there" / file.relative_to(tmp_path / "here")
        assert file.read_bytes() == other.read_bytes()


def run_script(run: Path, config: Path, output: Path) -> subprocess.CompletedProcess[str]:
    gate = config.with_name("gate.json")
    gate.write_text(GATE.model_dump_json(), "utf-8")
    command = [
        sys.executable,
        "scripts/report.py",
        "--config",
        config,
        "--gate",
        gate,
        "--results",
        run,
    ]
    command += ["--output", output, "--log", output.parent / "report.log"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_script_writes_the_whole_folder_with_its_manifest_or_nothing(tmp_path):
    run, config = build_run(tmp_path), tmp_path / "report.json"
    config.write_text(make_config().model_dump_json(), "utf-8")
    output = run / "report"
    assert run_script(run, config, output).returncode == 0
    manifest = read_manifest(output / "manifest.json", stage="report")
    made = {p.relative_to(output).as_posix() for p in output.rglob("*") if p.is_file()}
    assert set(manifest["outputs"]) == made - {"manifest.json"}
    score = "score/squad/random/seed-1/metrics.json"
    assert manifest["inputs"][score] == sha256_file(run / score)
    before = {p: p.read_bytes() for p in output.rglob("*") if p.is_file()}

    write_score(run, "squad", "random", 1, {"f1": 1.0})
    failed = run_script(run, config, output)
    assert failed.returncode == 1
    assert "expected the same metrics in each" in failed.stderr
    assert {p: p.read_bytes() for p in output.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"title": ""}, "title"),
        ({"published": [PUBLISHED[0] | {"value": 101}]}, "published.0.value"),
        ({"published": [PUBLISHED[0] | {"year": 2019}]}, "published.0.year is not a known key"),
    ],
)
def test_a_wrong_section_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message.replace(".", r"\.")):
        make_config(**changes)


def test_a_section_reads_back_as_it_was_written(tmp_path):
    (tmp_path / "report.json").write_text(make_config().model_dump_json(), "utf-8")
    assert load_section(ReportConfig, tmp_path / "report.json") == make_config()


@pytest.mark.parametrize("name", ["workflow", "report", "scores"])
def test_the_captions_for_snakemake_are_valid(name):
    text = (ROOT / f"workflow/report/{name}.rst").read_text("utf-8")
    strict = {"report_level": 1, "halt_level": 1}
    assert b"<p>" in publish_string(text, writer="html5", settings_overrides=strict)


def test_a_run_that_only_pretrains_has_a_page_without_scores(tmp_path):
    folder = build_run(tmp_path)
    output = tmp_path / "report"
    output.mkdir()
    run = read_run(folder, {"finetune": [], "score": []})
    write_report(run, make_config(), GATE, output)
    page = Reader((output / "report.html").read_text("utf-8"))

    assert "Held out" in page.text or "held out" in page.text
    assert "#scores" not in {value for _, _, value in page.attributes}
    assert "weights" not in page.words[:20]
    assert (output / "scores.csv").read_text().count("\n") == 1
    assert not (output / "figures/scores.svg").exists()
