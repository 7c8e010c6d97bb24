"""When a phase is evaluated while it trains, and when it has reached its target.

Both are functions of numbers that are equal on all ranks, so all ranks evaluate, and stop,
together. Samples are instances seen in this phase, those of skipped steps included.
"""

from collections.abc import Mapping

from bert.train.config import EvaluationConfig

_MLPERF_UNIT = 25_000


def evaluation_samples(config: EvaluationConfig, batch: int) -> int:
    """Distance of evaluations in samples.

    MLPerf's rule is floor(0.05 (230.23 batch + 3,000,000) / 25,000) times 25,000 samples
    (mlcommons/training, language_model/tensorflow/bert/README.md). Here it is computed in whole
    numbers, so that no rounding of 230.23 decides about 25,000 samples.

    Args:
        config: Section `evaluation` of the phase.
        batch: Instances of a step, over all ranks.
    """
    if config.every == "mlperf":
        return (23_023 * batch + 300_000_000) // (2_000 * _MLPERF_UNIT) * _MLPERF_UNIT
    return config.every * batch if config.unit == "steps" else config.every


def due(step: int, batch: int, config: EvaluationConfig) -> bool:
    """Whether an evaluation follows this step of the phase (counted from 1).

    It does when the step's samples reach or cross a multiple of the distance, once however many it
    crosses, and at least `from_samples` were seen. The last step of a phase has one in any case;
    the loop sees to that.
    """
    distance = evaluation_samples(config, batch)
    crossed = step * batch // distance > (step - 1) * batch // distance
    return crossed and step * batch >= config.from_samples


def reached(metrics: Mapping[str, float | None], config: EvaluationConfig) -> bool:
    """Whether an evaluation, as `bert.train.evaluate.evaluate` returns it, meets the target."""
    accuracy, target = metrics["mlm_accuracy"], config.target_mlm_accuracy
    return target is not None and accuracy is not None and accuracy >= target
