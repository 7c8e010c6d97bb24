"""The training step beside its peers: tokens/s, MFU, memory, ratios. docs/speed.md tells how.

    python benchmarks/training/run.py                              all cases, on the CPU
    python benchmarks/training/run.py --full                       and BERT-large with all 24 layers
    python benchmarks/training/run.py --cases large-512 --variants sdpa eager native --rounds 3
    python benchmarks/training/run.py --shards results/<run>/shard/phase*/[0-9]*.json
    python benchmarks/training/run.py --device cuda --peak-tflops 989

Every variant is a process of its own. The driver lets one of them take one step at a time, in an
order that is reversed every round; every step stands between two probes of what the machine can do
at that moment. Ratios are taken within a round, and their medians are reported.
"""

import argparse
import ctypes.util
import datetime
import importlib.metadata
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
from cases import Case, choose_cases, shrink
from corpora import make_corpora, open_given, take_instances
from figures import check_losses, row
from groups import make_groups
from instances import made_info, made_instances, write_case
from page import read_page, write_page
from rounds import Process, Settings, run_group
from variants import Variant, choose_variants

from bert.data.corpus import Corpus
from bert.manifest import git_commit, write_json

_USABLE = 0.9  # of the memory that is free


def main() -> None:
    """Measures, and writes JSON and, if asked, the page."""
    args = parse_args()
    if args.page:
        read_page(args.page)  # whether it has its marks, before hours of measuring
    settings = settings_of(args)
    cuda = settings.device == "cuda"
    found = choose_cases(args.cases, full=args.full, cuda=cuda)
    cases = [shrink(one, args.hidden, args.layers) for one in found]
    variants = choose_variants(args.variants, cuda=cuda, tcmalloc=settings.tcmalloc is not None)
    if settings.tcmalloc is None and not cuda:
        print("libtcmalloc_minimal is not installed (Debian: libtcmalloc-minimal4): the variant "
              "eager-tc is left out; --tcmalloc takes its path.", file=sys.stderr)  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        vocab_sizes = write_cases(Path(name), cases, settings, args.shards)
        device = describe(cases[0], variants, Path(name), vocab_sizes, settings)
        free = _USABLE * 1e6 * device.pop("free_mb")
        plans = [plan(one, variants, free, cuda=cuda) for one in cases]
        result = {
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "machine": machine(device, settings),
            "settings": {k: v for k, v in settings._asdict().items() if k != "tcmalloc"},
            "cases": [],
        }
        for one, groups in zip(cases, plans, strict=True):
            where, size = Path(name) / one.name, vocab_sizes[one.name]
            runs = [run_group(one, group, where, size, settings) for group in groups]
            result["cases"].append(case_result(one, variants, runs, args.peak_tflops))
            write_json(args.json, result)
            print(f"{one.name}: written to {args.json}", file=sys.stderr)
    if args.page:
        write_page(args.page, [result])


def settings_of(args: argparse.Namespace) -> Settings:
    """What all workers share, with what is chosen by itself filled in."""
    found = args.tcmalloc or find_tcmalloc()
    if found is not None and not found.exists():
        raise ValueError(
            f"--tcmalloc is {found}, where there is no file; give libtcmalloc_minimal."
        )
    device = find_device() if args.device == "auto" else args.device
    cores = min(psutil.cpu_count(logical=False) or 1, len(os.sched_getaffinity(0)))
    threads = args.threads or cores
    return Settings(device, args.precision, threads, args.rounds, args.warm_up, found)


def find_device() -> str:
    """Where tensors live, cuda or cpu; a process of its own is asked, so the driver stays small."""
    question = "import torch; print('cuda' if torch.cuda.is_available() else 'cpu')"
    asked = [sys.executable, "-c", question]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def find_tcmalloc() -> Path | None:
    """The library where Debian and others put it; None where it is not installed."""
    name = ctypes.util.find_library("tcmalloc_minimal")
    places = [Path(folder) for folder in ("/usr/lib", "/usr/lib64", "/usr/local/lib")]
    found = [
        file for place in places for file in [*place.glob(f"*/{name}"), *place.glob(f"{name}")]
    ]
    return found[0] if name and found else None


