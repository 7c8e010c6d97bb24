"""Learning-rate schedules as pure functions of the step, or of the share of a time budget.

Let t be the 1-based step about to be taken, counted over all phases that share the schedule, T its
steps, p = (t - 1) / T the share behind it, W the steps of warm-up and S <= 0 its start. While
t - S < W the factor on the peak rate is (t - S) / W. After that it is end + (1 - end) f, with

| name | f |
| --- | --- |
| polynomial | (1 - p)^degree, not rescaled: the rate drops where the warm-up ends |
| linear | q = (1 - p) / (1 - e), at most 1, with e = (W + S) / T the end of the warm-up |
| cosine | (1 - cos(pi q)) / 2 |
| constant | 1 |

and `end_factor` past the end. As published recipes name them:

| published | here |
| --- | --- |
| PolyWarmUp (NVIDIA, Habana, gpauloski) | polynomial, degree 0.5 |
| LinearWarmUp (the same) | linear |
| original BERT: decay from step 0, the warm-up laid over it | polynomial, degree 1 |
| LinearWarmupPolyDecay (MLPerf, Intel) | polynomial, degree 1, `warmup_start` |
| linear after the warm-up, to 0 or not (Cerebras, MosaicBERT) | linear, `end_factor` |
| ConstantWarmUp (NVIDIA) | constant |

No step is lost: in the published code either the first step has a rate of 0 (original BERT; MLPerf
with start 0) or the last one has (PolyWarmUp, LinearWarmUp; MLPerf with a start below 0), because
one t stands for the steps behind and for the one about to be taken. Here the warm-up counts the
step about to be taken, and the decay those behind it. NVIDIA's CosineWarmUp adds pi to the progress
where it should multiply.

Source: NVIDIA's schedulers.py; google-research/bert optimization.py; Intel's and MLPerf's
schedulers.py; Izsak et al., 2021, for the time budget.
"""

import math
from typing import Literal

from bert.optim.config import ScheduleConfig


def learning_rate_factor(step: int, phase_steps: int, config: ScheduleConfig) -> float:
    """Factor in [0, 1] on the peak learning rate; above 0 for every step of the schedule.

    Args:
        step: 1-based index, within the phase, of the optimizer step about to be taken.
        phase_steps: Steps of the phase.
        config: Shape.

    Raises:
        ValueError: `step` or `phase_steps` is below 1.
    """
    if step < 1 or phase_steps < 1:
        raise ValueError(f"Step is {step} of {phase_steps}; expected both to be at least 1.")
    place = config.steps_before + step
    total = config.total_steps or config.steps_before + phase_steps
    if place > total:
        return _after_warmup(1.0, 0.0, config)
    if config.warmup_proportion is not None:
        warmup, warm = config.warmup_proportion * total, config.warmup_proportion
    else:
        warmup = float(config.warmup_steps or 0)
        warm = warmup / total
    if place - config.warmup_start < warmup:
        return (place - config.warmup_start) / warmup
    warm = max(0.0, warm + config.warmup_start / total)
    return _after_warmup((place - 1) / total, warm, config)


def timed_learning_rate_factor(progress: float, config: ScheduleConfig) -> float:
    """Factor in [0, 1] on the peak learning rate where a time budget, not steps, ends the phase.

    Args:
        progress: Share of the budget that will be used when the step about to be taken ends; the
            share before the step gives a first step without effect. Above 1 is past the end.
        config: Shape; its warm-up must be a proportion, and the schedule of this phase alone.

    Raises:
        ValueError: `progress` is negative or not a number, or the section counts steps.
    """
    if not progress >= 0:
        raise ValueError(f"Progress is {progress}; expected elapsed time / budget, at least 0.")
    steps = (config.warmup_steps, config.warmup_start, config.steps_before, config.total_steps)
    if config.warmup_proportion is None or any(steps):
        raise ValueError(
            "The phase has a time budget, and its schedule counts steps: (warmup_steps, "
            f"warmup_start, steps_before, total_steps) is {steps}; expected (null, 0, 0, null) and "
            "a warmup_proportion. Change `schedule`, or set budget_hours to null."
        )
    if progress < config.warmup_proportion:
        return progress / config.warmup_proportion
    return _after_warmup(min(progress, 1.0), config.warmup_proportion, config)


def learning_rate_scaling(kind: Literal["none", "square_root", "linear"], world: int) -> float:
    """Factor on the learning rate for `world` ranks: 1 (none), `square_root` or `linear`.

    Square root: Intel's pretraining; You et al., 2020, scale so with the batch. Linear: Goyal et
    al., 2017.
    """
    return {"none": 1.0, "square_root": math.sqrt(world), "linear": float(world)}[kind]


def _after_warmup(behind: float, warm: float, config: ScheduleConfig) -> float:
    """The factor when the shares `behind` of the schedule and `warm` of the warm-up are over."""
    if config.end_factor is None:  # constant
        return 1.0
    left = 1 - behind
    if config.degree is not None:
        shape = left**config.degree
    else:
        shape = 1.0 if behind <= warm else left / (1 - warm)
        if config.name == "cosine":
            shape = math.sin(math.pi / 2 * shape) ** 2
    return float(config.end_factor + (1 - config.end_factor) * shape)
