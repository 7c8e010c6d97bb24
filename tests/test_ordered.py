import os
import signal
from collections.abc import Iterator

import pytest

from bert.text import ordered
from bert.text.ordered import map_in_order


def square(number: int) -> int:
    return number * number


def fail_at_five(number: int) -> int:
    if number == 5:
        raise ValueError("five is too much")
    return number


def die(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def heavy(_: int) -> int:
    return 1 << 20


@pytest.mark.parametrize(("workers", "weight"), [(1, 1), (2, 1), (2, 1 << 20), (5, 300_000)])
def test_results_come_in_the_order_of_the_items(workers, weight):
    results = map_in_order(square, range(20), weight=lambda _: weight, workers=workers)
    assert list(results) == [n * n for n in range(20)]


@pytest.mark.parametrize("workers", [1, 2])
def test_no_items_give_no_results(workers):
    assert list(map_in_order(square, [], weight=heavy, workers=workers)) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_items_are_read_only_a_few_batches_ahead(workers):
    read = 0

    def items() -> Iterator[int]:
        nonlocal read
        for number in range(1000):
            read += 1
            yield number

    results = map_in_order(square, items(), weight=heavy, workers=workers)
    for number in range(30):
        assert next(results) == number * number
        assert read <= number + 1 + 3 * workers
    results.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_an_exception_comes_out_at_its_items_turn(workers):
    results = map_in_order(fail_at_five, range(9), weight=heavy, workers=workers)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="five is too much"):
        next(results)


def test_a_killed_worker_is_reported():
    with pytest.raises(ChildProcessError, match=r"One of 2 worker processes was killed.*--workers"):
        list(map_in_order(die, [1], weight=heavy, workers=2))


@pytest.mark.parametrize("workers", [0, -1])
def test_less_than_one_worker_is_refused(workers):
    with pytest.raises(ValueError, match=f"workers is {workers}; it must be 1 or more"):
        list(map_in_order(square, [1], weight=heavy, workers=workers))


def test_batches_hold_about_a_mebibyte():
    batches = ordered._batches(range(10), lambda _: 400_000)
    assert [len(batch) for batch in batches] == [3, 3, 3, 1]
