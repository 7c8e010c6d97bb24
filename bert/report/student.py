"""Quantiles of Student's t distribution for whole degrees of freedom.

For these the distribution function is a finite sum of powers of a cosine (Abramowitz and Stegun,
Handbook of Mathematical Functions, 26.7.3 and 26.7.4), so no special function is needed.
"""

import math

_HALVINGS = 200


def t_quantile(level: float, freedom: int) -> float:
    """The t within whose positive and negative the share `level` of the distribution lies.

    Args:
        level: Between 0 and 1, e.g. 0.95 for the 97.5 % quantile.
        freedom: Degrees of freedom, 1 or more.
    """
    low, high = 0.0, math.pi / 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _inside(middle, freedom) < level:
            low = middle
        else:
            high = middle
    return math.sqrt(freedom) * math.tan(low)


def _inside(angle: float, freedom: int) -> float:
    """Share of the distribution between -t and t, where t = sqrt(freedom) tan(angle)."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term = cosine if odd else 1.0
    total = 0.0
    # The powers of the cosine go up to freedom - 2 in steps of two.
    for power in range(odd, freedom - 1, 2):
        total += term
        term *= cosine * cosine * (power + 1) / (power + 2)
    return (angle + sine * total) * 2 / math.pi if odd else sine * total
