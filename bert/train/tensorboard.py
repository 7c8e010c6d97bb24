"""The values of metrics.jsonl for TensorBoard, as curves named <kind>/<name> over steps.

Event files hold clock readings and are no output of the stage: metrics.jsonl is.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_NO_CURVE = frozenset({"batch_checksum"})


class TensorBoardFile:
    """Event files of one phase; what was written past a resumed step is not shown any more."""

    def __init__(self, folder: Path, step: int) -> None:
        """Goes on behind `step` in `folder`, which may hold event files of earlier jobs."""
        self._folder = folder
        self._writer = _open(folder, step)

    def write(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Writes the numbers among `values`, rounded to fp32; they are on disk on return."""
        for name, value in values.items():
            if isinstance(value, (int, float)) and name not in _NO_CURVE:
                self._writer.add_scalar(f"{kind}/{name}", value, step)
        # Kept back, they would be missing for good when the run is killed behind a checkpoint.
        self._writer.flush()

    def rewind(self, step: int) -> None:
        """Withdraws what was written past `step`."""
        self._writer.close()
        self._writer = _open(self._folder, step)

    def close(self) -> None:
        """Ends the event file."""
        self._writer.close()


def _open(folder: Path, step: int) -> "SummaryWriter":
    # Imported late: it takes a fraction of a second and is wanted on one rank only.
    from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415

    writer = SummaryWriter(str(folder), purge_step=step + 1)
    writer.flush()
    return writer
