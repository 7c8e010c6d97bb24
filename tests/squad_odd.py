"""Odd questions, answers and predictions, the same each time, for comparison with other scorers.

    python -m tests.squad_odd FOLDER

writes dev-v1.1.json, dev-v2.0.json, predictions.json and null_odds.json there, as the official
scripts read them.
"""

import json
import random
import sys
from pathlib import Path
from typing import Any

# Articles, punctuation of ASCII and not, white space that only str.split knows, and letters whose
# lower case is longer or is none.
_WORDS = [
    *(
        "The",
        "a",
        "AN",
        "(the)",
        "a.n",
        "Theatre",
        "thé",
        "the\u200bcat",
        "an'the",
        "a-b",
        "$1,000",
    ),
    *(
        "1843",
        "Caf\u00e9",
        "Cafe\u0301",
        "\u0130stanbul",
        "Stra\u00dfe",
        "\u6771\u4eac",
        "\U0001f600",
    ),
    *(
        "\u201cquoted\u201d",
        "\u2013",
        "\uff0e",
        "...",
        "!",
        "_the_",
        "of",
        "of",
        "Ada",
        "ada",
        "ADA",
    ),
    *("\u01c5", "\u03a3\u03a3", "the\u0301", "x\u0301a", "na\u00efve"),
]
_SPACES = [" ", " ", " ", "  ", "\u00a0", "\u2003", "\t", "\n", "\u200b", "\x1c", "\u0085", ""]


def odd_text(rng: random.Random, most: int = 4) -> str:
    """Up to `most` odd words with odd white space around and between them."""
    pieces = [rng.choice(_SPACES)]
    for _ in range(rng.randrange(most + 1)):
        pieces += [rng.choice(_WORDS), rng.choice(_SPACES)]
    return "".join(pieces)


def odd_data(seed: int, count: int) -> tuple[list[tuple[str, list[str]]], dict[str, Any]]:
    """Questions, as id and answers, and a prediction of each: text and null odds.

    A quarter have no answer, and mostly the higher odds; odds are of few values, so many are equal.
    """
    rng = random.Random(seed)
    gold, predictions = [], {}
    for number in range(count):
        answers = [odd_text(rng) or "x" for _ in range(rng.choice([0, 1, 1, 3]))]
        text = odd_text(rng)
        if answers and rng.random() < 0.4:
            text = rng.choice(answers).swapcase() + rng.choice(["", "!", " the", " Ada"])
        if rng.random() < 0.25:
            text = ""
        gold.append((f"q{number}", answers))
        predictions[f"q{number}"] = {
            "text": text,
            "null_odds": rng.randrange(-40, 20) / 4 + 5 * (not answers),
        }
    order = list(predictions)
    rng.shuffle(order)
    return gold, {id_: predictions[id_] for id_ in order}


def _file(version: str, gold: list[tuple[str, list[str]]]) -> dict[str, Any]:
    questions = [
        {"id": id_, "question": "?", "answers": [{"text": a, "answer_start": 0} for a in answers]}
        for id_, answers in gold
    ]
    paragraphs = [{"context": "x", "qas": questions}]
    return {"version": version, "data": [{"title": "odd", "paragraphs": paragraphs}]}


def main(folder: Path) -> None:
    """Writes the files."""
    gold, predictions = odd_data(seed=1, count=2000)
    files = {
        "dev-v1.1.json": _file("1.1", [(id_, answers) for id_, answers in gold if answers]),
        "dev-v2.0.json": _file("v2.0", gold),
        "predictions.json": {id_: value["text"] for id_, value in predictions.items()},
        "null_odds.json": {id_: value["null_odds"] for id_, value in predictions.items()},
    }
    for name, values in files.items():
        (folder / name).write_text(json.dumps(values), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
