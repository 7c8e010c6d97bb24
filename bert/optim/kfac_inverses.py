"""Inverting damped Kronecker factors, and applying the inverse to a gradient.

A is a layer's input factor, G its output factor, and the Fisher matrix of its weights is taken
as their Kronecker product. Two methods add the damping in different places:

| method  | inverts              | damping                                                     |
|---------|----------------------|-------------------------------------------------------------|
| eigen   | A (x) G + damping I  | exact: added to each product of eigenvalues                 |
| inverse | A + p r I, G + r / p I | factored: r = sqrt(damping), p^2 = mean eigenvalue A / G  |

The second one's product exceeds the first by p r (I (x) G) + (r / p) (A (x) I): its steps are
shorter; the two meet as the damping goes to 0.

Sources: Grosse and Martens, 2016, and George et al., 2018 (eigen); Martens and Grosse, 2015,
section 6.3 (inverse).
"""

import math
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from bert.optim.moments import OptimizerError

Inverse = dict[str, Tensor]


def invert(method: str, input_factor: Tensor, output_factor: Tensor, damping: float) -> Inverse:
    """Inverts a layer's factors by `method`, under the names of `kfac_shapes.inverse_shapes`.

    Args:
        method: `eigen` or `inverse`.
        input_factor: A, symmetric fp32 [n + 1, n + 1].
        output_factor: G, symmetric fp32 [m, m].
        damping: Above 0; eigen needs it only in `apply_inverse`.

    Raises:
        OptimizerError: A factor cannot be inverted, even in double precision.
    """
    if method == "inverse":
        return _invert_factored(input_factor, output_factor, damping)
    return _invert_eigen(input_factor, output_factor)


def apply_inverse(method: str, inverse: Inverse, gradient: Tensor, damping: float) -> Tensor:
    """The gradient times the inverse of the damped Fisher matrix, G^-1 dW A^-1.

    Args:
        method: That of `invert`.
        inverse: What `invert` returned.
        gradient: Of [W | b], fp32 [m, n + 1].
        damping: That of `invert`.

    Returns:
        A new tensor like `gradient`.
    """
    if method == "inverse":
        return inverse["output_inverse"] @ gradient @ inverse["input_inverse"]
    inputs, outputs = inverse["input_vectors"], inverse["output_vectors"]
    values = torch.outer(inverse["output_values"], inverse["input_values"])
    return outputs @ ((outputs.T @ gradient @ inputs) / (values + damping)) @ inputs.T


def _invert_eigen(inputs: Tensor, outputs: Tensor) -> Inverse:
    input_values, input_vectors = _attempt(torch.linalg.eigh, inputs)
    output_values, output_vectors = _attempt(torch.linalg.eigh, outputs)
    # Rounding can leave a value of 0 slightly below it.
    return {
        "input_values": input_values.clamp(min=0),
        "input_vectors": input_vectors,
        "output_values": output_values.clamp(min=0),
        "output_vectors": output_vectors,
    }


def _invert_factored(inputs: Tensor, outputs: Tensor, damping: float) -> Inverse:
    means = [float(factor.diagonal().mean()) for factor in (inputs, outputs)]
    # A layer without gradient has G = 0: nothing to balance.
    balance = math.sqrt(means[0] / means[1]) if min(means) > 0 else 1.0
    root = math.sqrt(damping)
    invert_inputs = partial(_damped_inverse, balance * root)
    invert_outputs = partial(_damped_inverse, root / balance)
    return {
        "input_inverse": _attempt(invert_inputs, inputs)[0],
        "output_inverse": _attempt(invert_outputs, outputs)[0],
    }


def _damped_inverse(damping: float, matrix: Tensor) -> tuple[Tensor]:
    damped = matrix.clone()
    damped.diagonal().add_(damping)
    return (torch.cholesky_inverse(torch.linalg.cholesky(damped)),)


def _attempt(operation: Callable[[Tensor], tuple[Tensor, ...]], matrix: Tensor) -> list[Tensor]:
    """Runs a decomposition in fp32, then in double precision, then that on the CPU."""
    failure = "the result is not finite"
    for tried in _ever_safer(matrix):
        try:
            results = [result.to(matrix) for result in operation(tried)]
        except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
            failure = str(error)
            continue
        if all(bool(result.isfinite().all()) for result in results):
            return [result.contiguous() for result in results]
    raise OptimizerError(
        f"A Kronecker factor of shape {list(matrix.shape)} with trace {float(matrix.trace()):.3g} "
        f"cannot be inverted ({failure}); expected a finite, positive semidefinite matrix. Go back "
        "to an earlier checkpoint, or raise `kfac.damping`."
    )


def _ever_safer(matrix: Tensor) -> Iterator[Tensor]:
    yield matrix
    yield matrix.double()
    if matrix.device.type != "cpu":
        yield matrix.double().cpu()
