"""Sections `encode.<phase>`: how documents become instances. Imports nothing heavy."""

from typing import Literal

from pydantic import PositiveInt, model_validator

from bert.config import Section, knob
from bert.data.masking import MaskingConfig

_PAIRS = ("next_sentence", "sentence_order")


class InstanceConfig(Section):
    """Section `encode.<phase>`."""

    seed: int = knob("Seed of all draws; each part mixes in its phase and number.", ge=0)
    max_seq_length: int = knob(
        "Longest instance in tokens, special tokens included.", ge=8, lt=2**16
    )
    objective: Literal["next_sentence", "sentence_order", "full_sentences"] = knob(
        "next_sentence: BERT's pairs, B follows A or comes from elsewhere; sentence_order: "
        "ALBERT's pairs, in order or swapped; full_sentences: RoBERTa's single segments without a "
        "second task."
    )
    short_seq_prob: float = knob(
        "Share of documents (full_sentences: of instances) whose target length is drawn uniformly "
        "from 2 up (published 0.1; RoBERTa 0).",
        ge=0,
        le=1,
    )
    random_next_prob: float | None = knob(
        "Probability that segment B comes from another document (published 0.5); null for "
        "objectives other than next_sentence.",
        ge=0,
        le=1,
    )
    dupe_factor: int = knob("Passes over the documents, each with other draws.", ge=1)
    cross_documents: bool = knob(
        "full_sentences: an instance goes on in the next document after a [SEP], as RoBERTa's "
        "FULL-SENTENCES; false = DOC-SENTENCES."
    )
    overlap: int = knob(
        "full_sentences: tokens repeated between consecutive instances of a document; 0 = none.",
        ge=0,
    )
    max_instances: PositiveInt | Literal["steps"] | None = knob(
        "Most instances of the phase, taken evenly from all parts; steps = pretrain's steps times "
        "batch, so that each is seen at most once; null = all passes over all documents.",
    )
    masking: MaskingConfig | None = knob(
        "Static masks, drawn once for each pass and stored; null = masks are drawn at load time."
    )

    @property
    def has_pairs(self) -> bool:
        """Whether an instance is a pair of segments with a label."""
        return self.objective in _PAIRS

    @model_validator(mode="after")
    def _fits_together(self) -> "InstanceConfig":
        problems = [*self._pair_problems(), *self._full_problems()]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _pair_problems(self) -> list[str]:
        problems = []
        wants_random = self.objective == "next_sentence"
        if wants_random and self.random_next_prob is None:
            problems.append("random_next_prob is null; next_sentence needs one (published 0.5).")
        if not wants_random and self.random_next_prob:
            problems.append(
                f"random_next_prob is {self.random_next_prob:g}, but {self.objective} draws no "
                "random next; write null."
            )
        return problems

    def _full_problems(self) -> list[str]:
        if not self.has_pairs:
            if self.overlap < self.max_seq_length - 2:
                return []
            return [
                f"overlap is {self.overlap}; it must be below max_seq_length - 2 = "
                f"{self.max_seq_length - 2}, or no instance holds anything new. Lower it."
            ]
        return [
            f"{name} is {value}, but only full_sentences has it, and objective is "
            f"{self.objective}; write {nothing}."
            for name, value, nothing in (
                ("cross_documents", self.cross_documents, "false"),
                ("overlap", self.overlap, "0"),
            )
            if value
        ]
