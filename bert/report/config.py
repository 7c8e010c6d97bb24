"""Section `report`: the title of the page and the published scores that stand beside the run's."""

from typing import Literal

from bert.config import Section, knob

Pick = Literal["median", "best"]


class Published(Section):
    """One published score."""

    task: str = knob("Task it was measured on, as the score files name it (squad, mrpc).")
    model: str = knob("Model and system that reached it.", min_length=1)
    metric: str = knob("Metric, as the score files name it (f1, exact_match, accuracy).")
    value: float = knob("Score, in percent.", ge=0, le=100)
    sd: float | None = knob("Standard deviation over seeds, in percent; null if not published.")
    source: str = knob("Where it was published: a document and its place, or an https address.")


class ReportConfig(Section):
    """What the page says that no file of the run says."""

    title: str = knob("Heading of the page.", min_length=1)
    pick: Pick = knob(
        "The number that stands for a task: the median over its seeds; or best, that of the best "
        "of independent workers, which is optimistic and said to be so."
    )
    published: list[Published] = knob("Published scores, shown for the tasks of the run.")
