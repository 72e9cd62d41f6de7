"""Where blocks are computed: in this process, in processes of this machine, or on a cluster.

Every engine is a `concurrent.futures.Executor`, and no number depends on which one it is.
"""

import functools
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numba
from threadpoolctl import threadpool_limits

from channels.checks import integer, one_of
from channels.errors import InvalidArgumentError
from ris.sampler import check_threads
from studies.errors import EngineError
from studies.options import ExecutorName

__all__ = ["Engine", "open_engine"]

T = TypeVar("T")


@dataclass(frozen=True)
class Engine:
    """An executor and how to use it.

    Attributes
    ----------
    executor : Executor
        Where blocks go.
    window : int
        Blocks to have in flight.
    threads : int or None
        Threads of one block; None stands for all processors.
    lost : tuple of exception types
        With these a block comes back whose worker died; to submit it again may help.
    """

    executor: Executor
    window: int
    threads: int | None
    lost: tuple[type[BaseException], ...] = ()


class SerialExecutor(Executor):
    """Computes at once, in the calling thread."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Compute and return the finished future; KeyboardInterrupt and its like go through."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@contextmanager
def open_engine(
    name: ExecutorName = "serial", workers: int | None = None, scheduler: str | None = None
) -> Iterator[Engine]:
    """Open an engine for the length of a run.

    Parameters
    ----------
    name : {"serial", "processes", "dask"}
        "serial" computes block after block in this process, each on `workers` threads; "processes" in
        `workers` processes of one thread each; "dask" on the workers of a dask.distributed scheduler.
    workers : int, optional
        By default as many as processors; of "dask", the scheduler knows.
    scheduler : str, optional
        Address of the scheduler (tcp://host:8786), for "dask" alone.

    Raises
    ------
    InvalidArgumentError
        On arguments that do not fit each other.
    EngineError
        If dask.distributed is not installed or the scheduler does not answer.
    """
    one_of("engine", name, ExecutorName)
    if (name == "dask") != (scheduler is not None):
        raise InvalidArgumentError(
            "scheduler", "an address with the engine dask, and with no other", repr(scheduler)
        )
    if workers is not None:
        integer("workers", workers, minimum=1)
        if name == "dask":
            raise InvalidArgumentError(
                "workers", "nothing, as the scheduler knows its workers", repr(workers)
            )
    match name:
        case "serial":
            yield Engine(SerialExecutor(), 1, workers)
        case "processes":
            count = check_threads(workers)
            context = multiprocessing.get_context("spawn")
            pool = ProcessPoolExecutor(count, context, _start_worker)
            try:
                yield Engine(pool, 2 * count, 1)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
        case "dask":
            with _dask(str(scheduler)) as engine:
                yield engine


@contextmanager
def _dask(scheduler: str) -> Iterator[Engine]:
    try:
        import distributed
    except ImportError:
        raise EngineError(
            'the engine dask needs dask.distributed: pip install "double-ris[cluster]"'
        ) from None
    try:
        client = distributed.Client(scheduler, timeout=20, set_as_default=False)
    except (OSError, ValueError) as error:
        raise EngineError(f"no dask scheduler answers at {scheduler}: {error}") from None
    with client:
        workers = max(1, sum(client.nthreads().values()))
        lost = (distributed.scheduler.KilledWorker, CancelledError)
        with ClusterExecutor(client) as executor:
            yield Engine(executor, 2 * workers + 2, 1, lost)


class ClusterExecutor(Executor):
    """Sends calls to the workers of a cluster, each a process of one BLAS and one Numba thread.

    The executor of dask takes what a call returned for an error if the worker dies between the return and
    the look at how the call ended. Here a result is asked for until it is there.

    Parameters
    ----------
    client : distributed.Client
        Of the cluster.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._sent: set[Any] = set()

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Submit a call."""
        made: Future[T] = Future()
        sent = self._client.submit(call_single_threaded, fn, *args, pure=False, **kwargs)
        self._sent.add(sent)

        def end(sent: Any) -> None:
            self._sent.discard(sent)
            try:
                made.set_result(sent.result())
            except BaseException as error:
                made.set_exception(error)

        sent.add_done_callback(end)
        return made

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Cancel what is left: blocks that nobody waits for."""
        self._client.cancel(list(self._sent))


def call_single_threaded(fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
    """Call a function in a worker process."""
    single_threaded()
    return fn(*args, **kwargs)


@functools.cache
def single_threaded() -> None:
    """Give this worker process one BLAS and one Numba thread, for good.

    A limit that each block set and took back would not hold where blocks overlap in threads of one worker.
    """
    threadpool_limits(limits=1)
    numba.set_num_threads(1)


def _start_worker() -> None:
    """Prepare a process of the pool: it leaves Ctrl-C to its parent, and ends with it."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    single_threaded()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


BROKEN = (BrokenExecutor,)
"""With these a pool comes to its end when one of its processes dies."""
