"""Steps made ahead by a thread, so that the model never waits for the next one."""

import threading
from collections import deque
from collections.abc import Iterator
from typing import TypeVar

Item = TypeVar("Item")


def prefetch(items: Iterator[Item], depth: int = 2) -> Iterator[Item]:
    """Yields `items` in order; an exception while making one is raised here.

    Args:
        items: What to make; touched by the thread only.
        depth: Items beside the one that was yielded last, ready and in the making together, so
            that memory is that of `depth` + 1 items.
    """
    ready: deque[Item] = deque()
    state: dict[str, BaseException | None] = {}  # "end": how the items ended
    stopped = False
    changed = threading.Condition()

    def work() -> None:
        try:
            while True:
                with changed:
                    changed.wait_for(lambda: stopped or len(ready) < depth)
                    if stopped:
                        return
                item = next(items)
                with changed:
                    ready.append(item)
                    changed.notify_all()
                del item
        except StopIteration:
            error = None
        except BaseException as caught:  # handed to the reader, which raises it
            error = caught
        with changed:
            state["end"] = error
            changed.notify_all()

    threading.Thread(target=work, daemon=True, name="prefetch").start()
    try:
        while True:
            with changed:
                changed.wait_for(lambda: ready or "end" in state)
                if not ready:
                    break
                item = ready.popleft()
                changed.notify_all()
            yield item
            del item
        if (error := state["end"]) is not None:
            raise error
    finally:
        with changed:
            stopped = True
            changed.notify_all()
