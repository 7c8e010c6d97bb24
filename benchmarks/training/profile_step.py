"""Where the time of a training step goes, on any device: this project's own step under a profiler.

    python benchmarks/training/profile_step.py --case large-128 --variant native-lamb
    python benchmarks/training/profile_step.py --case large-512 --trace step.json
    python benchmarks/training/profile_step.py --case large24-128-cuda --device cuda

Cases and variants are those of `run.py`; `--micro-batches` cuts a step, `--hidden` and `--layers`
make it small. On a CPU a row is time of the thread that trains, kernels of this project counted
where they are called; on a GPU it is time of the device, "idle" is when nothing ran on it, and the
host's time and its waits stand below. The profiler itself takes some microseconds an operation:
shares of many short operations are a little too large. `--trace` writes what chrome://tracing and
ui.perfetto.dev show.
"""

import argparse
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from cases import Case, choose_cases, shrink
from instances import VOCABULARY, made_info, made_instances, write_case
from own import make_setup
from torch.autograd import DeviceType
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile, record_function
from variants import CUDA_OWN, OWN

import bert.train.step as step_module
from bert.data.batches import StepBatch, read_steps
from bert.devices.device import training_flops
from bert.train.setup import Setup, build

# Parts of a step that are no operation of torch: function of `bert.train.step`, row of the table.
_PARTS = {
    "_count": "counts, checksum",
    "to_device": "to the device",
    "global_norm": "norm of the gradient",
}
# First match counts. What is left are element-wise operations.
_KINDS = (
    ("attention", ("flash", "efficient_attention", "scaled_dot", "bmm", "softmax_backward",
                   "aten::_softmax")),
    ("loss", ("nll_loss", "log_softmax", "cross_entropy")),
    ("matrix products", ("mm", "linear", "matmul")),
    ("embeddings, gathers", ("embedding", "index")),
    ("casts, copies, allocation", ("copy", "aten::to", "cat", "empty", "zeros", "fill_", "clone",
                                   "contiguous", "zero_")),
    ("layer norm", ("layer_norm",)),
    ("dropout", ("dropout", "bernoulli", "random_")),
)  # fmt: skip
_WAITS = ("aten::_local_scalar_dense", "cudaStreamSynchronize", "cudaDeviceSynchronize",
          "cudaEventSynchronize", "Memcpy DtoH")  # fmt: skip


def main() -> None:
    """Takes some steps and prints the table."""
    args = parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as name:
        setup, batches = make_steps(args, Path(name))
        learner = build(setup)
        label_parts()

        def take(batch: StepBatch) -> None:
            with record_function("step"):
                result = step_module.train_step(setup, learner, batch, 1e-4)
            if result.skipped:
                raise RuntimeError(f"step {batch.step} was skipped: {result}")

        for batch in batches[: args.warm_up]:
            take(batch)
        measured = batches[args.warm_up :]
        plain = seconds(take, measured, setup.device)
        activities = [ProfilerActivity.CPU]
        if setup.device.type == "cuda":
            activities.append(ProfilerActivity.CUDA)
        with profile(activities=activities, acc_events=True) as profiler:
            profiled = seconds(take, measured, setup.device)
    if args.trace:
        profiler.export_chrome_trace(str(args.trace))
    report(setup, list(profiler.events() or []), measured, plain, profiled)


def make_steps(args: argparse.Namespace, folder: Path) -> tuple[Setup, list[StepBatch]]:
    """The setup of the case and its batches, from a shard that is made here."""
    (found,) = choose_cases([args.case], full=True, cuda=True)
    case = shrink(found, args.hidden, args.layers)
    variant = {one.name: one for one in [*CUDA_OWN, *OWN]}[args.variant]
    lengths = case.lengths or (case.length,) * case.sequences
    steps = args.warm_up + args.steps
    instances = made_instances(lengths * steps, seed=1)
    write_case(folder / "shards", instances, made_info(case.length), case.predictions)
    setup = make_setup(
        case._asdict() | variant._asdict() | {
            "folder": str(folder / "shards"), "vocab_size": VOCABULARY, "device": args.device,
            "precision": args.precision, "positions": micro_batch_tokens(case, args.micro_batches),
        }
    )  # fmt: skip
    return setup, list(read_steps(setup.train, range(1, steps + 1), setup.reading()))


