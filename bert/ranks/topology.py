"""The cores of this machine that this process may use, and how ranks share them.

Free of torch, so that the launcher can count NUMA nodes before anything else is loaded.
Source of the file formats: the Linux kernel's Documentation/ABI/stable/sysfs-devices-system-cpu
and sysfs-devices-node.
"""

import itertools
import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

_SYSTEM = Path("/sys/devices/system")
# Ranks get whole NUMA nodes if no share is smaller than this part of an equal one: all ranks wait
# for the slowest.
_FAIR = 0.9

T = TypeVar("T")


class Core(NamedTuple):
    """A physical core; fields are in the order in which cores are shared out."""

    socket: int
    node: int  # NUMA node
    cpus: tuple[int, ...]  # its hardware threads that may be used, as Linux numbers them


def allowed_cpus() -> set[int] | None:
    """CPUs that this process may run on, by its mask and its cgroup; None where no system tells."""
    if not hasattr(os, "sched_getaffinity"):
        return None  # macOS
    return os.sched_getaffinity(0)


def read_cores(allowed: Collection[int], system: Path = _SYSTEM) -> list[Core]:
    """Physical cores with at least one allowed CPU, sorted by socket, NUMA node and number.

    A kernel without NUMA has one node; a CPU of which the system tells nothing is a core alone.

    Args:
        allowed: CPUs that may be used.
        system: The folder that describes the machine.
    """
    nodes = _nodes(system)
    found = set()
    for cpu in allowed:
        topology = system / "cpu" / f"cpu{cpu}" / "topology"
        siblings = _siblings(topology) & set(allowed) or {cpu}
        socket = _number(topology / "physical_package_id")
        found.add(Core(socket, nodes.get(cpu, 0), tuple(sorted(siblings))))
    return sorted(found)


def count_nodes(cores: Sequence[Core]) -> int:
    """NUMA nodes that have some of these cores, at least 1."""
    return max(1, len({core.node for core in cores}))


def divide(cores: Sequence[Core], ranks: int) -> list[list[Core]]:
    """A share of the cores for each rank, in order; nothing in a share if cores are too few.

    Whole NUMA nodes, or equal parts of one, where that is fair; else consecutive cores, as many for
    each rank.
    """
    even = _cut(cores, ranks)
    nodes = [list(group) for _, group in itertools.groupby(cores, lambda core: core[:2])]
    if len(nodes) % ranks == 0:
        local = [list(itertools.chain(*group)) for group in _cut(nodes, ranks)]
    elif ranks % len(nodes) == 0:
        local = [part for node in nodes for part in _cut(node, ranks // len(nodes))]
    else:
        return even
    return local if min(map(len, local)) >= _FAIR * len(cores) / ranks else even


def words(cores: Sequence[Core]) -> str:
    """Cores as a person reads them: `CPUs 0-27,56-83 (NUMA node 0)`."""
    nodes = sorted({core.node for core in cores})
    name = "NUMA node" if len(nodes) == 1 else "NUMA nodes"
    cpus = format_list(cpu for core in cores for cpu in core.cpus)
    return f"CPUs {cpus} ({name} {format_list(nodes)})"


def parse_list(text: str) -> set[int]:
    """Numbers of the kernel's list format, such as `0-2,5`."""
    found: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


def format_list(numbers: Iterable[int]) -> str:
    """The kernel's list format of these numbers."""
    # Neighbours have the same distance to their places in the order.
    runs = itertools.groupby(enumerate(sorted(numbers)), lambda item: item[1] - item[0])
    parts = [[number for _, number in run] for _, run in runs]
    return ",".join(f"{p[0]}-{p[-1]}" if len(p) > 1 else f"{p[0]}" for p in parts)


def _cut(items: Sequence[T], parts: int) -> list[list[T]]:
    """Consecutive parts whose sizes differ by one at most."""
    borders = [number * len(items) // parts for number in range(parts + 1)]
    return [list(items[first:last]) for first, last in itertools.pairwise(borders)]


def _nodes(system: Path) -> dict[int, int]:
    """NUMA node of each CPU; a node without CPUs has only memory."""
    found = {}
    for folder in (system / "node").glob("node[0-9]*"):
        for cpu in parse_list((folder / "cpulist").read_text("ascii")):
            found[cpu] = int(folder.name.removeprefix("node"))
    return found


def _siblings(topology: Path) -> set[int]:
    """Hardware threads of a core; the second name is that of kernels before 5.3."""
    for name in ("core_cpus_list", "thread_siblings_list"):
        if (topology / name).is_file():
            return parse_list((topology / name).read_text("ascii"))
    return set()


def _number(file: Path) -> int:
    """The number in a file; 0 without a file, or where the system knows none (-1)."""
    return max(0, int(file.read_text("ascii"))) if file.is_file() else 0
