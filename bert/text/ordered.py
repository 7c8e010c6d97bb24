"""Runs a function over a stream of items in several processes, results in the order of the items.

At most a few batches an own process are read ahead, so memory does not grow with the stream; the
results do not depend on the number of processes or on the size of the batches.
"""

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain
from typing import TypeVar

from bert.leash import follow_parent

Item = TypeVar("Item")
Result = TypeVar("Result")

_BATCH_WEIGHT = 1 << 20
ONE_BATCH_EACH = 1 << 30  # weight of items that are work enough by themselves
_BATCHES_AHEAD = 3


def map_in_order(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    weight: Callable[[Item], int],
    workers: int,
) -> Iterator[Result]:
    """Yields `function(item)` for each item, in order.

    Args:
        function: Picklable; an exception it raises is raised here, at its item's turn.
        items: Picklable items, read no further ahead than needed.
        weight: Approximate size of an item in bytes; a batch holds about 1 MiB.
        workers: Processes; 1 runs in this process.

    Raises:
        ValueError: `workers` is below 1.
        ChildProcessError: A process was killed, most likely by lack of memory.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}; it must be 1 or more. Set --workers.")
    if workers == 1:
        yield from map(function, items)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=follow_parent)
    try:
        yield from chain.from_iterable(_results(pool, function, _batches(items, weight), workers))
    except BrokenProcessPool:
        raise ChildProcessError(
            f"One of {workers} worker processes was killed, most likely for lack of memory. "
            "Run again with fewer --workers."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _results(
    pool: ProcessPoolExecutor,
    function: Callable[[Item], Result],
    batches: Iterable[list[Item]],
    workers: int,
) -> Iterator[list[Result]]:
    pending: deque[Future[list[Result]]] = deque()
    for batch in batches:
        pending.append(pool.submit(_run, function, batch))
        if len(pending) >= _BATCHES_AHEAD * workers:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def _batches(items: Iterable[Item], weight: Callable[[Item], int]) -> Iterator[list[Item]]:
    batch: list[Item] = []
    size = 0
    for item in items:
        batch.append(item)
        size += weight(item)
        if size >= _BATCH_WEIGHT:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _run(function: Callable[[Item], Result], batch: list[Item]) -> list[Result]:
    return [function(item) for item in batch]
