"""Sections of the optimizer and of its schedule. Free of torch, so the workflow can check them."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from bert.config import Section, knob

_BETA1 = "Decay of the first moment a step; published 0.9."
_BETA2 = "Decay of the second moment a step; published 0.999."
_EPS = "Added to the root of the second moment; published 1e-6."
_DECAY = "Decay of weight matrices; biases and LayerNorm have none; published 0.01."
_MAX_NORM = (
    "Global norm of the gradient above which it is scaled down to this norm, null for never; "
    "published 1.0 (Intel's LAMB: null)."
)


class LambConfig(Section):
    """LAMB (You et al., 2020) as the systems that trained published BERTs compute it."""

    name: Literal["lamb"] = knob("Optimizer, `lamb` here.")
    variant: Literal["nvidia", "intel", "mlperf"] = knob(
        "nvidia (also Habana): bias correction, trust ratio where weight decay is not 0; intel: "
        "the same without bias correction; mlperf: bias correction, trust ratio for every weight "
        "matrix."
    )
    beta1: float = knob(_BETA1, ge=0, lt=1)
    beta2: float = knob(_BETA2, ge=0, lt=1)
    eps: float = knob(_EPS, gt=0)
    weight_decay: float = knob(_DECAY, ge=0)
    max_grad_norm: float | None = knob(_MAX_NORM, gt=0)


class AdamWConfig(Section):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019)."""

    name: Literal["adamw"] = knob("Optimizer, `adamw` here.")
    beta1: float = knob(_BETA1, ge=0, lt=1)
    beta2: float = knob(_BETA2, ge=0, lt=1)
    eps: float = knob(_EPS, gt=0)
    weight_decay: float = knob(_DECAY, ge=0)
    bias_correction: bool = knob(
        "Whether young moments are scaled up; false in the original BERT and in fine-tuning "
        "recipes, true in torch."
    )
    max_grad_norm: float | None = knob(_MAX_NORM, gt=0)


class KfacConfig(Section):
    """K-FAC (Martens and Grosse, 2015) in front of an optimizer; see `bert.optim.kfac`."""

    method: Literal["eigen", "inverse"] = knob(
        "How damped factors are inverted: eigen (eigendecomposition; published) or inverse."
    )
    factor_every: int = knob("Steps between updates of the factors; gpauloski 1.", ge=1)
    inverse_every: int = knob("Steps between new inverses; gpauloski 10.", ge=1)
    factor_decay: float = knob("Decay of the factors' running mean; gpauloski 0.95.", ge=0, lt=1)
    damping: float = knob("Added to the factors' eigenvalues; gpauloski 0.003.", gt=0)
    kl_clip: float | None = knob(
        "Bound of the update's size in the metric of the Fisher matrix, null for none; gpauloski "
        "0.001.",
        gt=0,
    )
    distribution: Literal["comm_opt", "hybrid_opt", "mem_opt"] = knob(
        "Ranks that keep a layer's inverses: all (comm_opt, least traffic), half (hybrid_opt), one "
        "(mem_opt, least memory). Pauloski et al., 2021."
    )


OptimizerConfig = Annotated[LambConfig | AdamWConfig, Field(discriminator="name")]


class ScheduleConfig(Section):
    """How the learning rate moves between 0 and its peak; see `bert.optim.schedule`."""

    name: Literal["polynomial", "linear", "constant"] = knob(
        "Shape after the warm-up: polynomial (published), linear, constant."
    )
    warmup_proportion: float = knob(
        "Share of all steps over which the rate rises linearly; published 0.2843 in phase 1, "
        "0.128 in phase 2.",
        ge=0,
        lt=1,
    )
    degree: float | None = knob(
        "Exponent of the polynomial, null for the other shapes; published 0.5.", gt=0
    )

    @model_validator(mode="after")
    def _degree_belongs_to_polynomial(self) -> Self:
        if (self.name == "polynomial") != (self.degree is not None):
            expected = "a number" if self.name == "polynomial" else "null"
            raise ValueError(f"degree is {self.degree} with name {self.name}; write {expected}.")
        return self
