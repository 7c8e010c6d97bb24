"""Sections `convert` and `publish`. Free of torch, so the workflow can check them."""

from typing import Literal

from bert.config import Section, knob


class ConvertConfig(Section):
    """Section `convert`: a checkpoint that somebody else trained, as the start of this run."""

    raw: str = knob(
        "Name of the `fetch` item with the checkpoint: a folder of transformers, a TensorFlow 1 "
        "checkpoint of BERT, a .pt file of NVIDIA or gpauloski, or a checkpoint of this project; "
        "or one archive of these (.zip, .tar.gz)."
    )
    before: Literal["phase1", "phase2", "finetune"] = knob(
        "The first stage that takes these weights; the stages before it are left out."
    )


class PublishConfig(Section):
    """Section `publish`: a fine-tuned model of each task, as a folder that transformers loads."""

    pick: Literal["best", "median"] = knob(
        "Which of the runs from pretrained weights: the one with the best score on the dev data, "
        "or the (lower) median one, in a grid of the learning rate with the best median."
    )
