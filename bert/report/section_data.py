"""The data's way on the page: funnel, lengths, and every count between raw file and shard."""

from collections.abc import Callable, Sequence
from xml.etree.ElementTree import Element

from bert.report.flow import PHASE_INSTANCES, SKIPPED, Flow, Phase, differences
from bert.report.markup import Child, tag
from bert.report.numbers import NONE, fixed, percent, short, whole
from bert.report.run import Receipt, Run, training_jobs
from bert.report.section_examine import examine_part
from bert.report.section_sources import sources_part
from bert.report.section_vocabulary import vocabulary_table
from bert.report.tables import figure, section, table


def data_section(
    run: Run, flow: Flow, *, funnel: Element | None, lengths: Element | None, seen: Element | None
) -> Element:
    """Drawings and tables of the data stages; `seen` draws what training sees."""
    if not flow.phases:
        return _without_text(run, flow)
    apart = differences(run, flow)
    if apart:
        balance = tag(
            "p", tag("strong", "The counts do not agree. "), "; ".join(apart), ".", class_="alarm"
        )
    else:
        balance = tag(
            "p", "Every encoded instance is in exactly one shard: the counts agree.", class_="note"
        )
    return section(
        "data",
        "Data",
        "From raw files to shuffled shards, as counted by each stage, with what was left out.",
        tag(
            "div",
            figure(funnel, "Bars of documents share one scale, bars of instances another."),
            figure(lengths),
            tag("div", _phase_table(flow), balance),
            class_="charts",
        ),
        *sources_part(run),
        vocabulary_table(run),
        examine_part(run, seen),
        tag("h3", "Every count on the way"),
        _ledger(run, flow),
    )


def _without_text(run: Run, flow: Flow) -> Element:
    """What is left of the section in a run that only fine-tunes."""
    return section(
        "data",
        "Data",
        "No text was read for pretraining: the weights were trained elsewhere, and the text they "
        "were trained on is not known to this run.",
        vocabulary_table(run),
        tag("h3", "Every count on the way"),
        _ledger(run, flow),
    )


_ROWS: tuple[tuple[str, Callable[[Phase], str]], ...] = (
    ("Documents", lambda p: whole(p.documents)),
    ("Instances", lambda p: whole(p.instances)),
    ("Held-out instances", lambda p: whole(p.held_out)),
    ("Shards", lambda p: whole(p.shards)),
    ("Tokens", lambda p: short(p.tokens)),
    ("Tokens per instance", lambda p: fixed(p.mean_length, 1)),
    ("Longest allowed", lambda p: NONE if p.max_seq_length is None else whole(p.max_seq_length)),
    ("Padding avoided", lambda p: percent(_padding(p))),
    ("Random second halves", lambda p: percent(p.random_next_share)),
    ("Predicted tokens", lambda p: percent(p.masked_share)),
    ("Times seen", lambda p: short(p.sequences / p.sharded) if p.sharded else NONE),
)


def _padding(phase: Phase) -> float | None:
    """Share of a fixed-length layout that would have been padding."""
    if phase.mean_length is None or not phase.max_seq_length:
        return None
    return 1 - phase.mean_length / phase.max_seq_length


def _phase_table(flow: Flow) -> Element:
    rows = [[name, *[show(phase) for phase in flow.phases]] for name, show in _ROWS]
    columns = ["Instances", *[phase.name for phase in flow.phases]]
    return table(columns, rows, label="Instances of each phase")


def _ledger(run: Run, flow: Flow) -> Element:
    """Every count of the data stages, a line for each source, stage and phase."""
    lines: list[Child] = []
    for source in flow.sources:
        files = "1 raw file" if source.files == 1 else f"{whole(source.files)} raw files"
        lines += _line(f"extract {source.name}", [run.receipts["extract"][source.name]], files)
    for stage in ("filter", "split", "vocab", "convert"):
        if stage in run.receipts:
            lines += _line(stage, [run.one(stage)])
    for stage in [stage for stage in ("encode", "shard") if stage in run.receipts]:
        for phase in run.phases():
            lines += _line(f"{stage} {phase}", training_jobs(run.receipts[stage], phase))
    for task, receipt in run.receipts.get("features", {}).items():
        lines += _line(f"features {task}", [receipt])
    return tag("dl", *lines, class_="ledger")


def _line(name: str, receipts: Sequence[Receipt], first: str | None = None) -> list[Element]:
    """A stage and its counts, summed over jobs; what was left out stands out."""
    if len(receipts) > 1:
        first = f"{len(receipts)} jobs"
    parts = [tag("span", first)] if first else []
    counts = dict.fromkeys(count for receipt in receipts for count in receipt["counts"])
    for count in [count for count in counts if count != PHASE_INSTANCES]:
        number = sum(receipt["counts"].get(count, 0) for receipt in receipts)
        skipped = count.startswith(SKIPPED)
        words = f" {count.removeprefix(SKIPPED).replace('_', ' ')}{' left out' if skipped else ''}"
        style = "skipped" if skipped and number else None
        parts.append(tag("span", tag("strong", whole(number)), words, class_=style))
    return [tag("dt", name), tag("dd", *parts)]
