"""What a saved state of K-FAC must hold to be gone on from."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from bert.optim.kfac_shapes import factor_shapes, inverse_shapes
from bert.optim.moments import OptimizerError


def check_state(
    tensors: Mapping[str, Tensor], layers: Mapping[str, nn.Linear], method: str, folder: Path
) -> None:
    """Refuses a state that is not of these layers and this method.

    Args:
        tensors: As `Kfac.tensors` names them.
        layers: Linear layers by name.
        method: `eigen` or `inverse`.
        folder: Where it came from, for the message.

    Raises:
        OptimizerError: A tensor is missing, left over or of another shape.
    """
    expected = _expected_shapes(tensors, layers, method)
    problems = [f"{name} is missing" for name in sorted(expected.keys() - tensors.keys())]
    problems += [f"{name} is not part of it" for name in sorted(tensors.keys() - expected.keys())]
    problems += [
        f"{name} has shape {list(tensors[name].shape)}, expected {list(expected[name])}"
        for name in sorted(expected.keys() & tensors.keys())
        if tuple(tensors[name].shape) != expected[name]
    ]
    if problems:
        raise OptimizerError(
            f"{folder} does not fit K-FAC with method {method} on {len(layers)} layers: "
            f"{'; '.join(problems[:3])}{f'; and {len(problems) - 3} more' * (len(problems) > 3)}. "
            "Use the `model` and `kfac` sections that it was made with."
        )


def _expected_shapes(
    tensors: Mapping[str, Tensor], layers: Mapping[str, nn.Linear], method: str
) -> dict[str, tuple[int, ...]]:
    expected: dict[str, tuple[int, ...]] = {"updates": ()}
    if "updates" in tensors and tensors["updates"].numel() == 1 and int(tensors["updates"]) == 0:
        return expected  # saved before the first step
    for name, layer in layers.items():
        sizes = layer.in_features, layer.out_features
        shapes = factor_shapes(*sizes) | inverse_shapes(method, *sizes)
        expected |= {f"{key}:{name}": shape for key, shape in shapes.items()}
    return expected
