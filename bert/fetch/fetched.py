"""The raw files that the stage `fetch` left, for the stages behind it; knows nothing of the web."""

from pathlib import Path

from bert.manifest import read_manifest


class FetchError(ValueError):
    """A raw item that is missing or is not what the configuration says it is."""


def fetched_files(manifest: Path) -> list[Path]:
    """The files of a raw item, for the stages behind: each exists and has the recorded size.

    Raises:
        FileNotFoundError: The manifest or a file is missing.
        FetchError: A file has another size than when it was fetched.
    """
    paths = []
    for entry in read_manifest(manifest, stage="fetch")["files"]:
        path = Path(entry["path"])
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}, listed in {manifest}, is missing; put it back, or delete the manifest "
                "and run the rule `fetch` again."
            )
        if path.stat().st_size != entry["bytes"]:
            raise FetchError(
                f"{path} has {path.stat().st_size} bytes, {manifest} recorded {entry['bytes']}: "
                "it changed. Delete the manifest and run the rule `fetch` again."
            )
        paths.append(path)
    return paths
