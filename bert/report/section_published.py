"""The run's scores beside published ones."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from bert.report.config import Pick, Published
from bert.report.labels import metric_label, task_label
from bert.report.markup import Child, tag
from bert.report.numbers import NONE, fixed, signed, spread
from bert.report.scores import PRETRAINED, Scores
from bert.report.tables import table

NOTE = (
    "Published scores belong to full-size models trained on the full corpus, each with its own "
    "set-up. A small demo model is not comparable with them; they mark where the road leads."
)
_SPREAD = (
    "The difference is that of this run's {pick} from pretrained weights to the published value; "
    "the published standard deviation is over seeds of fine-tuning."
)
_COLUMNS = ("Task", "Published", "Difference", "Within 2 sd", "Model", "Source")
_FAR = 2.0


def published_part(scores: Scores, published: Sequence[Published], pick: Pick) -> list[Element]:
    """A table of the published scores of the run's tasks; nothing if there are none."""
    shown = [p for p in published if p.task in scores]
    shown.sort(key=lambda p: list(scores).index(p.task))
    if not shown:
        return []
    rows: list[list[Child]] = [
        [
            f"{task_label(p.task)} {metric_label(p.metric)}",
            spread(p.value, p.sd, 2),
            *_difference(p, scores, pick),
            p.model,
            _source(p.source),
        ]
        for p in shown
    ]
    return [
        tag("h3", "Published"),
        table(_COLUMNS, rows, words=(0, 3), long=(4, 5), label="Published scores"),
        tag("p", f"{_SPREAD.format(pick=pick)} {NOTE}", class_="note"),
    ]


def _difference(published: Published, scores: Scores, pick: Pick) -> tuple[str, str]:
    """Points above the published value, and whether they are within two of its deviations."""
    runs = scores[published.task].get(PRETRAINED)
    if runs is None or published.metric not in runs.metrics:
        return NONE, NONE
    points = runs.metrics[published.metric].standing(pick) - published.value
    if published.sd is None:
        return signed(points), "no sd published"
    near = abs(points) <= _FAR * published.sd
    side = "above" if points > 0 else "below"
    return signed(
        points
    ), "yes" if near else f"no, {fixed(abs(points) / published.sd, 1)} sd {side}"


def _source(source: str) -> Child:
    if source.startswith(("https://", "http://")):
        return tag("a", source.partition("://")[2], href=source, class_="source", rel="noreferrer")
    return source
