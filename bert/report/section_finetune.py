"""The fine-tuning runs on the page: what each was made of, and which ended early."""

from typing import Any
from xml.etree.ElementTree import Element

from bert.report.labels import task_label
from bert.report.markup import Child, tag
from bert.report.numbers import NONE, tick, whole
from bert.report.run import Receipt, Run
from bert.report.tables import fold, table
from bert.tasks.trials import parse_trial

_COLUMNS = ("Task", "Start", "Learning rate", "Seed", "Examples", "Features", "Steps")


def finetune_part(run: Run) -> list[Element]:
    """What early stopping chose, and a fold with all runs."""
    receipts = run.receipts["finetune"]
    stopping = {
        job.split("/")[0]: receipt["config"]["early_stopping"]
        for job, receipt in receipts.items()
        if receipt["config"].get("early_stopping")
    }
    notes = [
        tag("p", tag("strong", task_label(task)), f" {_stopping(how)}", class_="note")
        for task, how in stopping.items()
    ]
    rows = [_row(job, receipt) for job, receipt in receipts.items()]
    grid = table(_COLUMNS, rows, words=(0, 1), label="Fine-tuning runs")
    return [*notes, fold(f"The {len(rows)} fine-tuning runs behind these scores", grid)]


def _stopping(how: dict[str, Any]) -> str:
    scores = "1 score" if how["patience"] == 1 else f"{how['patience']} scores"
    return (
        "was trained with early stopping: scored on the development data every "
        f"{how['every']:g} epochs, to end after {scores} without a better one, and the weights "
        "with the best score kept. Its scores are chosen on the data they are given for."
    )


def _row(job: str, receipt: Receipt) -> list[Child]:
    task, start, trial = job.split("/")
    counts, rate = receipt["counts"], receipt["config"].get("learning_rate")
    return [
        task_label(task),
        start,
        NONE if rate is None else tick(rate),
        str(parse_trial(trial).seed),
        *[whole(counts[name]) if name in counts else NONE for name in ("examples", "features")],
        _steps(receipt),
    ]


def _steps(receipt: Receipt) -> str:
    """Steps of a run, and with early stopping the one whose weights were kept."""
    steps, best = whole(receipt["counts"]["steps"]), receipt.get("best")
    return steps if not best else f"{steps}, kept {whole(best['step'])}"
