"""Filter and split on one core: MB/s of text, growth of time and memory, MinHash libraries.

    python benchmarks/filter.py                                  text of its own making
    python benchmarks/filter.py --documents results/<run>/extract/wikipedia/documents.txt
        --task squad=train-v1.1.json --task mrpc=msr_paraphrase_train.txt

Every run is a process of its own over 1/8, 1/4, 1/2 or all of the text; the runs are interleaved
and medians are shown. Time is CPU time without start-up. With `--minhash`, datasketch, if it is
installed, signs the same documents beside rensa.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from bert.config import check
from bert.manifest import ROOT, write_manifest
from bert.tasks.texts import task_texts
from bert.text.extracted import load_sources, read_source
from bert.text.filter import FilterConfig, filter_sources
from bert.text.near_duplicates import NearDuplicatesConfig, sign
from bert.text.ngrams import WordHashes, hash_texts, ngram_hashes
from bert.text.normalise import document_words
from bert.text.split import SplitConfig, split

SHARES = (8, 4, 2, 1)  # an eighth of the text to all of it
KINDS = {
    "exact": "exact duplicates",
    "near": "exact and near duplicates",
    "tasks": "exact duplicates, task text",
    "all": "all three",
    "split": "split without leaks",
    "leaks": "split",
}


def make_text(path: Path, megabytes: int) -> None:
    """Documents of about 4 kB in words of Zipf's law; of ten, one repeats and one nearly does."""
    rng = np.random.default_rng(1)
    words = np.array([f"w{n:x}" for n in rng.integers(0, 1 << 24, 60_000)])
    recent: list[list[str]] = []
    with path.open("w", encoding="utf-8") as out:
        while out.tell() < megabytes * 1_000_000:
            kind = int(rng.integers(10)) if recent else 9
            if kind <= 1:
                document = recent[int(rng.integers(len(recent)))]
                document = [*document[:-1], "Another end."] if kind else document
            else:
                ranks = np.minimum(rng.zipf(1.3, (30, 20)), len(words)) - 1
                document = [" ".join(line) + "." for line in words[ranks]]
                recent = [*recent[-99:], document]
            out.write("\n".join(document) + "\n\n")


def write_share(documents: Path, folder: Path, share: int) -> Path:
    """The first 1/share of the documents as an extracted source; returns its manifest."""
    home = folder / f"{share}" / "text"
    home.mkdir(parents=True)
    every = [d.strip(b"\n") for d in documents.read_bytes().split(b"\n\n") if d.strip(b"\n")]
    chosen = every[: len(every) // share]
    text, count = b"\n\n".join(chosen) + b"\n", len(chosen)
    (home / "documents.txt").write_bytes(text)
    (home / "names.txt").write_text("".join(f"{n}\n" for n in range(count)))
    write_manifest(
        home / "manifest.json",
        stage="extract",
        config={},
        inputs={},
        counts={"documents": count},
        outputs=[home / "documents.txt", home / "names.txt"],
    )
    return home / "manifest.json"


def filter_section(values: dict[str, Any], kind: str, tasks: dict[str, Path]) -> FilterConfig:
    """The section of config/config.yaml with what `kind` leaves out, and these tasks."""
    references = dict.fromkeys(values["contamination"]["references"])
    references |= {name: {"format": name, "raw": name, "pattern": "*"} for name in tasks}
    chosen = values | {"contamination": values["contamination"] | {"references": references}}
    if kind in {"exact", "near"}:
        chosen["contamination"] = None
    if kind in {"exact", "tasks"}:
        chosen["near_duplicates"] = None
    return check(FilterConfig, chosen, where="config/config.yaml")


def once(manifest: Path, kind: str, tasks: dict[str, Path]) -> dict[str, float]:
    """One run in this process: CPU seconds, peak in MiB, share of documents left out."""
    values = yaml.safe_load((ROOT / "config/config.yaml").read_text("utf-8"))
    sources = load_sources([manifest])
    texts = {name: task_texts(name, [path]) for name, path in tasks.items()}  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as out, tempfile.TemporaryDirectory() as work:
        folders = Path(out), Path(work)
        start = time.process_time()
        if kind in {"split", "leaks"}:
            changed = {"parts": 50} | ({} if kind == "leaks" else {"leaks": None})
            section = check(SplitConfig, values["split"] | changed, where="config/config.yaml")
            counts = split(sources, section, *folders, workers=1).counts
        else:
            chosen = filter_section(values["filter"], kind, tasks)
            wanted = texts if chosen.contamination else {}
            counts = filter_sources(sources, chosen, wanted, *folders, workers=1).counts
        seconds = time.process_time() - start
    left_out = sum(count for name, count in counts.items() if name.startswith("skipped_"))
    # Not `ru_maxrss`, which starts with that of the process that started this one.
    (peak,) = re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text("ascii"))
    return {"cpu": seconds, "peak": int(peak) / 1024, "left_out": left_out / counts["documents"]}


