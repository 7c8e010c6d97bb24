"""The tables of docs/speed.md, from the JSON files that `run.py` wrote.

    python benchmarks/training/page.py results/bench/*.json --page docs/speed.md

Replaces what stands between the two marks of the page; the prose around them is written by hand.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bert.devices.words import device_words
from bert.manifest import atomic_file

BEGIN = "<!-- figures: written by benchmarks/training/page.py -->"
END = "<!-- end of figures -->"
_PEERS = {"sdpa": "vs sdpa", "eager": "vs eager", "eager-tc": "vs eager, tcmalloc"}


def main() -> None:
    """Writes the tables of some files into a page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, nargs="+", help="JSON files of run.py")
    parser.add_argument("--page", type=Path, default=Path("docs/speed.md"))
    args = parser.parse_args()
    write_page(args.page, [json.loads(path.read_text()) for path in args.results])


def write_page(page: Path, results: Sequence[Mapping[str, Any]]) -> None:
    """Replaces the figures of a page.

    Raises:
        ValueError: As `read_page`.
    """
    text = read_page(page)
    head, tail = text[: text.index(BEGIN)], text[text.index(END) :]
    figures = "\n\n".join(render(results))
    with atomic_file(page) as temporary:
        temporary.write_text(f"{head}{BEGIN}\n\n{figures}\n\n{tail}", encoding="utf-8")


def read_page(page: Path) -> str:
    """The text of a page with marks.

    Raises:
        ValueError: The page lacks a mark, or has one twice.
    """
    text = page.read_text(encoding="utf-8")
    if (text.count(BEGIN), text.count(END)) != (1, 1) or text.index(END) < text.index(BEGIN):
        raise ValueError(
            f"{page} must hold the lines {BEGIN!r} and {END!r} once each, in this order; put them "
            "where the figures belong."
        )
    return text


def render(results: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """All cases as Markdown, in the order given, under one heading for each machine and day."""
    above = ""
    for result in results:
        if (head := _head(result)) != above:
            yield (above := head)
        yield from (_case(case, result["settings"]) for case in result["cases"])


def _head(result: Mapping[str, Any]) -> str:
    machine = result["machine"]
    about = f"{device_words(machine['device'])}; transformers {machine['transformers']}"
    note = "" if machine["tcmalloc"] else "; libtcmalloc_minimal is not installed here"
    return f"### {machine['device']['name']}, {result['date']}\n\n{about}{note}."


def _case(case: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    rows = case["rows"]
    peers = [name for name in _PEERS if any(name in row["ratios"] for row in rows.values())]
    on_gpu = any(row["mfu_of_peak"] is not None for row in rows.values())
    heads = ["", "tokens/s", "sequences/s", "step s (best)", "MFU"]
    heads += [*(["MFU of data sheet"] * on_gpu), "optimizer", "memory MB (above import)"]
    heads += [_PEERS[name] for name in peers]
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    for name, row in rows.items():
        lines.append(_cells(name, row, peers, on_gpu=on_gpu))
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"#### {case['name']}\n\n{_about(case, settings)}\n\n{table}"


def _cells(name: str, row: Mapping[str, Any], peers: Sequence[str], *, on_gpu: bool) -> list[str]:
    cells = [
        row["label"],
        f"{row['tokens_per_s']:,.0f}",
        f"{row['sequences_per_s']:,.3g}" if row["sequences_per_s"] < 100
        else f"{row['sequences_per_s']:,.0f}",
        f"{row['step_s']:.3g} ({row['best_step_s']:.3g})",
        f"{row['mfu']:.0%}",
    ]  # fmt: skip
    cells += [f"{row['mfu_of_peak']:.1%}"] if on_gpu else []
    cells += [_share(row["optimizer_share"])]
    cells += [f"{row['peak_mb']:,.0f} ({row['above_import_mb']:,.0f})"]
    return cells + [_ratio(name, peer, row["ratios"]) for peer in peers]


def _ratio(name: str, peer: str, ratios: Mapping[str, Mapping[str, float]]) -> str:
    """Median, and in brackets the least and the most of the rounds."""
    if name == peer:
        return "1"
    if peer not in ratios:
        return "not together"
    found = ratios[peer]
    return f"**{found['median']:.2f}** ({found['least']:.2f} to {found['most']:.2f})"


def _share(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def _about(case: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    rows = case["rows"].values()
    probes = [row["probe_flops"] / 1e12 for row in rows]
    text = (
        f"{case['layers']} layers of width {case['hidden']:,}; {case['sequences']} sequences of up "
        f"to {case['length']} tokens, {case['padding_share']:.1%} padding; probe "
        f"{min(probes):.2f} to {max(probes):.2f} TF/s; {settings['rounds']} rounds after "
        f"{settings['warm_up']} of warm-up."
    )
    loading = [row["loading_share"] for row in rows if row["loading_share"] is not None]
    logging = [row["logging_share"] for row in rows if row["logging_share"] is not None]
    if loading:
        text += f" Of a step, loading takes at most {max(loading):.2%}, logging {max(logging):.2%}."
    if case["left_out"]:
        text += f" Memory is too short for: {'; '.join(case['left_out'])}."
    if len(case["groups"]) > 1:
        together = "; ".join(", ".join(group) for group in case["groups"])
        text += f" Not all fit into memory at once; together were: {together}."
    return text


if __name__ == "__main__":
    main()
