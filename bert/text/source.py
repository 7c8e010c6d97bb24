"""What all text sources share: keys of their sections, and names of files inside a source."""

from collections.abc import Sequence
from os.path import commonpath
from pathlib import Path

from bert.config import Section, knob


class SourceConfig(Section):
    """Keys that every text source has; each format adds `format` and its own."""

    raw: str = knob("Name of the item in section `fetch` that holds the files.", min_length=1)
    pattern: str = knob(
        "Names of the files to read, as a shell pattern for the last component of the path.",
        min_length=1,
    )
    licence: str = knob(
        "Licence of the text, as an SPDX identifier or in words; goes into the manifest.",
        min_length=1,
    )


def relative_names(files: Sequence[Path]) -> list[str]:
    """Posix paths relative to the files' common folder, which do not depend on where it lies."""
    if not files:
        return []
    folder = commonpath([path.parent for path in files])
    return [path.relative_to(folder).as_posix() for path in files]
