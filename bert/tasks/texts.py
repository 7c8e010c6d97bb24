"""The texts of a task's files: what must not stand in the corpus that a model is pretrained on.

Answers are not among them: a SQuAD answer stands in its context.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from bert.tasks import cola, mnli, qnli, qqp, rte, sst2, stsb, wnli
from bert.tasks.glue import GlueTask
from bert.tasks.glue_examples import read_tables
from bert.tasks.glue_tsv import TableError
from bert.tasks.mrpc_tsv import read_mrpc
from bert.tasks.sentence import SentenceExample
from bert.tasks.squad_json import read_squad
from bert.text.contamination import TaskFormat


def task_texts(format: TaskFormat, files: Sequence[Path]) -> list[str]:
    """All texts of the files, each once, in file order.

    Args:
        format: squad: contexts and questions. mrpc: both sentences of each pair; files with the
            header of MRPC only, of either layout. The others: the sentences of train and dev files
            under their published names, or of the published zip file.
        files: The files.

    Raises:
        squad_format.SquadError: A file is not SQuAD, of either version.
        glue_tsv.TableError: A file is not of that task of GLUE.
    """
    return list(dict.fromkeys(_READERS[format](files)))


def _squad_texts(files: Sequence[Path]) -> list[str]:
    # A misplaced answer or a repeated id does not matter here: neither is text of its own.
    examples, _ = read_squad(files, version=None, max_misaligned_share=1.0, unique_ids=False)
    return [text for example in examples for text in (example.context, example.question)]


def _mrpc_texts(files: Sequence[Path]) -> list[str]:
    return _sentences([row for file in files for row in read_mrpc([file], "glue", role="train")[0]])


def _glue_texts(task: GlueTask, files: Sequence[Path]) -> list[str]:
    tables = [table for split in task.tables.values() for table in split]
    found = []
    for file in files:
        chosen = [table for table in tables if file.name == table.file or file.suffix == ".zip"]
        if not chosen:
            names = ", ".join(table.file for table in tables)
            raise TableError(
                f"{file} is no file of this task with known columns; expected {names}, or the "
                "published zip file. Correct the reference's `pattern`."
            )
        # A label does not matter here, and a row without text has none to be found.
        found += read_tables([file], chosen, lambda row: 0.0, max_bad_share=1.0)[0]
    return _sentences(found)


def _sentences(examples: Sequence[SentenceExample]) -> list[str]:
    return [text for one in examples for text in (one.first, one.second) if text is not None]


_READERS: dict[TaskFormat, Callable[[Sequence[Path]], list[str]]] = {
    "squad": _squad_texts,
    "mrpc": _mrpc_texts,
    "cola": partial(_glue_texts, cola.TASK),
    "sst2": partial(_glue_texts, sst2.TASK),
    "stsb": partial(_glue_texts, stsb.TASK),
    "qqp": partial(_glue_texts, qqp.TASK),
    "mnli": partial(_glue_texts, mnli.TASK),
    "qnli": partial(_glue_texts, qnli.TASK),
    "rte": partial(_glue_texts, rte.TASK),
    "wnli": partial(_glue_texts, wnli.TASK),
}
