"""Runs side by side: loss curves, steps to a loss, speed, and how far they are equal.

    python -m bert.report.compare results/a results/b --output results/compare

Reads the pretraining logs of runs, finished or not, and writes a folder with compare.html (one
file, nothing loaded from anywhere), its figures, and compare.csv.
"""

import argparse
import csv
import io
import sys
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from string import Template
from xml.etree.ElementTree import Element

from bert import log
from bert.log import human_time
from bert.manifest import atomic_directory
from bert.report.comparison import arrival, compare_exactly, ended_at, levels, typical
from bert.report.figure_compare import COLOURS, COMPARISONS, comparison_figure, side_by_side
from bert.report.markup import Child, as_html, as_svg, tag
from bert.report.numbers import NONE, fixed, percent, short, tick, whole
from bert.report.run import RunError
from bert.report.tables import figure, section, table
from bert.report.training_run import Training, read_training
from bert.report.training_words import events, method

_LEAD = (
    "All phases on one axis. Held-out losses are dots; training losses are means of neighbouring "
    "steps over a band of their lowest to highest. A line is broken between two phases."
)
_REACH = (
    "The first held-out evaluation at or below the loss: optimizer steps, samples, training time. "
    "Evaluations further apart find it later."
)
_EQUAL = (
    "Fields of metrics.jsonl that are functions of the training alone, line by line, as far as "
    "both runs went. Speeds, memory and interruptions do not count."
)


def write_comparison(
    trainings: Sequence[Training], losses: Sequence[float], output: Path
) -> list[str]:
    """Writes compare.html, compare.csv and figures/.

    Args:
        trainings: Two or more runs with different names; the first is what others are held to.
        losses: Held-out losses to be reached, highest first.
        output: An existing folder.

    Returns:
        What there is to say about equality, a line for each run but the first.

    Raises:
        RunError: Too few or too many runs, or two of one name.
    """
    _check(trainings)
    drawings = {name: comparison_figure(trainings, c) for name, c in COMPARISONS.items()}
    (output / "compare.html").write_text(_page(trainings, losses, drawings), "utf-8")
    (output / "compare.csv").write_text(_reached_csv(trainings, losses), "utf-8")
    (output / "figures").mkdir()
    for name, drawing in drawings.items():
        if drawing is not None:
            text = as_svg(drawing, _style("figure.css"))
            (output / "figures" / f"{name}.svg").write_text(text, "utf-8")
    together = as_svg(side_by_side(drawings.values()), _style("figure.css"))
    (output / "figures" / "all.svg").write_text(together, "utf-8")
    return [": ".join(map(str, row[:2])) for row in _exactness(trainings)]


def _check(trainings: Sequence[Training]) -> None:
    names = [training.name for training in trainings]
    if not 2 <= len(set(names)) <= len(COLOURS) or len(set(names)) < len(names):
        raise RunError(
            f"{', '.join(names)}: expected two to {len(COLOURS)} runs whose folders have different "
            "names; a run is named by `run` in its configuration."
        )


def _page(
    trainings: Sequence[Training],
    losses: Sequence[float],
    drawings: Mapping[str, Element | None],
) -> str:
    names = ", ".join(training.name for training in trainings)
    header = tag("header", tag("p", "Runs side by side", class_="kicker"), tag("h1", names))
    charts = tag("div", *[figure(drawing) for drawing in drawings.values()], class_="charts")
    main = tag(
        "main",
        section("curves", "Pretraining", _LEAD, charts),
        section("phases", "Phases", None, _phases(trainings)),
        section("reach", "Steps to a held-out MLM loss", _REACH, _reached(trainings, losses)),
        section("equal", f"Equal to {trainings[0].name}?", _EQUAL, _equal(trainings)),
    )
    return Template(_style("page.html")).substitute(
        title=as_html(tag("title", names)),
        style=_style("figure.css") + _style("page.css"),
        body="".join(map(as_html, [header, main])),
    )


