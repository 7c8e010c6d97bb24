"""Wikipedia extraction: speed of one core, growth of time and memory, WikiExtractor beside it.

    python benchmarks/extract.py                                a dump of the demo's world
    python benchmarks/extract.py --dump enwiki-pages-articles.xml.bz2
        --wikiextractor "python -m wikiextractor.WikiExtractor --no-templates --processes 1"

Pages are repeated under new ids to 1, 2, 4 and 8 times the size. Time is CPU time of one process
(medians; with bzip2 in the parent); memory is the peak of the parent and of its largest worker.
WikiExtractor is run as given, interleaved with this project; `--json -o FOLDER DUMP` is appended.
"""

import argparse
import json
import math
import re
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from bert.config import check
from bert.manifest import ROOT
from bert.text.compression import open_decompressed
from bert.text.extract import extract
from bert.text.wikipedia import WikipediaConfig
from bert.world.facts import GenerateConfig
from bert.world.generate import generate

GROWTH = (1, 2, 4, 8)
BASE_BYTES = 12 << 20
RESTS = {
    "{{ }} [[ ]]": r"\{\{|\}\}|\[\[|\]\]",
    "|} {| thumb| 350px": r"\{\||\|\}|\bthumb\||\b\d+px\b",
    "tags, &entities;": r"</?[a-z]+[^<>\n]*>|&#?\w+;",
    "empty or cut brackets": r"\([\s,;:]*\)|\([,;:]",
    "list marks": r"^[*#:;]",
    "formula_1, codice_1": r"\b(?:formula|codice)_\d+",
    "holes before a mark": r"\b(?:of|the|by|in|is|at|a|an|from|with|for|about|than) ?[.,;](?!\w)",
}


def section(name: str, model: type) -> object:
    """A section of config/config.yaml with the demo's overlay where the first has none."""
    values = yaml.safe_load((ROOT / "config/config.yaml").read_text("utf-8"))
    demo = yaml.safe_load((ROOT / "config/recipes/demo.yaml").read_text("utf-8"))
    chosen = values["extract"]["wikipedia"] if name == "extract" else demo[name]
    return check(model, chosen, where="config/")


def grow(source: Path, folder: Path) -> list[Path]:
    """Writes plain dumps of 1, 2, 4 and 8 times a base size; every copy has new page ids."""
    with open_decompressed(source) as stream:
        data = stream.read()
    start, end = data.index(b"<page>"), data.rindex(b"</mediawiki>")
    head, pages = data[:start], data[start:end]
    copies = max(1, round(BASE_BYTES / len(pages)))
    paths = []
    for factor in GROWTH:
        path = folder / f"grown{factor}.xml"
        with path.open("wb") as out:
            out.write(head)
            for copy in range(copies * factor):
                new = rb"\g<1>%d\g<2>" % (copy + 1)
                out.write(re.sub(rb"(<page>(?s:.)*?<id>)(\d+</id>)", new, pages))
            out.write(b"</mediawiki>\n")
        paths.append(path)
    return paths


