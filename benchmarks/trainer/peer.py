"""One fine-tuning run by transformers' Trainer: the peer of `run.py`, in its own environment.

Reads a JSON object from standard input (see `run.py`) and writes predictions and times to `output`.
Texts and labels come from `run.py`, so that both sides read the same files in the same way; how
text becomes tokens, windows and answers follows transformers' examples run_glue.py and run_qa.py.
Needs transformers and accelerate.
"""

import json
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    set_seed,
)


class Rows(torch.utils.data.Dataset):
    """Encoded examples as a list."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.rows[index]


def main():
    """Trains, predicts, writes the result."""
    job = json.load(sys.stdin)
    torch.set_num_threads(job["threads"])
    tokenizer = AutoTokenizer.from_pretrained(job["model"])
    set_seed(job["seed"])
    span = job["kind"] == "squad"
    started = time.perf_counter(), time.process_time()
    if span:
        network = AutoModelForQuestionAnswering.from_pretrained(job["model"])
        train, _ = windows(job["train"], tokenizer, job, training=True)
        dev, places = windows(job["dev"], tokenizer, job, training=False)
    else:
        network = AutoModelForSequenceClassification.from_pretrained(job["model"], num_labels=2)
        train, dev = (pairs(job[split], tokenizer, job) for split in ("train", "dev"))
    trainer = Trainer(
        network, arguments(job), train_dataset=Rows(train),
        data_collator=DataCollatorWithPadding(
            tokenizer, "max_length" if job["padding"] == "max" else "longest",
            max_length=job["max_length"],
        ),
    )  # fmt: skip
    ready = time.perf_counter(), time.process_time()
    trainer.train()
    trained = time.perf_counter(), time.process_time()
    outputs = trainer.predict(Rows([strip(row) for row in dev])).predictions
    predictions = answers(job, places, outputs) if span else labels(job, outputs)
    ended = time.perf_counter(), time.process_time()
    seconds = {
        name: {"wall": b[0] - a[0], "processor": b[1] - a[1]}
        for name, a, b in (
            ("features", started, ready), ("train", ready, trained), ("predict", trained, ended)
        )
    }  # fmt: skip
    Path(job["output"]).write_text(json.dumps({"predictions": predictions, "seconds": seconds}))


def arguments(job):
    """The hyper-parameters in the Trainer's names."""
    return TrainingArguments(
        output_dir=str(Path(job["output"]).with_suffix(".trainer")),
        num_train_epochs=job["epochs"],
        max_steps=job["steps"] or -1,
        per_device_train_batch_size=job["batch"],
        per_device_eval_batch_size=job["batch"],
        learning_rate=job["learning_rate"],
        warmup_steps=job["warmup"],  # a share of the steps, if below 1
        lr_scheduler_type="linear",
        weight_decay=job["weight_decay"],
        adam_beta1=0.9,
        adam_beta2=0.999,
        adam_epsilon=job["eps"],
        max_grad_norm=1.0,
        bf16=job["precision"] == "bf16",
        use_cpu=True,
        seed=job["seed"],
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )


def pairs(rows, tokenizer, job):
    """Rows of (id, first, second, label) as run_glue.py encodes them."""
    encoded = tokenizer(
        [row[1] for row in rows], [row[2] for row in rows], truncation=True,
        max_length=job["max_length"],
    )  # fmt: skip
    names = tokenizer.model_input_names
    return [
        {name: encoded[name][i] for name in names} | {"label": row[3]} for i, row in enumerate(rows)
    ]


def labels(job, outputs):
    """Example id to label."""
    return {
        row[0]: int(label) for row, label in zip(job["dev"], outputs.argmax(axis=1), strict=True)
    }


def windows(rows, tokenizer, job, *, training):
    """Rows of (id, question, context, [text, start]) as run_qa.py encodes them."""
    encoded = tokenizer(
        [row[1].lstrip() for row in rows], [row[2] for row in rows], truncation="only_second",
        max_length=job["max_length"], stride=job["doc_stride"], return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )  # fmt: skip
    made, places = [], []
    for i, example in enumerate(encoded["overflow_to_sample_mapping"]):
        sides, offsets = encoded.sequence_ids(i), encoded["offset_mapping"][i]
        row = {name: encoded[name][i] for name in tokenizer.model_input_names}
        if training:
            text, start = rows[example][3]
            ends = span(sides, offsets, start, start + len(text))
            row |= {"start_positions": ends[0], "end_positions": ends[1]}
        made.append(row)
        places.append(
            (example, [o if s == 1 else None for o, s in zip(offsets, sides, strict=True)])
        )
    return made, places


def span(sides, offsets, start, stop):
    """First and last token of an answer in a window, (0, 0) if it is not wholly inside."""
    inside = [i for i, side in enumerate(sides) if side == 1]
    first, last = inside[0], inside[-1]
    if offsets[first][0] > start or offsets[last][1] < stop:
        return 0, 0
    begin = max(i for i in inside if offsets[i][0] <= start)
    end = min(i for i in inside if offsets[i][1] >= stop)
    return begin, end


def answers(job, places, outputs):
    """Question id to the answer text of the best pair of start and end over its windows."""
    best = defaultdict(lambda: (-np.inf, ""))
    for (example, offsets), starts, ends in zip(places, outputs[0], outputs[1], strict=True):
        highest = [
            np.argsort(-values[: len(offsets)])[: job["n_best"]] for values in (starts, ends)
        ]
        for first in highest[0]:
            for last in highest[1]:
                if offsets[first] is None or offsets[last] is None:
                    continue
                if not first <= last < first + job["max_answer_length"]:
                    continue
                score = float(starts[first] + ends[last])
                if score > best[example][0]:
                    text = job["dev"][example][2][offsets[first][0] : offsets[last][1]]
                    best[example] = score, text
    return {row[0]: best[i][1] for i, row in enumerate(job["dev"])}


def strip(row):
    """A row without its targets."""
    return {k: v for k, v in row.items() if k not in ("label", "start_positions", "end_positions")}


if __name__ == "__main__":
    main()
