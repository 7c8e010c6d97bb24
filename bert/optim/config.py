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
    variant: Literal["nvidia", "habana", "intel", "mlperf"] = knob(
        "nvidia (also apex): bias correction, trust ratio where weight decay is not 0; habana: "
        "another name for the same; intel: the same without bias correction; mlperf: bias "
        "correction, trust ratio for every weight matrix."
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
        "eigen (published): the Fisher matrix is inverted by its eigenvectors and the damping is "
        "added to its eigenvalues; inverse: each factor is inverted with its share of the damping."
    )
    factor_every: int = knob("Steps between updates of the factors; gpauloski 1.", ge=1)
    inverse_every: int = knob("Steps between new inverses; gpauloski 10.", ge=1)
    factor_decay: float = knob(
        "Decay of the factors' running mean an update, less in the first updates, which count "
        "alike; gpauloski 0.95.",
        ge=0,
        lt=1,
    )
    damping: float = knob(
        "Added to the eigenvalues of the Fisher matrix; gpauloski 0.003, on a smaller Fisher "
        "matrix: see `bert.optim.kfac` on its scale.",
        gt=0,
    )
    kl_clip: float | None = knob(
        "Most that learning rate^2 * gradient * preconditioned gradient may be over all layers, "
        "twice the KL divergence of the step; null = no bound; gpauloski 0.001.",
        gt=0,
    )
    distribution: Literal["comm_opt", "hybrid_opt", "mem_opt"] = knob(
        "Ranks that keep a layer's inverses: all (comm_opt, least traffic), half (hybrid_opt), one "
        "(mem_opt, least memory). Pauloski et al., 2021."
    )


OptimizerConfig = Annotated[LambConfig | AdamWConfig, Field(discriminator="name")]


_TAKES_DEGREE = {"polynomial"}
_TAKES_END = {"polynomial", "linear", "cosine"}


class ScheduleConfig(Section):
    """How the learning rate moves up to its peak and down again; see `bert.optim.schedule`."""

    name: Literal["polynomial", "linear", "cosine", "constant"] = knob(
        "Shape after the warm-up: polynomial (NVIDIA, Habana, gpauloski; with degree 1 Google, "
        "MLPerf, Intel), linear (NVIDIA's fine-tuning, RoBERTa, Cerebras), cosine, constant."
    )
    warmup_proportion: float | None = knob(
        "Share of the schedule over which the rate rises linearly, null where `warmup_steps` says "
        "it; published 0.2843 in phase 1, 0.128 in phase 2.",
        ge=0,
        lt=1,
    )
    warmup_steps: int | None = knob(
        "Steps over which the rate rises linearly, null where `warmup_proportion` says it; Google "
        "10000.",
        ge=0,
    )
    warmup_start: int = knob(
        "Step at which the warm-up begins; below 0 it has begun before the first step, which then "
        "has a higher rate (MLPerf on 128 TPU cores: -76).",
        le=0,
    )
    degree: float | None = knob(
        "Exponent of the polynomial, null for the other shapes; published 0.5, Google 1.", gt=0
    )
    end_factor: float | None = knob(
        "Share of the peak rate at which the schedule ends, null for constant; published 0, "
        "MosaicBERT 0.02.",
        ge=0,
        le=1,
    )
    steps_before: int = knob(
        "Steps of the schedule that earlier phases took; 0 unless one schedule goes on over "
        "several phases (phase 2 of Google's: 900000).",
        ge=0,
    )
    total_steps: int | None = knob(
        "Steps of the whole schedule, earlier and later phases included; null = it ends with this "
        "phase.",
        ge=1,
    )

    @model_validator(mode="after")
    def _one_warmup(self) -> Self:
        if (self.warmup_proportion is None) == (self.warmup_steps is None):
            raise ValueError(
                f"warmup_proportion is {self.warmup_proportion} and warmup_steps "
                f"{self.warmup_steps}; write a number for one of them and null for the other."
            )
        return self

    @model_validator(mode="after")
    def _keys_belong_to_the_shape(self) -> Self:
        for key, shapes in (("degree", _TAKES_DEGREE), ("end_factor", _TAKES_END)):
            value = getattr(self, key)
            if (self.name in shapes) != (value is not None):
                expected = "a number" if self.name in shapes else "null"
                raise ValueError(f"{key} is {value} with name {self.name}; write {expected}.")
        return self

    @model_validator(mode="after")
    def _earlier_steps_are_part_of_the_whole(self) -> Self:
        if self.total_steps is not None and self.steps_before >= self.total_steps:
            raise ValueError(
                f"steps_before is {self.steps_before} of total_steps {self.total_steps}; nothing "
                "is left for this phase. total_steps counts the earlier phases, too."
            )
        return self