def measure(dump: Path, folder: Path, workers: int) -> dict[str, float]:
    """Runs an extraction in a process of its own; CPU seconds and peaks in MiB."""
    command = [sys.executable, __file__, "--dump", str(dump), "--once", str(folder)]
    done = subprocess.run(
        [*command, "--workers", str(workers)], check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def once(dump: Path, folder: Path, workers: int) -> dict[str, float]:
    """One extraction in this process."""
    config = section("extract", WikipediaConfig)
    start = time.process_time()
    extract(config, [dump], folder, workers=workers)
    usage = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = time.process_time() - start
    return {
        "cpu": seconds,
        "parent": usage[0].ru_maxrss / 1024,
        "worker": usage[1].ru_maxrss / 1024,
    }


def show_growth(paths: list[Path], folder: Path, repeats: int, workers: int) -> None:
    """Prints speed, peaks and the exponent of time."""
    print(f"{'XML MB':>8} {'s':>8} {'MB/s':>8} {'peak MiB':>9} {'parent, worker MiB (pool)':>26}")
    seconds: dict[Path, list[float]] = {path: [] for path in paths}
    peaks = {}
    for _ in range(repeats):
        for path in paths:
            run = measure(path, folder, 1)
            seconds[path].append(run["cpu"])
            peaks[path] = run["parent"]
    for path in paths:
        size, median = path.stat().st_size / 1e6, statistics.median(seconds[path])
        pool = measure(path, folder, workers)
        pair = f"{pool['parent']:.0f}, {pool['worker']:.0f}"
        print(f"{size:8.1f} {median:8.2f} {size / median:8.2f} {peaks[path]:9.0f} {pair:>26}")
    first, last = (statistics.median(seconds[path]) for path in (paths[0], paths[-1]))
    growth = paths[-1].stat().st_size / paths[0].stat().st_size
    print(f"time grows as size ^ {math.log(last / first) / math.log(growth):.2f}")


def compare(dump: Path, command: str, folder: Path, repeats: int) -> None:
    """Prints CPU time of both, and what each leaves in the text of the articles both have."""
    theirs_folder = folder / "wikiextractor"
    arguments = [*shlex.split(command), "--json", "-o", str(theirs_folder), str(dump)]
    times: dict[str, list[float]] = {"ours": [], "WikiExtractor": []}
    for _ in range(repeats):
        times["ours"].append(children_time(lambda: measure(dump, folder, 1)))
        times["WikiExtractor"].append(
            children_time(lambda: subprocess.run(arguments, check=True, capture_output=True))
        )
    ours, theirs = read_ours(folder), read_theirs(theirs_folder)
    both = [name for name in ours if name in theirs]
    texts = {"ours": ours, "WikiExtractor": theirs}
    print(f"\n{len(ours)} articles here, {len(theirs)} there, {len(both)} in both")
    print(f"{'':26} {'ours':>14} {'WikiExtractor':>14}")
    rows = {"CPU s, start included": [f"{statistics.median(t):.2f}" for t in times.values()]}
    joined = ["\n".join(text[name] for name in both) for text in texts.values()]
    rows["characters"] = [str(len(text)) for text in joined]
    for name, pattern in RESTS.items():
        rows[name] = [str(len(re.findall(pattern, text, re.MULTILINE))) for text in joined]
    rows["sentences not in other"] = [
        str(sum(missing(a[name], b[name]) for name in both))
        for a, b in ((ours, theirs), (theirs, ours))
    ]
    for name, values in rows.items():
        print(f"{name:26} {values[0]:>14} {values[1]:>14}")


def children_time(run: Callable[[], object]) -> float:
    """CPU seconds of the processes that `run` starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def read_ours(folder: Path) -> dict[str, str]:
    """Name to text of what this project wrote."""
    names = (folder / "names.txt").read_text("utf-8").split("\n")[:-1]
    texts = (folder / "documents.txt").read_text("utf-8").rstrip("\n").split("\n\n")
    return dict(zip(names, texts, strict=True))


def read_theirs(folder: Path) -> dict[str, str]:
    """Page id to text of WikiExtractor's JSON lines."""
    lines = [line for file in sorted(folder.glob("*/wiki_*")) for line in file.open("rb")]
    return {page["id"]: page["text"] for page in map(json.loads, lines)}


def missing(text: str, other: str) -> int:
    """Sentences of at least six words of which fewer than half of the word runs are in `other`."""
    known = set(runs(other))
    found = [runs(sentence) for sentence in re.split(r"(?<=[.!?])\s|\n", text)]
    return sum(2 * sum(r in known for r in s) < len(s) for s in found if len(s) >= 3)


def runs(text: str) -> list[str]:
    """All runs of four words, without case and punctuation."""
    words = re.findall(r"\w+", text.lower())
    return [" ".join(words[n : n + 4]) for n in range(len(words) - 3)]


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dump", type=Path, help="Wikipedia XML dump; default: generated")
    parser.add_argument("--repeats", type=int, default=3, help="runs of which medians are taken")
    parser.add_argument("--workers", type=int, default=2, help="processes of the pool")
    parser.add_argument("--wikiextractor", metavar="COMMAND", help="compare with this command")
    parser.add_argument("--once", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.once:
        print(json.dumps(once(args.dump, args.once, args.workers)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dump = args.dump
        if dump is None:
            generate(section("generate", GenerateConfig), folder)
            dump = folder / "wikipedia.xml.bz2"
        show_growth(grow(dump, folder), folder, args.repeats, args.workers)
        if args.wikiextractor:
            compare(dump, args.wikiextractor, folder, args.repeats)


if __name__ == "__main__":
    main()
