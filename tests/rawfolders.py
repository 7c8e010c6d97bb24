"""Folders of raw files with a list of their checksums."""

from pathlib import Path

from tests.web import md5


def make_listed(folder: Path) -> Path:
    folder.mkdir()
    for name in ("part-0", "part-1", "extra"):
        (folder / name).write_text(name)
    lines = [f"{md5(b'part-0')}  part-0", f"{md5(b'part-1').upper()} *./part-1", ""]
    (folder / "all.md5").write_text("\n".join(lines))
    return folder
