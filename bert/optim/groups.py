"""From named parameters and a section to an optimizer."""

from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

from torch import Tensor

from bert.optim.adamw import AdamW
from bert.optim.config import AdamWConfig, LambConfig
from bert.optim.lamb import Lamb
from bert.optim.moments import MomentOptimizer


def parameter_groups(
    named_parameters: Iterable[tuple[str, Tensor]],
    weight_decay: float,
    rate_factors: Mapping[str, float] | None = None,
) -> list[dict[str, Any]]:
    """Splits trainable parameters into weight matrices, which decay, and vectors, which do not.

    With `rate_factors` each of the two is split once more, by the parameters' factors.

    Biases and LayerNorm weights are exactly the parameters of one dimension. Older systems look
    for substrings of names instead and decay a norm layer that is called otherwise.

    Args:
        named_parameters: As `module.named_parameters()` gives them; order is kept.
        weight_decay: Decay of the matrices.
        rate_factors: Name to factor on the learning rate; None = 1 for all.

    Returns:
        Groups with keys `params`, `names`, `decays`, `weight_decay` and `rate_factor`; empty ones
        left out.
    """
    live = [(name, param) for name, param in named_parameters if param.requires_grad]
    factors = {name: 1.0 if rate_factors is None else rate_factors[name] for name, _ in live}
    groups = []
    for decays, factor in product((True, False), dict.fromkeys(factors.values())):
        chosen = [
            (name, param)
            for name, param in live
            if (param.dim() > 1) == decays and factors[name] == factor
        ]
        if chosen:
            groups.append(
                {
                    "params": [param for _, param in chosen],
                    "names": [name for name, _ in chosen],
                    "decays": decays,
                    "weight_decay": weight_decay if decays else 0.0,
                    "rate_factor": factor,
                }
            )
    return groups


def make_optimizer(
    named_parameters: Iterable[tuple[str, Tensor]],
    config: LambConfig | AdamWConfig,
    rate_factors: Mapping[str, float] | None = None,
) -> MomentOptimizer:
    """Returns the configured optimizer with a learning rate of 0, which the loop sets every step.

    It does not clip by itself: the loop gives every step its `clip_divisor`, made with
    `config.max_grad_norm` when the gradients are complete.

    Raises:
        OptimizerError: A parameter is not fp32.
    """
    groups = parameter_groups(named_parameters, config.weight_decay, rate_factors)
    return optimizer_of_groups(groups, config)


def optimizer_of_groups(
    groups: list[dict[str, Any]], config: LambConfig | AdamWConfig
) -> MomentOptimizer:
    """As `make_optimizer`, for groups that are made already; a group may be empty."""
    return Lamb(groups, config) if isinstance(config, LambConfig) else AdamW(groups, config)
