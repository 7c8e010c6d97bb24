"""Section `task` of SQuAD."""

from typing import Literal

from pydantic import model_validator

from bert.config import Section, knob

Version = Literal["1.1", "2.0"]


class SquadConfig(Section):
    """SQuAD question answering."""

    format: Literal["squad"] = knob("Task format: SQuAD JSON.")
    version: Version = knob(
        "1.1: every question has an answer. 2.0: a question may have none (Rajpurkar et al. 2018)."
    )
    max_seq_length: int = knob(
        "Longest sequence in tokens, question, window and 3 special tokens (Devlin et al.: 384).",
        ge=8,
    )
    doc_stride: int = knob(
        "Tokens from one window's start to the next; a stride longer than the window counts as "
        "the window's length (google/bert: 128).",
        ge=1,
    )
    max_query_length: int = knob(
        "Tokens of the question that are kept; the rest is cut (google/bert: 64).", ge=1
    )
    n_best: int = knob(
        "Start positions and end positions, by logit, that are paired to find the answers of a "
        "window; also the answers that are kept of a question (google/bert: 20).",
        ge=1,
    )
    max_answer_length: int = knob("Longest predicted answer in tokens (google/bert: 30).", ge=1)
    null_threshold: float = knob(
        "2.0 only: a question counts as without answer where the null logits exceed those of the "
        "best answer by more than this (google/bert's null_score_diff_threshold: 0). The metric "
        "best_f1_thresh says what would have been best, among values up to this one.",
        allow_inf_nan=False,
    )
    max_misaligned_share: float = knob(
        "Largest share of questions, 0 to 1, with an answer that does not stand at its "
        "answer_start; above it the stage fails (SQuAD as published has none).",
        ge=0,
        le=1,
    )

    @model_validator(mode="after")
    def _room_for_the_paragraph(self) -> "SquadConfig":
        if self.max_query_length + 4 > self.max_seq_length:
            raise ValueError(
                f"max_seq_length {self.max_seq_length} leaves no token for the paragraph beside "
                f"max_query_length {self.max_query_length} and 3 special tokens; raise the first "
                "or lower the second."
            )
        return self
