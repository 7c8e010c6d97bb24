"""The way of the data in numbers: raw files, documents, split, instances, shards, training.

Every count is one that a receipt states; sums run over the jobs of a stage. What the receipts call
`skipped_...` is listed with its reason. Where two stages must agree, `differences` compares them.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from bert.report.run import HELD_OUT, Receipt, Run, total, training_jobs

SKIPPED = "skipped_"
# Instances that a job of `shard` saw in the whole phase: stated by every job, not to be summed.
PHASE_INSTANCES = "phase_instances"


@dataclass(frozen=True)
class Source:
    """What one source gave.

    Attributes:
        name: Name of the source.
        files: Number of raw files it was made of.
        documents: Documents kept.
        skipped: Items left out, whatever the reason.
    """

    name: str
    files: int
    documents: int
    skipped: int


@dataclass(frozen=True)
class Phase:
    """The instances of one phase.

    Attributes:
        name: Name of the phase.
        documents: Documents encoded for training.
        instances: Training instances encoded.
        tokens: Tokens in them, special tokens included.
        held_out: Held-out instances.
        held_out_documents: Documents they come from.
        max_seq_length: Most tokens an instance may have; None where the config does not say.
        shards: Number of shard files.
        sharded: Instances in them.
        sequences: Instances the model saw, repetitions included.
        masked_share: Predicted tokens per token seen.
        random_next_share: Share of pairs whose second half is random; None where not stated.
        mean_length: Tokens per instance; None where not stated.
        histogram: Greatest length of a bin to number of instances, ascending.
    """

    name: str
    documents: int
    instances: int
    tokens: int
    held_out: int
    held_out_documents: int
    max_seq_length: int | None
    shards: int
    sharded: int
    sequences: int
    masked_share: float
    random_next_share: float | None
    mean_length: float | None
    histogram: Mapping[int, int]


@dataclass(frozen=True)
class Flow:
    """The whole way: sources, then phases.

    Attributes:
        sources: The sources.
        phases: The phases.
        filtered: Documents that the filter left out.
    """

    sources: tuple[Source, ...]
    phases: tuple[Phase, ...]
    filtered: int

    @property
    def documents(self) -> int:
        """Documents of all sources."""
        return sum(source.documents for source in self.sources)

    @property
    def skipped(self) -> int:
        """Items left out of all sources, as far as the receipts count them."""
        return sum(source.skipped for source in self.sources)


def trace(run: Run) -> Flow:
    """Gathers the counts of a run."""
    return Flow(
        sources=tuple(_source(job, r) for job, r in run.receipts.get("extract", {}).items()),
        phases=tuple(_phase(run, name) for name in run.phases()),
        filtered=_filtered(run),
    )


def _filtered(run: Run) -> int:
    if "filter" not in run.receipts:
        return 0
    counts = run.one("filter")["counts"]
    return int(counts["documents"] - counts["kept"])


def differences(run: Run, flow: Flow) -> list[str]:
    """Where the counts of two stages do not agree; empty if nothing was lost or doubled."""
    found = _document_differences(run, flow)
    for phase in flow.phases:
        if phase.instances != phase.sharded:
            found.append(
                f"{phase.name}: {phase.instances} instances were encoded, "
                f"but {phase.sharded} are in shards"
            )
        jobs = training_jobs(run.receipts["shard"], phase.name)
        stated = {job["counts"].get(PHASE_INSTANCES, phase.instances) for job in jobs}
        if stated != {phase.instances}:
            found.append(
                f"{phase.name}: {phase.instances} instances were encoded, "
                f"but jobs of shard saw {', '.join(map(str, sorted(stated)))}"
            )
    return found


def _document_differences(run: Run, flow: Flow) -> list[str]:
    """Documents of extract, filter and split, and those dealt out and encoded."""
    if "split" not in run.receipts:
        return []
    counts = run.one("split")["counts"]
    stated = {"split": counts.get("documents", flow.documents)}
    if "filter" in run.receipts:
        stated["filter"] = run.one("filter")["counts"]["documents"]
    found = [
        f"{flow.documents} documents were extracted, but {stage} saw {number}"
        for stage, number in stated.items()
        if number != flow.documents
    ]
    for phase in flow.phases:
        dealt = counts.get("dealt_documents", phase.documents)
        if dealt != phase.documents:
            found.append(
                f"{phase.name}: {dealt} documents were dealt out, but {phase.documents} encoded"
            )
    return found


def _source(name: str, receipt: Receipt) -> Source:
    counts = receipt["counts"]
    skipped = sum(int(count) for name, count in counts.items() if name.startswith(SKIPPED))
    return Source(name, len(receipt["inputs"]), int(counts["documents"]), skipped)


def _phase(run: Run, name: str) -> Phase:
    # Given shards have no receipts of encode: their way starts at the shards.
    made = run.receipts.get("encode", run.receipts["shard"])
    encode = training_jobs(made, name)
    shard = training_jobs(run.receipts["shard"], name)
    held_out = [r for job, r in made.items() if job == f"{name}/{HELD_OUT}"]
    trained = run.receipts["pretrain"][name]["counts"]
    return Phase(
        name=name,
        documents=sum(receipt["counts"].get("documents", 0) for receipt in encode),
        instances=total(encode, "instances"),
        tokens=sum(receipt["counts"].get("tokens", 0) for receipt in encode),
        held_out=total(held_out, "instances"),
        held_out_documents=sum(receipt["counts"].get("documents", 0) for receipt in held_out),
        max_seq_length=encode[0]["config"].get("max_seq_length"),
        shards=total(shard, "shards"),
        sharded=total(shard, "instances"),
        sequences=int(trained["sequences"]),
        masked_share=trained["masked_tokens"] / trained["tokens"],
        random_next_share=_weighted(encode, "random_next_share"),
        mean_length=_weighted(encode, "mean_length"),
        histogram=_histogram(encode),
    )


def _weighted(receipts: list[Receipt], name: str) -> float | None:
    """Mean of a statistic over jobs, each weighing as many instances as it has."""
    found = [
        (receipt["counts"]["instances"], receipt["statistics"][name])
        for receipt in receipts
        if receipt.get("statistics", {}).get(name) is not None
    ]
    weight = sum(count for count, _ in found)
    return sum(count * value for count, value in found) / weight if weight else None


def _histogram(receipts: list[Receipt]) -> dict[int, int]:
    found: Counter[int] = Counter()
    for receipt in receipts:
        for bound, count in receipt.get("statistics", {}).get("length_histogram", {}).items():
            found[int(bound)] += int(count)
    return dict(sorted(found.items()))
