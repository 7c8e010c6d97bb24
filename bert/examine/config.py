"""Section `examine`: how much is looked at, and what is still called sound."""

from bert.config import Section, knob


class ExamineConfig(Section):
    """Section `examine`."""

    shards: int = knob("Shards that are looked into, evenly spaced over the phase.", ge=1)
    instances: int = knob("Instances that are looked at, over all these shards.", ge=1)
    samples: int = knob("Instances that are written out as text.", ge=0)
    max_duplicate_share: float = knob(
        "Share of the instances looked at that may stand there more than once; more fails.",
        ge=0,
        le=1,
    )
    min_label_share: float = knob(
        "Share that the rarer label of the sentence task must have, where there is one.",
        ge=0,
        le=0.5,
    )
