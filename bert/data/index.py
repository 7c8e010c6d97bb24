"""Opens the shards that manifests of `shard` or `encode` list, without opening their files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bert.data.corpus import Corpus, ShardFile
from bert.data.dialects.reading import natural_key
from bert.data.given import Checked
from bert.data.shards import ShardError, ShardInfo, check_same, read_info
from bert.manifest import listed_files, read_manifest


def open_corpus(manifests: Sequence[Path]) -> tuple[Corpus, dict[str, str]]:
    """The corpus of all files that the manifests list, and the sha256 of each file by its name.

    Args:
        manifests: Of `shard` (made or given shards) or of `encode`, as they lie in the run's
            folder: <stage>/phase<n>/<job>.json.

    Raises:
        ManifestError: A listed file is missing or of another size.
        ShardError: A given file is missing or of another size, or the first shard is damaged.
        ValueError: There is no instance at all.
    """
    stages = [path.parent.parent.name for path in manifests]
    receipts = [read_manifest(p, stage=s) for p, s in zip(manifests, stages, strict=True)]
    if "given" in receipts[0]:
        return _open_given(manifests[0], receipts[0]["given"])
    counts: dict[str, int] = {}
    found: list[tuple[Path, str]] = []
    for path, stage, receipt in zip(manifests, stages, receipts, strict=True):
        found += listed_files(path, stage=stage)
        counts |= receipt.get("instances", {})
    found.sort(key=lambda pair: natural_key(Path(pair[0].name)))
    files = [ShardFile(file, _count(file, counts)) for file, _ in found]
    tokens = sum(int(receipt["counts"]["tokens"]) for receipt in receipts)
    info = read_info(files[0].path)[0] if files else None
    return Corpus.from_index(files, tokens, info), {file.name: digest for file, digest in found}


def check_companion(one: Corpus, other: Corpus) -> None:
    """Refuses training and held-out shards of different vocabularies or lengths."""
    check_same(one.files[0], one.info, other.info, companion=str(other.files[0]))


def describe_given(
    checked: Checked, info: ShardInfo, fetched: Mapping[str, tuple[str, int]]
) -> dict[str, Any]:
    """The key `given` of a manifest: what `open_corpus` needs to open the files later.

    Args:
        checked: Files in order, with their counts.
        info: Of the recipe's vocabulary.
        fetched: Path to sha256 and bytes, as `fetch` recorded them.
    """
    return {
        "dialect": checked.dialect,
        "info": info._asdict() | {"continuation_ids": info.continuation_ids.hex()},
        "files": [
            {"path": str(path), "instances": count, "sha256": fetched[str(path)][0],
             "bytes": fetched[str(path)][1]}
            for path, count in zip(checked.files, checked.instances, strict=True)
        ],
    }  # fmt: skip


def _count(file: Path, stated: Mapping[str, int]) -> int:
    """Instances of a file, from its header if no manifest states them."""
    return stated[file.name] if file.name in stated else read_info(file)[1]


def _open_given(manifest: Path, given: Mapping[str, Any]) -> tuple[Corpus, dict[str, str]]:
    values = dict(given["info"])
    values["continuation_ids"] = bytes.fromhex(values["continuation_ids"])
    info = ShardInfo(**values | {"special_ids": tuple(values["special_ids"])})
    for entry in given["files"]:
        path = Path(entry["path"])
        found = path.stat().st_size if path.exists() else None
        if found != entry["bytes"]:
            raise ShardError(
                f"{path} has {found if found is not None else 'no'} bytes; {manifest} states "
                f"{entry['bytes']}. Put the file back, or delete the manifests of `fetch` and "
                "`shard` and run again."
            )
    files = [ShardFile(Path(entry["path"]), entry["instances"]) for entry in given["files"]]
    most_tokens = sum(file.instances for file in files) * info.max_seq_length
    digests = {entry["path"]: str(entry["sha256"]) for entry in given["files"]}
    return Corpus.from_index(files, most_tokens, info, given["dialect"]), digests
