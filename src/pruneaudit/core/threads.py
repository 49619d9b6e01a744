"""Limits sums to one thread, so that they are bit-identical; restores the caller's settings afterwards.

BLAS libraries have one number of threads for the whole process. Two limits at a time would end in the wrong order (and
threadpoolctl 3.8 ignores the second). Therefore only one thread can hold the BLAS limit; others wait. In torch the
number belongs to a thread, but setting it also changes the default of new threads. That default is restored at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from threadpoolctl import threadpool_limits

_BLAS = threading.RLock()
_TORCH = threading.Lock()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Makes NumPy and SciPy compute on one thread; one thread of the process can hold this at a time, also nested."""
    with _BLAS, threadpool_limits(limits=1, user_api="blas"):
        yield


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Makes torch compute on one thread, for the calling thread only."""
    import torch

    before = torch.get_num_threads()
    _set_here_alone(1)
    try:
        yield
    finally:
        _set_here_alone(before)


def _set_here_alone(num_threads: int) -> None:
    """Sets torch's number of threads for the calling thread only; the default of new threads stays."""
    import torch

    with _TORCH:
        of_new_threads = _in_new_thread(torch.get_num_threads)
        torch.set_num_threads(num_threads)
        if of_new_threads != num_threads:
            _in_new_thread(lambda: torch.set_num_threads(of_new_threads))


def _in_new_thread(action: Callable[[], Any]) -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(action()))
    thread.start()
    thread.join()
    return found[0]
