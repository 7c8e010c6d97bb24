"""Numbers as a reader likes them: 1,234,567; 2.75 B; 5.5 GB; 61.2 +- 0.8; 15.0 %."""

import math

MINUS = "\u2212"
PLUS_MINUS = "\u00b1"
NONE = "\u2013"
_THIN = "\u202f"


def whole(value: float) -> str:
    """A count with its thousands set apart: 1,234,567."""
    return f"{round(value):,}"


def short(value: float) -> str:
    """A number to three digits with k, M, B or T: 950, 12.3 k, 2.75 B."""
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 0.9995 * size:
            return f"{_digits(value / size)}{_THIN}{letter}"
    return _digits(value)


def size(amount: float) -> str:
    """An amount of bytes in decimal units: 512 B, 5.5 GB."""
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if amount >= 0.9995 * unit:
            return f"{_digits(amount / unit)}{_THIN}{name}"
    return f"{round(amount)}{_THIN}B"


def percent(share: float | None, decimals: int = 1) -> str:
    """A share of 1 in percent: 0.15 gives 15.0 %; None gives a dash."""
    return NONE if share is None else f"{100 * share:.{decimals}f}{_THIN}%"


def fixed(value: float | None, decimals: int = 2) -> str:
    """A number with so many decimals; None gives a dash."""
    if value is None:
        return NONE
    return f"{value:.{decimals}f}".replace("-", MINUS)


def signed(value: float, decimals: int = 2) -> str:
    """A difference with its sign: +0.25, -1.50."""
    text = fixed(value, decimals)
    return text if text.startswith(MINUS) else f"+{text}"


def spread(mean: float, sd: float | None, decimals: int = 1) -> str:
    """A mean with its standard deviation if there is one: 61.2 +- 0.8."""
    text = fixed(mean, decimals)
    return text if sd is None else f"{text} {PLUS_MINUS} {fixed(sd, decimals)}"


def tick(value: float) -> str:
    """A tick of an axis: 0, 0.25, 400, 1.5k, 2e-4."""
    if value and abs(value) < 1e-3:
        exponent = math.floor(math.log10(abs(value)) + 1e-9)
        return f"{value / 10**exponent:.3g}e{exponent}".replace("-", MINUS)
    for unit, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 0.9995 * unit:
            return f"{value / unit:.4g}{letter}".replace("-", MINUS)
    return f"{value:.4g}".replace("-", MINUS)


def _digits(value: float) -> str:
    """Three significant digits, at most two decimals, no exponent."""
    decimals = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    text = f"{value:.{decimals}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-", MINUS)
