"""The data card: what the model read, under which licence, and what was left out; Markdown.

It travels with the model. Every number is one that a receipt states.
"""

from collections.abc import Sequence

from bert.manifest import sha256_json
from bert.report.numbers import whole
from bert.report.run import Run
from bert.report.section_convert import source_words
from bert.report.section_sources import TASK_COLUMNS, leak_sentence, task_row
from bert.report.sources import TextSource, only_receipt, task_overlap, text_sources

_MOST_FILES = 40
_TEXT_COLUMNS = ("Source", "Licence", "Format", "Documents", "Sentences", "Bytes of text")
_USE_COLUMNS = ("Source", "Documents", "Left out", "Held out", "Weight", "Dealt for training")


def data_card(run: Run) -> str:
    """The card as a Markdown text."""
    parts = [
        f"# Data of the run {run.name}",
        "Text that the model was pretrained on. Numbers and checksums are those of the run's "
        "manifests.",
        *_converted(run),
        *_trained_on(run),
        "## Vocabulary",
        _vocabulary(run),
    ]
    return "\n\n".join(parts) + "\n"


def _trained_on(run: Run) -> list[str]:
    if not run.phases():
        return []
    sources = text_sources(run)
    return _from_text(run, sources) if sources else _from_shards(run)


def _from_text(run: Run, sources: Sequence[TextSource]) -> list[str]:
    return [
        "## Sources",
        _table(_TEXT_COLUMNS, [_text_row(source) for source in sources]),
        "## Use",
        _table(_USE_COLUMNS, [_use_row(source) for source in sources]),
        *_filter(run),
        *_overlap(run),
        "## Raw files",
        *[_raw_files(source) for source in sources],
    ]


def _from_shards(run: Run) -> list[str]:
    """Given shards say nothing of their text: what is known is which files they were."""
    rows = [
        [job, whole(receipt["counts"]["instances"]), receipt["given"]["dialect"],
         sha256_json(dict(receipt["inputs"]))]
        for job, receipt in run.receipts["shard"].items()
    ]  # fmt: skip
    return [
        "## Shards",
        "The shards were given; their text, its sources and its licences are not known to this "
        "run. The checksum is that of the list of their files' checksums.",
        _table(("Shards", "Instances", "Format", "sha256"), rows),
    ]


def _converted(run: Run) -> list[str]:
    """Weights that were trained elsewhere say nothing of their text."""
    receipt = only_receipt(run, "convert")
    if not receipt:
        return []
    what = source_words(receipt)
    more = "What this run trained them on follows." if run.phases() else "It trained them on none."
    return [
        "## Weights",
        f"The weights were trained elsewhere{f' ({what})' if what else ''}; the text they were "
        f"trained on, its sources and its licences are not known to this run. {more}",
        "\n".join(f"- `{name}` sha256 `{digest}`" for name, digest in receipt["inputs"].items()),
    ]


def _text_row(source: TextSource) -> list[str]:
    numbers = [source.counts.get(name) for name in ("documents", "sentences", "bytes")]
    return [source.name, source.licence or "not stated", source.format, *map(_number, numbers)]


def _use_row(source: TextSource) -> list[str]:
    left_out = [f"{whole(count)} {reason}" for reason, count in source.left_out.items()]
    return [
        source.name,
        _number(source.counts.get("documents")),
        ", ".join(left_out) or "none",
        _number(source.split.get("held_out_documents")),
        f"{source.weight:g}",
        _number(source.split.get("dealt_documents")),
    ]


def _filter(run: Run) -> list[str]:
    """How duplicates were looked for, and what held-out text stands in the training text."""
    receipt = only_receipt(run, "filter")
    if not receipt:
        words = ["Duplicates were not looked for."]
    else:
        config = receipt["config"]
        near = config["near_duplicates"]
        exact = "" if config["exact_duplicates"] else " not"
        words = [f"Exact duplicates (equal words) were{exact} removed, the earliest one kept."]
        words += [
            "Near duplicates were not looked for."
            if near is None
            else f"Near duplicates were removed: estimated Jaccard similarity of word "
            f"{near['ngram']}-grams at least {near['threshold']:g}."
        ]
    leaks = leak_sentence(run)
    return ["## Duplicates", " ".join([*words, *([leaks] if leaks else [])])]


def _overlap(run: Run) -> list[str]:
    overlap = task_overlap(run)
    if not overlap:
        return ["## Task text in the corpus", "It was not looked for."]
    config = only_receipt(run, "filter")["config"]["contamination"]
    share = config["drop_share"]
    what = (
        "Such documents were kept."
        if share is None
        else f"Documents with at least {100 * share:g} % of their words in such n-grams were left "
        "out."
    )
    words = (
        f"A text is found in part if one of its {config['ngram']}-grams of words stands in a "
        f"document. Texts of {config['shortest']} to {config['ngram'] - 1} words are looked for as "
        f"a whole, shorter ones not at all. {what}"
    )
    rows = [[str(cell) for cell in task_row(name, counts)] for name, counts in overlap.items()]
    return ["## Task text in the corpus", words, _table(TASK_COLUMNS, rows)]


def _vocabulary(run: Run) -> str:
    receipt = run.one("vocab")
    config, counts = receipt["config"], receipt["counts"]
    kind = config.get("kind", "unknown")
    case = "lower-cased" if config.get("lowercase") else "cased"
    size = _number(counts.get("tokens"))
    files = [f"- `{name}` sha256 `{file['sha256']}`" for name, file in receipt["outputs"].items()]
    return "\n".join([f"{size} tokens, {kind}, {case}.", "", *files])


def _raw_files(source: TextSource) -> str:
    """The source's raw files with their checksums; a long list is cut, with a digest of all."""
    shown = list(source.inputs.items())[:_MOST_FILES]
    lines = [f"{source.name}:", "", *[f"- `{name}` sha256 `{digest}`" for name, digest in shown]]
    if len(source.inputs) > len(shown):
        more = len(source.inputs) - len(shown)
        lines.append(f"- and {whole(more)} more; digest of the list `{sha256_json(source.inputs)}`")
    return "\n".join(lines)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _number(value: float | None) -> str:
    return "not stated" if value is None else whole(value)