def micro_batch_tokens(case: Case, micro_batches: int) -> int:
    """So many tokens that a step is cut into about `micro_batches`."""
    return max(case.length, -(-case.positions // micro_batches))


def label_parts() -> None:
    """Makes the profiler see the parts of a step that are no operation of torch."""

    def labelled(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            with record_function(name):
                return function(*arguments)

        return call

    for name, row in _PARTS.items():
        setattr(step_module, name, labelled(row, getattr(step_module, name)))


def seconds(take: Callable[[StepBatch], None], batches: list[StepBatch], device: Any) -> float:
    """Seconds for these steps, until the device has ended."""
    start = time.perf_counter()
    for batch in batches:
        take(batch)
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter() - start


def report(
    setup: Setup, events: list[FunctionEvent], batches: list[StepBatch], plain: float,
    profiled: float,
) -> None:  # fmt: skip
    """Prints milliseconds a step and shares by row, the longest operations, and the waits."""
    on_device, count = setup.device.type != "cpu", len(batches)
    rows: dict[str, float] = defaultdict(float)
    names: dict[str, float] = defaultdict(float)
    for event in (event for event in events if event.device_type == DeviceType.CPU):
        took = event.self_device_time_total if on_device else event.self_cpu_time_total
        rows[row_of(event)] += took / count / 1e3
        names[event.name] += took / count / 1e3
    step_ms = 1e3 * profiled / count
    rows["idle" if on_device else "outside operations"] = step_ms - sum(rows.values())
    print(f"{step_ms:.1f} ms a step under the profiler, {1e3 * plain / count:.1f} ms without")
    print(f"{flops(setup, batches) / plain / 1e12:.2f} useful TFLOP/s without the profiler\n")
    for row, took in sorted(rows.items(), key=lambda item: -item[1]):
        if took > 5e-4 * step_ms:
            print(f"{row:32}{took:10.2f} ms {took / step_ms:7.1%}")
    print("\nlongest operations")
    for name, took in sorted(names.items(), key=lambda item: -item[1])[:12]:
        print(f"{name[:52]:54}{took:8.2f} ms {took / step_ms:7.1%}")
    if on_device:
        host = sum(e.self_cpu_time_total for e in events if e.device_type == DeviceType.CPU)
        launches = sum(e.name.startswith("cudaLaunchKernel") for e in events)
        print(f"\nhost {host / count / 1e3:.1f} ms and {launches / count:.0f} launches a step")
    waits = Counter(wait for event in events for wait in _WAITS if event.name.startswith(wait))
    print("\nreads and waits a step:", {name: n / count for name, n in waits.items()} or "none")


def row_of(event: FunctionEvent) -> str:
    """The row of the table that an operation belongs to."""
    above = event
    while above is not None:
        if above.name.startswith("Optimizer.step"):
            return "optimizer"
        if above.name in _PARTS.values():
            return above.name
        above = above.cpu_parent
    if event.name == "step":
        return "step in Python"
    engine = ("Backward0", "Backward1", "AccumulateGrad")
    if event.name.startswith("autograd::") or event.name.endswith(engine):
        return "autograd in between"
    if not event.name.startswith("aten::"):
        return event.name[:31]  # a function of this project, with the kernels it calls
    kinds = (kind for kind, marks in _KINDS if any(mark in event.name for mark in marks))
    return next(kinds, "other element-wise")


def flops(setup: Setup, batches: list[StepBatch]) -> float:
    """Useful FLOPs of all steps."""
    return sum(
        training_flops(
            setup.model, setup.train.info.vocab_size,
            tuple((micro.cu_seqlens[1:] - micro.cu_seqlens[:-1]).tolist()),
            len(micro.masked_lm_ids),
        )
        for batch in batches
        for micro in batch.micro_batches
    )  # fmt: skip


def parse_args() -> argparse.Namespace:
    """What to profile, and how long."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", default="large-128")
    parser.add_argument("--variant", default="native-lamb", help="one of this project's")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--micro-batches", type=int, default=1, help="of a step, about")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--threads", type=int, help="default: all cores")
    parser.add_argument("--hidden", type=int)
    parser.add_argument("--layers", type=int)
    parser.add_argument("--trace", type=Path, help="file for chrome://tracing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
