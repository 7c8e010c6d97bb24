"""The texts of a task's files: what must not stand in the corpus that a model is pretrained on.

Answers are not among them: a SQuAD answer stands in its context.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from bert.tasks.mrpc_tsv import read_mrpc
from bert.tasks.squad_json import read_squad


def task_texts(format: Literal["squad", "mrpc"], files: Sequence[Path]) -> list[str]:
    """All texts of the files, each once, in file order.

    Args:
        format: squad: contexts and questions. mrpc: both sentences of each pair; files with the
            header of MRPC only, of either layout.
        files: The files.

    Raises:
        squad_json.SquadError: A file is not SQuAD 1.1.
        mrpc_tsv.MrpcError: A file is not MRPC.
    """
    return list(dict.fromkeys(_READERS[format](files)))


def _squad_texts(files: Sequence[Path]) -> list[str]:
    # A misplaced answer or a repeated id does not matter here: neither is text of its own.
    examples, _ = read_squad(files, max_misaligned_share=1.0, unique_ids=False)
    return [text for example in examples for text in (example.context, example.question)]


def _mrpc_texts(files: Sequence[Path]) -> list[str]:
    rows = [row for file in files for row in read_mrpc([file], "glue", role="train")[0]]
    return [text for row in rows for text in (row.first, row.second)]


_READERS: dict[str, Callable[[Sequence[Path]], list[str]]] = {
    "squad": _squad_texts,
    "mrpc": _mrpc_texts,
}
