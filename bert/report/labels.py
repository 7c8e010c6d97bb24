"""The names people know tasks and metrics by, and the order of the tasks."""

_TASKS = {
    "squad": "SQuAD",
    "squad2": "SQuAD 2.0",
    "cola": "CoLA",
    "sst2": "SST-2",
    "mrpc": "MRPC",
    "stsb": "STS-B",
    "qqp": "QQP",
    "mnli": "MNLI",
    "qnli": "QNLI",
    "rte": "RTE",
    "wnli": "WNLI",
    "conll": "CoNLL",
    "conll2003": "CoNLL-2003",
}
_SPELLINGS = {"squad11": "squad", "squadv11": "squad", "squad20": "squad2", "squadv2": "squad2"}
_METRICS = {
    "f1": "F1",
    "exact": "exact match",
    "exact_match": "exact match",
    "matthews": "Matthews correlation",
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
}
# SQuAD 2.0 has ten metrics by the names of its official script.
_DETAILS = {
    "HasAns_": "with an answer",
    "NoAns_": "without an answer",
    "best_": "at the best threshold",
}
_THRESHOLD = "_thresh"


def known_task(task: str) -> str:
    """The key that stands for a task however it is spelt (SST-2, sst_2, glue_sst2: sst2)."""
    name = task.lower().removeprefix("glue")
    name = "".join(letter for letter in name if letter.isalnum())
    return _SPELLINGS.get(name, name)


def task_label(task: str) -> str:
    """The name people know a task by."""
    return _TASKS.get(known_task(task), task)


def task_order(task: str) -> tuple[int, str]:
    """Sorts SQuAD first, then the tasks of GLUE in the order of its table, then others."""
    order = list(_TASKS)
    known = known_task(task)
    return (order.index(known) if known in order else len(order)), task


def metric_label(metric: str) -> str:
    """The name people know a metric by."""
    for prefix, words in _DETAILS.items():
        if metric.startswith(prefix):
            name = metric.removeprefix(prefix)
            if name.endswith(_THRESHOLD):
                return f"best threshold for {metric_label(name.removesuffix(_THRESHOLD))}"
            return f"{metric_label(name)} {words}"
    return _METRICS.get(metric, metric.replace("_", " "))


def is_detail(metric: str) -> bool:
    """Whether a metric is of a part of the questions or of another threshold: not drawn."""
    return metric.startswith(tuple(_DETAILS))
