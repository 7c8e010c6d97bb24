"""What a device is, for people. Free of torch, so that the report can say it, too."""

from collections.abc import Mapping
from typing import Any

# The most telling first; others follow by name.
_ORDER = ("device", "instruction_set", "precision", "product_bits", "product_kernels", "threads")


def device_words(facts: Mapping[str, Any]) -> str:
    """The facts of `describe_device`, and others, in a line; what is not so is left out.

    Example: {"name": "AMD EPYC", "device": "cpu", "ipex": None} -> "AMD EPYC, device cpu".
    """
    names = sorted(facts, key=lambda n: (_ORDER.index(n) if n in _ORDER else len(_ORDER), n))
    said = [str(facts["name"])] if facts.get("name") else []
    for name in names:
        value = facts[name]
        if name == "name" or value is None or value is False or value == []:
            continue
        words = name.replace("_", " ")
        if value is True:
            said.append(words)
        elif isinstance(value, list):
            said.append(f"{words} {' and '.join(map(str, value))}")
        else:
            said.append(f"{words} {value}")
    return ", ".join(said)
