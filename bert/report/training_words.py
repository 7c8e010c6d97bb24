"""How a phase was trained and what went wrong in it, in words."""

from collections.abc import Mapping
from typing import Any

from bert.report.curves import Log
from bert.report.numbers import tick, whole

_OPTIMIZERS = {"lamb": "LAMB", "adamw": "AdamW"}
_HANDED_ON = {
    "last": "the last weights",
    "best": "the best weights by held-out loss",
    "average": "an average of weights",
}
_EVENTS = {"skip": "skipped step", "rollback": "rollback", "spike": "loss spike"}


def method(config: Mapping[str, Any]) -> str:
    """Optimizer, batch and learning rate of a section `pretrain.<phase>`; "" if it has none."""
    parts = []
    if config.get("optimizer"):
        parts.append(_optimizer(config))
    if config.get("batch"):
        parts.append(f"batch {whole(config['batch'])}")
    if config.get("learning_rate"):
        parts.append(f"peak learning rate {tick(config['learning_rate'])}")
    return ", ".join(parts)


def _optimizer(config: Mapping[str, Any]) -> str:
    optimizer = config["optimizer"]
    name = _OPTIMIZERS.get(optimizer["name"], str(optimizer["name"]))
    if optimizer.get("variant"):
        name += f" ({optimizer['variant']})"
    if config.get("kfac"):
        name = f"K-FAC ({config['kfac'].get('method')}) before {name}"
    return name


def handed_on(config: Mapping[str, Any]) -> str:
    """Which weights a phase gave to what follows; "" if its section does not say."""
    result = config.get("result") or {}
    words = _HANDED_ON.get(result.get("weights", ""), "")
    if result.get("weights") == "average":
        words = (
            f"the mean of the weights of {result['average_last']} steps, "
            f"{whole(result['average_every'])} apart"
        )
    return words


def events(log: Log) -> str:
    """What went wrong and how often: 3 skipped steps, 1 rollback; "" if nothing did."""
    counts = {name: log.count(kind) for kind, name in _EVENTS.items()}
    shown = [f"{whole(n)} {name}{'' if n == 1 else 's'}" for name, n in counts.items() if n]
    return ", ".join(shown)
