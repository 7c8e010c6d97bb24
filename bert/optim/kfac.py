"""K-FAC: the gradient of the encoder's linear layers times an inverse Fisher matrix.

It stands in front of any optimizer and changes gradients in place. For a linear layer with inputs
a (a 1 at the end, for the bias) and gradients g of a token's loss by the layer's outputs, the
Fisher matrix of [W | b] is taken as A (x) G, where A is the mean of a a^T and G the mean of g g^T
over all tokens of the batch. The gradient becomes G^-1 dW A^-1, with damping.

Four choices:

- **Layers.** The six linear maps of each encoder layer. The decoder's factor would have a row for
  each token of the vocabulary; embeddings, pooler and heads go to the optimizer as they are.
- **Scale.** The backward pass gives the gradient of the batch's mean loss, which shrinks as the
  batch grows. Taken as a mean over the batch's T tokens, a token's own gradient is T times that,
  so G = T * sum(g g^T): the same for any micro-batch and number of ranks. Martens and Grosse
  define G so; systems that leave out the T have a G that vanishes beside the damping.
- **Labels.** g is that of the training labels (the empirical Fisher matrix), which costs nothing.
- **Running mean.** The k-th update weighs max(1 / k, 1 - factor_decay), so that the first batches
  count alike (Martens and Grosse, section 5).

Sources: Martens and Grosse, 2015; Pauloski et al., 2021 (KAISA: distribution over ranks).
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from bert.optim.config import KfacConfig
from bert.optim.kfac_inverses import Inverse, apply_inverse, invert
from bert.optim.kfac_ranks import Exchange
from bert.optim.kfac_shapes import inverse_shapes, inversion_cost
from bert.optim.kfac_state import check_state
from bert.optim.kfac_statistics import Collector
from bert.optim.moments import OptimizerError
from bert.ranks.ranks import Ranks


class Kfac:
    """Factors, inverses and when they are renewed; every rank makes the same calls.

    Attributes:
        layers: The linear layers that are preconditioned, by name in the model.
    """

    def __init__(self, model: nn.Module, config: KfacConfig, ranks: Ranks) -> None:
        """Takes no memory yet; collective, because it may make process groups.

        Args:
            model: Has its encoder at `bert.encoder`.
            config: Section `pretrain.<phase>.kfac`.
            ranks: This process among the others.
        """
        self._encoder = model.get_submodule("bert.encoder")
        self.layers = {
            f"bert.encoder.{name}": module
            for name, module in self._encoder.named_modules()
            if isinstance(module, nn.Linear)
        }
        self._config = config
        self._ranks = ranks
        costs = [inversion_cost(x.in_features, x.out_features) for x in self.layers.values()]
        self._exchange = Exchange(ranks, costs, config.distribution)
        self._collector: Collector | None = None
        self._updates = 0  # of the factors
        self._inverted = False
        self._factors: dict[str, dict[str, Tensor]] = {}
        self._inverses: dict[str, Inverse] = {}  # of the layers that this rank holds

    def collect(self, step: int, *, gradient_scale: float = 1.0) -> None:
        """Watches the micro-batches of a step if the factors are due, until it is preconditioned.

        Args:
            step: 1-based step.
            gradient_scale: Factor on the loss in the backward pass (fp16's loss scaling).
        """
        self.discard()
        if self._updates == 0 or (step - 1) % self._config.factor_every == 0:
            self._collector = Collector(self._encoder, self.layers, gradient_scale)

    def discard(self) -> None:
        """Forgets what was collected in a step that is skipped."""
        if self._collector is not None:
            self._collector.close()
        self._collector = None

    @torch.no_grad()
    def precondition(self, step: int, learning_rate: float) -> None:
        """Replaces the gradients of the layers by the preconditioned ones.

        Args:
            step: 1-based step.
            learning_rate: Of this step, for `kl_clip`.

        Raises:
            OptimizerError: Nothing was collected, the statistics are not finite, or a factor
                cannot be inverted.
        """
        if self._collector is not None:
            self._update_factors(self._collector)
            self.discard()
        if self._updates == 0:
            raise OptimizerError(
                f"K-FAC has no factors at step {step}; call collect before its micro-batches."
            )
        if not self._inverted or (step - 1) % self._config.inverse_every == 0:
            self._update_inverses()
        products = self._precondition_held()
        self._deliver(products)
        if self._config.kl_clip is not None:
            total = torch.stack([products[name] for name in self.layers]).sum()
            self._clip(total, learning_rate, self._config.kl_clip)

    def _update_factors(self, collector: Collector) -> None:
        tokens = collector.count_tokens(self._ranks)
        weight = max(1 / (self._updates + 1), 1 - self._config.factor_decay)
        for sums in collector.sums.values():
            self._exchange.sum(sums.values())
            # The sum over T is the mean; a token's own gradient is T times the backward pass's.
            sums["input_factor"].div_(tokens)
            sums["output_factor"].mul_(tokens)
        collector.check_finite()
        for name, means in collector.sums.items():
            factors = self._factors.setdefault(name, means)
            for key, mean in means.items():
                factors[key].lerp_(mean, weight)
        self._updates += 1

    def _update_inverses(self) -> None:
        method, damping = self._config.method, self._config.damping
        self._inverses = held = {}  # the old ones make room for the new
        for number, (name, layer) in enumerate(self.layers.items()):
            if self._exchange.owns(number):
                held[name] = invert(method, **self._factors[name], damping=damping)
            elif self._exchange.holds(number):
                held[name] = self._empty_inverse(layer)
        # Only now, so that no rank waits for another's work before it has done its own.
        for number, name in enumerate(self.layers):
            if name in held:
                self._exchange.share_inverse(number, held[name])
        self._inverted = True

    def _empty_inverse(self, layer: nn.Linear) -> Inverse:
        shapes = inverse_shapes(self._config.method, layer.in_features, layer.out_features)
        return {key: layer.weight.new_empty(shape) for key, shape in shapes.items()}

    def _precondition_held(self) -> dict[str, Tensor]:
        """Preconditions what this rank has the inverses for; returns sums of old times new."""
        products = {}
        for name, inverse in self._inverses.items():
            old = _gradient(self.layers[name])
            new = apply_inverse(self._config.method, inverse, old, self._config.damping)
            products[name] = (old * new).sum()
            _set_gradient(self.layers[name], new)
        return products

    def _deliver(self, products: dict[str, Tensor]) -> None:
        """Brings the other preconditioned gradients here, and adds their products."""
        if not self._exchange.delivers:
            return
        for number, (name, layer) in enumerate(self.layers.items()):
            old = _gradient(layer)
            new = old.clone()
            self._exchange.deliver(number, new)
            if name not in self._inverses:
                products[name] = (old * new).sum()
                _set_gradient(layer, new)

    def _clip(self, product: Tensor, learning_rate: float, bound: float) -> None:
        """Scales the step down where lr^2 * g' F^-1 g, twice its KL divergence, exceeds `bound`."""
        scale = torch.sqrt(bound / (product.abs() * learning_rate**2)).clamp(max=1.0)
        gradients = [_grad(p) for x in self.layers.values() for p in (x.weight, x.bias)]
        torch._foreach_mul_(gradients, scale)

    @torch.no_grad()
    def tensors(self) -> dict[str, Tensor]:
        """The state by `<key>:<layer>` on rank 0, nothing on the others; every rank calls it.

        The inverses are part of it: between two renewals they belong to older factors.

        Returns:
            fp32 matrices that the next step changes in place (copy them before), on the layers'
            device or the CPU, and `updates`, the int64 count of updates of the factors.
        """
        found = {"updates": torch.tensor(self._updates)}
        for number, (name, layer) in enumerate(self.layers.items()):
            state = self._factors.get(name, {}) | self._fetch_inverse(number, name, layer)
            found |= {f"{key}:{name}": tensor for key, tensor in state.items()}
        return found if self._ranks.rank == 0 else {}

    def _fetch_inverse(self, number: int, name: str, layer: nn.Linear) -> Inverse:
        if not self._inverted:
            return {}
        if self._ranks.rank == 0 and name not in self._inverses:
            received = self._empty_inverse(layer)
            self._exchange.send_to_first(number, received)
            return {key: tensor.cpu() for key, tensor in received.items()}
        inverse = self._inverses.get(name, {})
        self._exchange.send_to_first(number, inverse)
        return inverse

    def load(self, tensors: dict[str, Tensor], folder: Path) -> None:
        """Goes on from the state that `tensors` gave; any ranks and distribution may follow.

        Args:
            tensors: All of it, the same on every rank.
            folder: Where it came from, for the message.

        Raises:
            OptimizerError: It belongs to another model or method.
        """
        check_state(tensors, self.layers, self._config.method, folder)
        self.discard()
        self._updates = int(tensors["updates"])
        self._inverted = self._updates > 0
        self._factors, self._inverses = {}, {}
        numbers = {name: number for number, name in enumerate(self.layers)}
        for full_name in sorted(tensors.keys() - {"updates"}):
            key, _, name = full_name.partition(":")
            is_factor = key.endswith("_factor")
            if is_factor or self._exchange.holds(numbers[name]):
                place = self._factors if is_factor else self._inverses
                moved = tensors[full_name].to(self.layers[name].weight.device, copy=True)
                place.setdefault(name, {})[key] = moved


def _gradient(layer: nn.Linear) -> Tensor:
    """The gradient of [W | b], a new tensor [m, n + 1]."""
    return torch.cat([_grad(layer.weight), _grad(layer.bias)[:, None]], dim=1)


def _set_gradient(layer: nn.Linear, gradient: Tensor) -> None:
    """Writes into the gradients that are there, which may be views of a bucket."""
    _grad(layer.weight).copy_(gradient[:, :-1])
    _grad(layer.bias).copy_(gradient[:, -1])


def _grad(parameter: Tensor) -> Tensor:
    if parameter.grad is None:
        raise OptimizerError(
            f"A parameter of shape {tuple(parameter.shape)} has no gradient; expected the sum over "
            "all ranks. Call precondition after the gradients are reduced."
        )
    return parameter.grad
