"""Time, memory and disk of the stages on the page."""

from xml.etree.ElementTree import Element

from bert.log import human_time
from bert.report.markup import Child, tag
from bert.report.numbers import NONE, size, whole
from bert.report.run import LAYOUT, Receipt, Run
from bert.report.tables import figure, section, table


def stages(run: Run) -> list[str]:
    """Stages that left a receipt or a benchmark: the known ones in pipeline order, then others."""
    known = [stage for stage in LAYOUT if stage in run.receipts or stage in run.costs]
    return known + sorted(stage for stage in run.costs if stage not in LAYOUT)


def disk_bytes(receipt: Receipt) -> int:
    """Size of the outputs that a receipt lists, in bytes."""
    return sum(int(file["bytes"]) for file in receipt["outputs"].values())


def costs_section(run: Run, drawing: Element | None) -> Element:
    """Drawing and table of what each stage took."""
    rows = [_row(run, stage) for stage in stages(run)]
    unmeasured = [stage for stage in stages(run) if stage not in run.costs]
    note = tag("p", f"Without a benchmark file: {', '.join(unmeasured)}.", class_="note")
    columns = ["Stage", "Jobs", "Time", "Processor time", "Peak memory", "On disk"]
    grid = table(columns, [*rows, _totals(run)], label="Cost of each stage", marked=(len(rows),))
    return section(
        "cost",
        "Cost",
        "Wall-clock time is summed over the jobs of a stage, which may have run side by side; "
        "memory is the highest of any job.",
        tag(
            "div", figure(drawing), tag("div", grid, note if unmeasured else None), class_="beside"
        ),
    )


def _row(run: Run, stage: str) -> list[Child]:
    cost, receipts = run.costs.get(stage), run.receipts.get(stage, {})
    disk = sum(disk_bytes(receipt) for receipt in receipts.values())
    if cost is None:
        return [stage, whole(len(receipts)), NONE, NONE, NONE, size(disk)]
    cpu = NONE if cost.cpu_seconds is None else human_time(cost.cpu_seconds)
    peak = NONE if cost.peak_bytes is None else size(cost.peak_bytes)
    on_disk = size(disk) if receipts else NONE
    return [stage, whole(cost.runs), human_time(cost.seconds), cpu, peak, on_disk]


def _totals(run: Run) -> list[Child]:
    costs = list(run.costs.values())
    jobs = sum(
        run.costs[stage].runs if stage in run.costs else len(run.receipts[stage])
        for stage in stages(run)
    )
    cpu = [cost.cpu_seconds for cost in costs if cost.cpu_seconds is not None]
    peak = [cost.peak_bytes for cost in costs if cost.peak_bytes is not None]
    disk = sum(disk_bytes(r) for receipts in run.receipts.values() for r in receipts.values())
    return [
        "All",
        whole(jobs),
        human_time(sum(cost.seconds for cost in costs)) if costs else NONE,
        human_time(sum(cpu)) if cpu else NONE,
        size(max(peak)) if peak else NONE,
        size(disk),
    ]
