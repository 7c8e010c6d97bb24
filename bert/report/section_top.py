"""The top of the page: the run in a sentence, and the numbers one looks for first."""

from collections.abc import Mapping
from xml.etree.ElementTree import Element

from bert.log import human_time
from bert.report.config import Pick
from bert.report.glue import glue_averages
from bert.report.labels import metric_label, task_label
from bert.report.markup import Child, tag
from bert.report.numbers import fixed, percent, short, whole
from bert.report.run import Run
from bert.report.scores import PRETRAINED, Runs, Scores
from bert.tasks.gate import Verdict

# Of more tasks a sentence tells what the numbers are once, not of each.
_MANY = 3
_MANY_WORDS: Mapping[Pick, str] = {
    "median": "the median over its seeds",
    "best": "the best of its seeds, which is optimistic",
}


def verdict(scores: Scores, pick: Pick) -> Element:
    """Each task's headline score in one sentence; of few tasks from all of its starts."""
    many = len(scores) > _MANY
    words: list[Child] = []
    for task, starts in scores.items():
        metric = next(iter(starts.values())).headline
        words.append(f"{'; ' if words else ''}{task_label(task)} {metric_label(metric)} ")
        words += _first_start(starts, pick) if many else _all_starts(starts, pick)
    end = f". Each, from pretrained weights, is {_MANY_WORDS[pick]}." if many else "."
    return tag("p", *words, end, class_="verdict")


def _first_start(starts: Mapping[str, Runs], pick: Pick) -> list[Child]:
    start, runs = next(iter(starts.items()))
    where = None if start == PRETRAINED else f" ({start} weights)"
    return [tag("strong", fixed(runs.main.standing(pick), 1)), where]


def _all_starts(starts: Mapping[str, Runs], pick: Pick) -> list[Child]:
    words: list[Child] = []
    for number, (start, runs) in enumerate(starts.items()):
        score = fixed(runs.main.standing(pick), 1)
        words += [" vs " if number else None, tag("strong", score), f" from {start} weights"]
        words.append(None if number else f" ({_of(runs, pick)})")
    return words


def alarm(verdicts: Mapping[str, Verdict]) -> Element | None:
    """What does not pass the gate, above everything else; None if all does."""
    failed = [task_label(task) for task, verdict in verdicts.items() if not verdict.passed]
    if not failed:
        return None
    words = "does not pass" if len(failed) == 1 else "do not pass"
    reason = f" {', '.join(failed)} {words} the gate: see the scores below."
    return tag("p", tag("strong", "Not a result."), reason, class_="alarm")


def cards(run: Run, scores: Scores, pick: Pick) -> Element:
    """The numbers one looks for first."""
    note = f"mean over the tasks, of the {pick} of each"
    found = [_task_card(task, starts, pick) for task, starts in scores.items()]
    found += [
        _card(average.name, fixed(average.of(lambda s: s.standing(pick)), 1), note)
        for average in glue_averages(scores)
        if average.start == PRETRAINED
    ]
    found += _pretraining_cards(run)
    if run.costs:
        seconds = sum(cost.seconds for cost in run.costs.values())
        found.append(_card("Time", human_time(seconds), "all jobs of all stages together"))
    return tag("dl", *found, class_="cards")


def _pretraining_cards(run: Run) -> list[Element]:
    """What the phases came to; none in a run that only fine-tunes."""
    phases = run.phases()
    if not phases:
        return []
    found = []
    held_out = run.receipts["evaluate"][phases[-1]]["metrics"]
    for name, words in (("mlm_accuracy", "MLM accuracy"), ("nsp_accuracy", "NSP accuracy")):
        if held_out.get(name) is not None:
            found.append(_card(words, percent(held_out[name]), f"held out, after {phases[-1]}"))
    counts = [receipt["counts"] for receipt in run.receipts["pretrain"].values()]
    tokens, steps = sum(c["tokens"] for c in counts), sum(c["steps"] for c in counts)
    parameters = f"{short(counts[-1]['parameters'])} parameters, {whole(steps)} steps"
    return [*found, _card("Tokens seen", short(tokens), parameters)]


def _task_card(task: str, starts: Mapping[str, Runs], pick: Pick) -> Element:
    start, runs = next(iter(starts.items()))
    others = [
        f"{name} weights {fixed(found.main.standing(pick), 1)}" for name, found in starts.items()
    ]
    notes = [_of(runs, pick), *others[1:]] if start == PRETRAINED else [f"{start} weights"]
    title = f"{task_label(task)} {metric_label(runs.headline)}"
    return _card(title, fixed(runs.main.standing(pick), 1), ", ".join(notes))


def _of(runs: Runs, pick: Pick) -> str:
    """How the number came about: median of 5 seeds, sd 1.2."""
    summary = runs.main
    if summary.n == 1:
        return "1 seed"
    sd = f", sd {fixed(summary.sd, 1)}"
    if pick == "best":
        return f"best of {summary.n} seeds, optimistic; median {fixed(summary.median, 1)}{sd}"
    return f"median of {summary.n} seeds{sd}"


def _card(label: str, value: str, note: str) -> Element:
    number = tag("dd", value, class_="value")
    return tag("div", tag("dt", label), number, tag("dd", note), class_="card")
