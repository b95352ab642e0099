"""Work done in a thread, a few items ahead of whoever takes them."""

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
DEPTH = 8           # items that a thread may be ahead; a 640x480 picture as RGB and YUV is 1.4 MB


def ahead(items: Iterator[T]) -> Generator[T, None, None]:
    """The same items, made in a thread that runs up to DEPTH of them ahead; its error is raised here."""
    end: Any = object()
    with ThreadPoolExecutor(1) as pool:
        pending = deque(pool.submit(next, items, end) for _ in range(DEPTH))
        while (item := pending.popleft().result()) is not end:
            pending.append(pool.submit(next, items, end))
            yield item
