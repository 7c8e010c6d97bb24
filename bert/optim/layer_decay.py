"""Lower learning rates for layers nearer to the input, as in ELECTRA's fine-tuning.

With L layers and a decay d the factor on the learning rate is d^(L + 2 - depth): depth 0 for the
embeddings, 1 to L for the layers from below, L + 2 for all that stands above them (the head and the
pooler). So the uppermost layer has d^2, not d: no depth L + 1 is given away in the published code,
with which the published values of d were found.

Source: Clark et al., 2020; google-research/electra, model/optimization.py, `_get_layer_lrs`.
"""

import re
from collections.abc import Iterable

_LAYER = re.compile(r"bert\.encoder\.layer\.(\d+)\.")


def rate_factors(names: Iterable[str], decay: float) -> dict[str, float]:
    """Factor on the learning rate of each parameter.

    Args:
        names: All parameters of a network of `bert.model.heads`.
        decay: From each depth to the one below it; 1 = one rate for all.
    """
    names = list(names)
    numbers = {name: int(match[1]) for name in names if (match := _LAYER.match(name))}
    top = max(numbers.values(), default=-1) + 3
    depths = {name: number + 1 for name, number in numbers.items()}
    depths |= {name: 0 for name in names if name.startswith("bert.embeddings.")}
    return {name: decay ** (top - depths.get(name, top)) for name in names}
