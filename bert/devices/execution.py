"""How the model is executed: eager, compiled, traced, or collected and run at the end of a step.

The stream of tokens is ragged, so that shapes differ from one micro-batch to the next. Only the
parts that treat each token alone are compiled or traced, for any number of tokens; attention, which
knows where sequences begin and end, always runs eagerly. Modules stay where they are: the names of
the parameters, and the parameters themselves, do not change.
"""

import importlib
import shutil
from typing import Any

import torch
from torch import nn

from bert.devices.config import ComputeConfig
from bert.devices.precision import autocast
from bert.model.bert import (
    BertEmbeddings,
    BertIntermediate,
    BertResidual,
    BertSelfAttention,
    set_activation_checkpointing,
)
from bert.model.heads import MaskedTokenTransform
from bert.model.native import attach_kernels


def prepare_model(model: nn.Module, config: ComputeConfig, device: torch.device) -> None:
    """Makes the model run as configured, in place: parameters, their names and its type stay.

    Call it once, with the model on its device. Weights may be loaded before or after. Hooks on
    modules, such as K-FAC's, do not fire inside compiled or traced blocks.

    Args:
        model: Any model of `bert.model.heads`.
        config: Execution and activation checkpointing.
        device: As `choose_device` gave it.

    Raises:
        ValueError: What was asked for is not installed here.
    """
    set_activation_checkpointing(model, config.activation_checkpointing)
    if config.execution == "eager":
        attach_kernels(model)
    if config.execution == "graph":
        _compile(model, device)
    if config.execution == "trace":
        _trace(model, config, device)


def end_step(config: ComputeConfig, device: torch.device) -> None:
    """Runs what a lazy device has collected; nothing on others.

    Call it after each backward pass, or the device collects all micro-batches first, and after the
    update. It waits for nothing.
    """
    if config.execution != "lazy":
        return
    module = "torch._lazy" if device.type == "lazy" else "habana_frameworks.torch.core"
    importlib.import_module(module).mark_step()


def _compile(model: nn.Module, device: torch.device) -> None:
    if device.type == "cpu" and not any(shutil.which(name) for name in ("g++", "clang++", "c++")):
        raise ValueError(
            "runtime.execution is graph, which on a CPU needs a C++ compiler, and there is no g++, "
            "clang++ or c++ on the PATH; install one (Debian: apt-get install g++), or write eager."
        )
    for module in model.modules():
        if isinstance(
            module, BertEmbeddings | BertResidual | BertIntermediate | MaskedTokenTransform
        ):
            module.compile(dynamic=True)
        if isinstance(module, BertSelfAttention):
            # Autocast then rounds the input once, not three times.
            module.__dict__["project"] = torch.compile(module.project, dynamic=True)


def _trace(model: nn.Module, config: ComputeConfig, device: torch.device) -> None:
    """Traces the blocks without dropout: a trace would freeze whether and how much is dropped."""
    jit: Any = torch.jit
    for module in model.modules():
        if isinstance(module, BertIntermediate | MaskedTokenTransform):
            example = torch.zeros(2, module.dense.in_features, device=device, requires_grad=True)
            with autocast(config, device):
                traced = jit.trace(module, example, check_trace=False)
            # Past torch's registration of submodules, which would list the parameters twice.
            module.__dict__["forward"] = traced