def write_cases(
    folder: Path, cases: Sequence[Case], settings: Settings, shards: Sequence[Path] | None
) -> dict[str, int]:
    """Writes the shards of every case; the sizes of their vocabularies.

    Raises:
        ValueError: No corpus of a case's length was given.
    """
    corpora: dict[int, Corpus] = {}
    if any(one.lengths is None for one in cases):
        corpora = open_given(shards) if shards else make_corpora(folder / "corpora")
    sizes = {}
    for one in cases:
        if one.lengths is not None:
            info, instances = made_info(one.length), made_instances(one.lengths, seed=1)
        elif one.length in corpora:
            steps = settings.warm_up + settings.rounds
            instances, info = take_instances(corpora[one.length], steps * one.sequences)
        else:
            raise ValueError(
                f"case {one.name} wants instances of up to {one.length} tokens, but --shards has "
                f"those of {sorted(corpora)}; give such manifests, or leave the case out (--cases)."
            )
        write_case(folder / one.name, instances, info, one.predictions)
        sizes[one.name] = info.vocab_size
    return sizes


def describe(
    case: Case, variants: Sequence[Variant], folder: Path, sizes: Mapping[str, int],
    settings: Settings,
) -> dict[str, Any]:  # fmt: skip
    """What computes, as a variant of ours says if there is one, and the memory free for it."""
    variant = next((one for one in variants if one.own), variants[0])
    small = shrink(case, 64, 1)
    worker = Process(small, variant, folder / case.name, sizes[case.name], settings)
    try:
        described: dict[str, Any] = worker.ask("describe")
    finally:
        worker.end()
    return described


def plan(
    case: Case, variants: Sequence[Variant], free: float, *, cuda: bool
) -> list[list[Variant]]:
    """Who runs beside whom; says who is left out because memory is short."""
    groups = make_groups(case, variants, free, cuda=cuda)
    if lost := [one.name for one in variants if not any(one in group for group in groups)]:
        print(f"{case.name}: memory is too short for {', '.join(lost)}", file=sys.stderr)
    return groups


def machine(device: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """Facts for the record."""
    spoken = ("OMP_", "GOMP_", "KMP_", "MALLOC_", "GLIBC_", "MKL_", "ONEDNN_", "DNNL_", "PYTORCH_")
    return {
        "device": device,
        "cores": psutil.cpu_count(),
        "memory_gb": psutil.virtual_memory().total / 1e9,
        "load_before": os.getloadavg(),
        "transformers": importlib.metadata.version("transformers"),
        "tcmalloc": str(settings.tcmalloc) if settings.tcmalloc else None,
        "environment": {k: v for k, v in sorted(os.environ.items()) if k.startswith(spoken)},
        "git_commit": git_commit(),
    }


def case_result(
    case: Case, variants: Sequence[Variant], runs: Sequence[Mapping[str, Any]],
    peak_tflops: float | None,
) -> dict[str, Any]:  # fmt: skip
    """A case with its rows, and every measured step."""
    peak = peak_tflops and peak_tflops * 1e12
    there = [one for one in variants if any(one.name in run for run in runs)]
    rows = {one.name: {"label": one.label} | row(one.name, runs, peak) for one in there}
    check_losses(rows)
    some = next(iter(runs[0].values()))["steps"]
    tokens = sum(step["tokens"] for step in some)
    return case._asdict() | {
        "padding_share": 1 - tokens / (len(some) * case.positions),
        "groups": [list(run) for run in runs],
        "left_out": [one.label for one in variants if one not in there],
        "rows": rows,
        "runs": runs,
    }


def parse_args() -> argparse.Namespace:
    """What to measure, on what."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", nargs="+", help="names; default all that suit the device")
    parser.add_argument("--variants", nargs="+", help="names; default all that suit the device")
    parser.add_argument("--full", action="store_true", help="24 layers, too; some 20 GB of memory")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--warm-up", type=int, default=2, help="rounds before those that count")
    parser.add_argument("--threads", type=int, help="of each worker; default: the physical cores")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--precision", choices=["bf16", "fp32"], default="bf16")
    parser.add_argument("--shards", type=Path, nargs="+", help="manifests of shards for real cases")
    parser.add_argument("--tcmalloc", type=Path, help="libtcmalloc_minimal.so, if not found")
    parser.add_argument("--peak-tflops", type=float, help="of the device's data sheet; H200: 989")
    parser.add_argument("--hidden", type=int, help="another width: a trial, not a figure")
    parser.add_argument("--layers", type=int, help="another depth: a trial, not a figure")
    parser.add_argument("--json", type=Path, default=Path("results/bench/training.json"))
    parser.add_argument("--page", type=Path, help="whose figures are replaced: docs/speed.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