def measure(manifest: Path, kind: str, tasks: list[str]) -> dict[str, float]:
    """`once` in a process of its own."""
    command = [sys.executable, __file__, "--once", str(manifest), "--kind", kind]
    options = [word for task in tasks for word in ("--task", task)]
    done = subprocess.run([*command, *options], check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def show(documents: Path, tasks: list[str], repeats: int, folder: Path) -> None:
    """Prints speed, growth and memory of each kind of run."""
    manifests = {share: write_share(documents, folder, share) for share in SHARES}
    sizes = {s: m.with_name("documents.txt").stat().st_size / 1e6 for s, m in manifests.items()}
    kinds = [kind for kind in KINDS if tasks or kind not in {"tasks", "all"}]
    places = [(kind, share) for kind in kinds for share in SHARES]
    runs: dict[tuple[str, int], list[dict[str, float]]] = {place: [] for place in places}
    for _ in range(repeats):
        for (kind, share), found in runs.items():
            found.append(measure(manifests[share], kind, tasks))
    print(f"{sizes[1]:.1f} MB of text; peaks at {', '.join(f'{s:.1f}' for s in sizes.values())} MB")
    print(f"{'':28} {'MB/s':>7} {'size ^':>7} {'left out':>9}   peak MiB")
    for kind in kinds:
        cpu = {s: statistics.median(run["cpu"] for run in runs[kind, s]) for s in SHARES}
        growth = np.polyfit(*(np.log([v[s] for s in SHARES]) for v in (sizes, cpu)), 1)[0]
        peaks = " ".join(f"{max(r['peak'] for r in runs[kind, s]):.0f}" for s in SHARES)
        left_out = runs[kind, 1][0]["left_out"]
        speed = sizes[1] / cpu[1]
        print(f"{KINDS[kind]:28} {speed:7.1f} {growth:7.2f} {left_out:9.2%}   {peaks}")


def show_minhash(documents: Path, repeats: int, folder: Path) -> None:
    """Prints the time of both MinHash libraries for the same n-gram hashes."""
    from datasketch import MinHash  # noqa: PLC0415

    values = yaml.safe_load((ROOT / "config/config.yaml").read_text("utf-8"))
    config = check(NearDuplicatesConfig, values["filter"]["near_duplicates"], where="config/")
    (source,) = load_sources([write_share(documents, folder / "minhash", 8)])
    texts = hash_texts([document_words(d) for d in read_source(source)], WordHashes())
    grams = [
        ngram_hashes(texts.hashes[a:b], config.ngram) >> np.uint64(32)
        for a, b in zip(texts.offsets[:-1], texts.offsets[1:], strict=True)
    ]
    first = MinHash(config.bands * config.rows, seed=1, hashfunc=int)
    times: dict[str, list[float]] = {"rensa": [], "datasketch": []}
    for _ in range(repeats):
        start = time.process_time()
        sign(texts, config)
        times["rensa"].append(time.process_time() - start)
        start = time.process_time()
        for gram in grams:
            one = first.copy()
            one.update_batch(gram)
        times["datasketch"].append(time.process_time() - start)
    ratio = statistics.median(times["datasketch"]) / statistics.median(times["rensa"])
    print(
        f"signatures: datasketch takes {ratio:.1f} times as long as rensa, all of `sign` included"
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--documents", type=Path, help="a file in the text format")
    parser.add_argument("--megabytes", type=int, default=32, help="of text made here")
    parser.add_argument("--task", action="append", default=[], help="squad=FILE or mrpc=FILE")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--minhash", action="store_true", help="compare with datasketch")
    parser.add_argument("--once", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--kind", choices=KINDS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.once:
        tasks = {name: Path(path) for name, _, path in (t.partition("=") for t in args.task)}
        print(json.dumps(once(args.once, args.kind, tasks)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        documents = args.documents or folder / "documents.txt"
        if not args.documents:
            make_text(documents, args.megabytes)
        show(documents, args.task, args.repeats, folder)
        if args.minhash:
            show_minhash(documents, args.repeats, folder)


if __name__ == "__main__":
    main()
