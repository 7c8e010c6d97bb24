"""The page as a whole: figures, sections, and the files of the stage.

Everything is inside the one file: styles, drawings, words. It has no script, asks nothing of the
network, and says so to the browser.
"""

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from string import Template
from xml.etree.ElementTree import Element

from bert.manifest import write_json
from bert.report.charts import CHARTS
from bert.report.config import ReportConfig
from bert.report.curves import curve_table
from bert.report.data_card import data_card
from bert.report.figure_costs import costs_figure
from bert.report.figure_data import flow_figure, lengths_figure
from bert.report.figure_examine import examine_figure
from bert.report.figure_scores import scores_figure
from bert.report.figure_training import training_figure
from bert.report.flow import Flow, trace
from bert.report.markup import as_html, as_svg, tag
from bert.report.run import Run
from bert.report.score_files import scores_document, scores_table
from bert.report.scores import Scores, check_runs, gather
from bert.report.section_costs import costs_section, stages
from bert.report.section_data import data_section
from bert.report.section_gate import verdicts
from bert.report.section_provenance import provenance_section
from bert.report.section_scores import scores_section
from bert.report.section_top import alarm, cards, verdict
from bert.report.section_training import training_section
from bert.tasks.gate import GateConfig, Verdict

Drawings = Mapping[str, Element | None]

_CONTENTS = {
    "scores": "Scores",
    "training": "Pretraining",
    "data": "Data",
    "cost": "Cost",
    "provenance": "Provenance",
}


def write_report(run: Run, config: ReportConfig, gate: GateConfig, output: Path) -> list[Path]:
    """Writes `report.html`, `data_card.md`, `scores.json`, `scores.csv`, curves and figures.

    Args:
        run: The run, as `read_run` gives it.
        config: Title and published scores.
        gate: What the scores must be above.
        output: An existing folder.

    Returns:
        The files written.

    Raises:
        ScoreError: The scores contradict each other or their places.
        GateError: Scores of one task cannot be judged together.
    """
    tuned, scored = (run.receipts.get(stage, {}) for stage in ("finetune", "score"))
    check_runs(tuned, scored)
    scores, flow = gather(scored, tuned), trace(run)
    judged = verdicts(scored, gate)
    drawings = figures(run, config, scores, flow)
    text = page(run, config, scores, judged, flow, drawings)
    (output / "report.html").write_text(text, "utf-8")
    (output / "data_card.md").write_text(data_card(run), "utf-8")
    (output / "scores.csv").write_text(scores_table(scores), "utf-8")
    for kind in ("train", "evaluate"):
        (output / f"curves_{kind}.csv").write_text(curve_table(run.logs, kind), "utf-8")
    write_json(output / "scores.json", scores_document(run, scores, judged))
    (output / "figures").mkdir()
    for name, drawing in drawings.items():
        if drawing is not None:
            file = output / "figures" / f"{name}.svg"
            file.write_text(as_svg(drawing, _style("figure.css")), "utf-8")
    return sorted(file for file in output.rglob("*") if file.is_file())


def figures(run: Run, config: ReportConfig, scores: Scores, flow: Flow) -> Drawings:
    """File name (without suffix) to drawing; None where the run has nothing to draw."""
    charts = {name: training_figure(run, chart) for name, chart in CHARTS.items()}
    return {
        "scores": scores_figure(scores, config.published, config.pick) if scores else None,
        **charts,
        "data": flow_figure(flow),
        "lengths": lengths_figure(flow.phases),
        "masks": examine_figure(run.receipts.get("examine", {})),
        "costs": costs_figure(run.costs, stages(run)),
    }


def page(
    run: Run,
    config: ReportConfig,
    scores: Scores,
    judged: Mapping[str, Verdict],
    flow: Flow,
    drawings: Drawings,
) -> str:
    """The page as HTML text."""
    sections = [
        scores_section(run, scores, judged, config, drawings["scores"]) if scores else None,
        training_section(run, {name: drawings[name] for name in CHARTS}) if flow.phases else None,
        data_section(
            run,
            flow,
            funnel=drawings["data"],
            lengths=drawings["lengths"],
            seen=drawings["masks"],
        ),
        costs_section(run, drawings["costs"]),
        provenance_section(run),
    ]
    header = _header(run, config, scores, judged, [s for s in sections if s is not None])
    template = Template(_style("page.html"))
    return template.substitute(
        title=as_html(tag("title", f"{config.title} \u2013 {run.name}")),
        style=_style("figure.css") + _style("page.css"),
        body="".join(map(as_html, [header, tag("main", *sections), _footer()])),
    )


def _header(
    run: Run,
    config: ReportConfig,
    scores: Scores,
    judged: Mapping[str, Verdict],
    sections: Sequence[Element],
) -> Element:
    names = [section.attrib["id"] for section in sections]
    links = [tag("a", words, href=f"#{name}") for name, words in _CONTENTS.items() if name in names]
    return tag(
        "header",
        tag("p", f"Run {run.name}", class_="kicker"),
        tag("h1", config.title),
        verdict(scores, config.pick) if scores else None,
        alarm(judged),
        cards(run, scores, config.pick),
        tag("nav", *links, aria_label="Contents"),
    )


def _footer() -> Element:
    words = "Made from the files of the run alone: the same run gives the same page, byte for byte."
    return tag("footer", words)


def _style(name: str) -> str:
    return resources.files("bert.report").joinpath(name).read_text("utf-8")
