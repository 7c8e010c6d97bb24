"""Second moments of what goes into linear layers and of the gradients that come back.

A collector watches one step, over all its micro-batches. It adds up a a^T over the tokens (a has
a 1 at its end, for the bias) and g g^T over the gradients of the loss by the layers' outputs.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bert.optim.kfac_shapes import factor_shapes
from bert.optim.moments import OptimizerError
from bert.ranks.ranks import Ranks


class Collector:
    """Sums of one step on this rank; the hooks stand from here to `close`.

    Activation checkpointing runs a layer's forward pass a second time, inside the backward pass:
    inputs count only while the encoder itself runs forward. A tensor's gradient comes once in
    either case.

    Attributes:
        sums: fp32 matrices by layer name, under the names of `kfac_shapes.factor_shapes`.
        rows: Tokens seen by layer name, under the same names.
    """

    def __init__(
        self, encoder: nn.Module, layers: Mapping[str, nn.Linear], gradient_scale: float
    ) -> None:
        """Starts watching.

        Args:
            encoder: Runs the layers, each once a micro-batch.
            layers: Linear maps of [T, n] to [T, m], by name.
            gradient_scale: Factor on the loss that is divided out of the gradients.
        """
        self._gradient_scale = gradient_scale
        self._device = next(encoder.parameters()).device
        self._forward = False
        self.sums = {
            name: {
                key: layer.weight.new_zeros(shape, dtype=torch.float32)
                for key, shape in factor_shapes(layer.in_features, layer.out_features).items()
            }
            for name, layer in layers.items()
        }
        self.rows = {name: dict.fromkeys(sums, 0) for name, sums in self.sums.items()}
        self._hooks = [
            encoder.register_forward_pre_hook(partial(self._set_forward, True)),
            encoder.register_forward_hook(partial(self._set_forward, False), always_call=True),
        ]
        self._hooks += [
            layer.register_forward_hook(partial(self._after_forward, name))
            for name, layer in layers.items()
        ]

    def close(self) -> None:
        """Stops watching; the sums stay."""
        for hook in self._hooks:
            hook.remove()

    def count_tokens(self, ranks: Ranks) -> float:
        """Tokens of the batch over all ranks.

        Raises:
            OptimizerError: They are none, or differ between layers or their two sides.
        """
        rows = {
            (name, key): float(count)
            for name, counts in self.rows.items()
            for key, count in counts.items()
        }
        counts = ranks.sum(list(rows.values()), self._device)
        fewest, most = min(counts), max(counts)
        if fewest != most or most == 0:
            name, key = list(rows)[counts.index(fewest)]
            raise OptimizerError(
                f"K-FAC saw {fewest:.0f} to {most:.0f} tokens, fewest for the {key} of {name}; "
                "expected the same number everywhere, above 0. Each micro-batch needs one forward "
                "and one backward pass through the encoder's own modules: use execution eager."
            )
        return most

    def check_finite(self) -> None:
        """Refuses sums that are not finite, with one wait for the device.

        Raises:
            OptimizerError: Names the first layer.
        """
        traces = [matrix.trace() for sums in self.sums.values() for matrix in sums.values()]
        finite = torch.stack(traces).isfinite().tolist()
        if not all(finite):
            name = list(self.sums)[finite.index(False) // 2]
            raise OptimizerError(
                f"The K-FAC statistics of {name} are not finite although the gradients are; "
                "expected finite inputs and output gradients. Lower the learning rate."
            )

    def _set_forward(self, value: bool, *_: Any) -> None:
        self._forward = value

    def _after_forward(
        self, name: str, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor
    ) -> None:
        if self._forward:
            self._add(name, "input_factor", inputs[0].detach(), 1.0)
        if output.requires_grad:
            output.register_hook(partial(self._after_backward, name))  # type: ignore[no-untyped-call]

    def _after_backward(self, name: str, gradient: Tensor) -> None:
        self._add(name, "output_factor", gradient.detach(), self._gradient_scale)

    @torch.no_grad()
    def _add(self, name: str, key: str, rows: Tensor, scale: float) -> None:
        with torch.autocast(rows.device.type, enabled=False):
            rows = rows.flatten(0, -2).float()
            if scale != 1.0:
                rows = rows / scale
            if key == "input_factor":
                rows = torch.cat([rows, rows.new_ones(len(rows), 1)], dim=1)
            self.sums[name][key].addmm_(rows.T, rows)
            self.rows[name][key] += len(rows)