def _phases(trainings: Sequence[Training]) -> Element:
    rows = [
        _phase_row(training, colour, phase)
        for training, colour in zip(trainings, COLOURS, strict=False)
        for phase in training.logs
    ]
    measured = ["MLM loss", "held out", "accuracy", "Tokens/s", "Peak memory", "Time"]
    columns = ["Run", "Phase", "How", "Events", "Steps", *measured]
    return table(columns, rows, words=(0, 1, 2, 3), long=(2, 3), label="Phases of each run")


def _phase_row(training: Training, colour: str, phase: str) -> list[Child]:
    found = training.logs[phase]
    seconds = found.values("train", "elapsed_s")
    memory = found.values("train", "peak_memory_mb")
    speed = typical(found, "tokens_per_s")
    return [
        tag("span", training.name, class_=f"key {colour}"),
        phase,
        _how(training, phase) or NONE,
        events(found) or NONE,
        whole(found.last_step),
        fixed(ended_at(found, "train", "mlm_loss"), 3),
        fixed(ended_at(found, "evaluate", "mlm_loss"), 3),
        percent(ended_at(found, "evaluate", "mlm_accuracy")),
        NONE if speed is None else short(speed),
        f"{max(mb for _, mb in memory):,.0f} MB" if memory else NONE,
        human_time(seconds[-1][1]) if seconds else NONE,
    ]


def _how(training: Training, phase: str) -> str:
    device = training.devices[phase]
    facts = [device[name] for name in ("precision", "name") if device.get(name)]
    ranks = device.get("ranks", 1)
    more = [f"{ranks} ranks"] if ranks > 1 else []
    return ", ".join([words for words in (method(training.configs[phase]), *facts, *more) if words])


def _reached(trainings: Sequence[Training], losses: Sequence[float]) -> Element:
    rows: list[list[Child]] = [
        [tick(loss), *[_arrival_cell(arrival(t, loss)) for t in trainings]] for loss in losses
    ]
    return table(["Loss", *[t.name for t in trainings]], rows, label="Steps to a loss")


def _arrival_cell(places: Mapping[str, float]) -> Child:
    if not places:
        return NONE
    more = [f"{short(places['samples'])} samples"] if "samples" in places else []
    more += [human_time(places["time"])] if "time" in places else []
    return tag("span", tag("strong", whole(places["steps"])), tag("small", f" {', '.join(more)}"))


def _reached_csv(trainings: Sequence[Training], losses: Sequence[float]) -> str:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["run", "held_out_mlm_loss", "steps", "samples", "training_s"])
    for training in trainings:
        for loss in losses:
            places = arrival(training, loss)
            found = [places.get(axis) for axis in ("steps", "samples", "time")]
            shown = ["" if value is None else f"{value:.10g}" for value in found]
            rows.writerow([training.name, f"{loss:.10g}", *shown])
    return text.getvalue()


def _equal(trainings: Sequence[Training]) -> Element:
    columns = ["Run", "Equal up to", "Equal lines", "First difference"]
    return table(columns, _exactness(trainings), words=(0, 1, 3), long=(3,), label="Equality")


def _exactness(trainings: Sequence[Training]) -> list[list[Child]]:
    rows: list[list[Child]] = []
    for training in trainings[1:]:
        found = compare_exactly(trainings[0], training)
        up_to = "nothing" if found.last is None else f"{found.last[0]} step {found.last[1]:,}"
        if found.last is not None and found.difference is None:
            up_to += ", the end of what both have"
        rows.append([training.name, up_to, whole(found.equal), found.difference or NONE])
    return rows


def _style(name: str) -> str:
    return resources.files("bert.report").joinpath(name).read_text("utf-8")


def main() -> int:
    """Compares the runs named on the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="results/<run>")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--losses", type=float, nargs="+", help="held-out MLM losses to be reached; default: round"
    )
    args = parser.parse_args()
    log.setup(None)
    trainings = [read_training(run) for run in args.runs]
    losses = sorted(args.losses or levels(trainings), reverse=True)
    with atomic_directory(args.output) as folder:
        said = write_comparison(trainings, losses, folder)
    first = trainings[0].name
    lines = [f"equal to {first} up to: {line}" for line in said]
    sys.stdout.write("\n".join([*lines, f"wrote {args.output / 'compare.html'}"]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
