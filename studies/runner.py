"""The run of a sweep: tasks cut into blocks, blocks sent out, kept, and merged in their order.

A task is a sequence of blocks 0, 1, ... and ends when its course says so, a decision that sees the blocks in
their order and nothing else. So the result depends neither on the engine, nor on the number of workers, nor
on interruptions: they change who computes a block and when, and no block and no decision.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from studies.checkpoint import Block
from studies.engines import BROKEN, Engine
from studies.errors import CheckpointError, EngineError

__all__ = ["Blocks", "Course", "Store", "run_tasks", "take_tasks"]

LOSSES = 5
"""How often a block may be lost with its worker before the run gives up."""


class Course(Protocol):
    """One task under way.

    Attributes
    ----------
    payload : object
        All that a block depends on besides its number; goes to the workers.
    wanted : int
        Blocks that the next decision needs.
    """

    payload: Any
    wanted: int

    def take(self, block: Block) -> bool:
        """Take the next block in order; return whether the task is done."""


class Blocks(Protocol):
    """Finished blocks to read."""

    def get(self, task: int, block: int) -> Block | None:
        """Return a block, or None if it is not there."""


class Store(Blocks, Protocol):
    """Where finished blocks are kept."""

    def put(self, found: Iterable[tuple[int, int, Block]]) -> None:
        """Keep blocks."""


C = TypeVar("C", bound=Course)


@dataclass
class _Open:
    """A task under way: blocks asked for, blocks taken, and blocks that came before their turn."""

    course: Course
    asked: int = 0
    taken: int = 0
    early: dict[int, Block] = field(default_factory=dict)


@dataclass
class _Sent:
    task: int
    block: int
    losses: int = 0


def run_tasks(
    tasks: Iterable[tuple[int, Course]],
    work: Callable[[Any, int], Block],
    blocks: Store,
    engine: Engine,
    advanced: Callable[[int, Course, bool], None],
) -> None:
    """Compute the blocks of tasks that are missing, and lead every task to its end.

    Parameters
    ----------
    tasks : iterable of (int, Course)
        Numbers and courses; taken from it when their turn comes, so at most as many as blocks in flight
        exist at a time.
    work : callable
        Computes a block from a payload and its number; a function that other processes can import.
    blocks : Store
        Where finished blocks are and go.
    engine : Engine
        Where blocks are computed.
    advanced : callable
        Called with (task, course, done) whenever a task took blocks.

    Raises
    ------
    EngineError
        If workers die again and again.
    Exception
        What a block raised, after all finished blocks were kept.
    """
    waiting = iter(tasks)
    under_way: dict[int, _Open] = {}
    sent: dict[Future[Block], _Sent] = {}

    def submit(one: _Sent) -> None:
        try:
            sent[engine.executor.submit(work, under_way[one.task].course.payload, one.block)] = one
        except BROKEN as error:
            raise EngineError(_BROKEN_POOL) from error

    def give(task: int, number: int, block: Block) -> None:
        one = under_way[task]
        one.early[number] = block
        done, before = False, one.taken
        while not done and one.taken in one.early:
            done = one.course.take(one.early.pop(one.taken))
            one.taken += 1
        if done:
            del under_way[task]
        if one.taken > before:
            advanced(task, one.course, done)

    def fill() -> None:
        while len(sent) < engine.window:
            task = next((task for task, one in under_way.items() if one.asked < one.course.wanted), None)
            if task is None:
                fresh = next(waiting, None)
                if fresh is None:
                    return
                task = fresh[0]
                under_way[task] = _Open(fresh[1])
            one = under_way[task]
            number = one.asked
            one.asked += 1
            found = blocks.get(task, number)
            if found is None:
                submit(_Sent(task, number))
            else:
                give(task, number, found)

    fill()
    while sent:
        finished, _ = wait(sent, return_when=FIRST_COMPLETED)
        good: list[tuple[int, int, Block]] = []
        bad: list[tuple[_Sent, Exception]] = []
        for future in finished:
            one = sent.pop(future)
            try:
                good.append((one.task, one.block, future.result()))
            except Exception as error:
                bad.append((one, error))
        blocks.put(good)
        for task, number, block in good:
            if task in under_way:  # else the task ended before this block
                give(task, number, block)
        for one, cause in bad:
            if one.task in under_way:
                _check_loss(cause, one, engine)
                submit(one)
        fill()


def take_tasks(tasks: Iterable[tuple[int, C]], blocks: Blocks) -> Iterator[tuple[int, C]]:
    """Lead tasks to their end with blocks that are there, and yield them.

    Raises
    ------
    CheckpointError
        If a block is missing.
    """
    for task, course in tasks:
        number, done = 0, False
        while not done:
            block = blocks.get(task, number)
            if block is None:
                raise CheckpointError(f"block {number} of task {task} is missing")
            done = course.take(block)
            number += 1
        yield task, course


_BROKEN_POOL = "a worker process died (out of memory?); finished blocks are safe, run again to go on"


def _check_loss(error: Exception, one: _Sent, engine: Engine) -> None:
    """Raise what a block raised, unless it was lost with its worker and may be sent again."""
    if isinstance(error, BROKEN):
        raise EngineError(_BROKEN_POOL) from error
    if not isinstance(error, engine.lost):
        raise error
    one.losses += 1
    if one.losses > LOSSES:
        raise EngineError(
            f"block {one.block} of task {one.task} was lost with its worker {LOSSES} times"
        ) from error
