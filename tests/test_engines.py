"""Every engine, and every way to cut a run, gives the same bits."""

import functools
import os
import signal

import distributed
import numpy as np
import pytest
from sweeps import METRICS, POWER_MODEL, TWO_AXES, same_data, study_text

from channels.errors import InvalidArgumentError
from studies.checkpoint import Block, Checkpoint
from studies.config import parse_study
from studies.engines import Engine, open_engine
from studies.errors import CheckpointError, EngineError
from studies.run import checkpoint_path, merge, run_study
from studies.runner import run_tasks

STOP = '[stop]\nmetric = "ergodic_sum_rate"\nrelative_half_width = 0.025'


@pytest.fixture(scope="module")
def study():
    return parse_study(study_text(TWO_AXES, METRICS, POWER_MODEL, STOP, realizations=1200), "small")


@pytest.fixture(scope="module")
def serial(study):
    result = run_study(study)
    assert {*result.reasons.ravel()} == {"half_width", "max_realizations"}
    return result


def test_threads_and_processes(study, serial):
    assert same_data(run_study(study, workers=1), serial)
    assert same_data(run_study(study, engine="processes", workers=3), serial)


def test_dask_with_a_worker_that_dies(study, serial):
    killed = []
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50
    ) as cluster:
        pids = {worker.pid for worker in cluster.workers.values()}
        assert len(pids) == 2

        def kill_one(status):
            if status.realizations > 1000 and not killed:
                killed.append(min(pids))
                os.kill(min(pids), signal.SIGKILL)

        result = run_study(study, engine="dask", scheduler=cluster.scheduler_address, progress=kill_one)
    assert killed
    assert same_data(result, serial)


def test_merged_shards(tmp_path, study, serial):
    paths = [checkpoint_path(tmp_path / "small.h5", (i, 4)) for i in range(4)]
    assert [path.name for path in paths[:2]] == ["small.1-of-4.partial", "small.2-of-4.partial"]
    for i, path in enumerate(paths):
        assert run_study(study, checkpoint=path, shard=(i, 4)) is None
    assert same_data(merge(paths[::-1]), serial)
    with pytest.raises(CheckpointError, match="block 0 of task 2 is missing"):
        merge(paths[:2])
    other = tmp_path / "other.partial"
    run_study(study, seed=9, checkpoint=other, shard=(2, 4))
    with pytest.raises(CheckpointError, match="seed: 9 there, 3 now"):
        merge([*paths[:2], other, paths[3]])


def test_bad_engines(study):
    for options in (
        {"engine": "dask"},
        {"scheduler": "tcp://localhost:1"},
        {"workers": 0},
        {"engine": "mpi"},
    ):
        with pytest.raises(InvalidArgumentError):
            run_study(study, **options)
    with pytest.raises(EngineError, match="no dask scheduler answers"):
        run_study(study, engine="dask", scheduler="nonsense://localhost:1")
    for shard in ((4, 4), (-1, 4), (0, 4)):
        with pytest.raises(InvalidArgumentError, match="shard"):
            run_study(study, shard=shard)


def test_a_pool_whose_worker_dies_keeps_its_blocks(tmp_path):
    with Checkpoint(tmp_path / "c", {}) as kept:
        with open_engine("processes", 1) as engine, pytest.raises(EngineError, match="a worker process died"):
            run_tasks([(0, Course(6))], _die_at_four, kept, engine, lambda *_: None)
        assert len(kept) >= 1


# The runner alone ---------------------------------------------------------------------------------------


class Course:
    """Ends when the sum of its blocks reaches `goal`; every next decision needs two more."""

    def __init__(self, last, payload=0):
        self.payload, self.last, self.wanted, self.numbers = payload, last, 2, []

    def take(self, block):
        self.numbers.append(int(block.arrays["x"]))
        if len(self.numbers) == self.wanted:
            self.wanted += 2
        return len(self.numbers) == self.last


def _number(payload, number):
    return Block({"x": np.array(100.0 * payload + number)}, 0.0)


def _die_at_four(payload, number):
    if number == 4:
        os._exit(1)
    return _number(payload, number)


class Memory(dict):
    def get(self, task, block):
        return super().get((task, block))

    def put(self, found):
        self.update({(task, block): value for task, block, value in found})


@pytest.mark.parametrize("kept", [(), [(0, 1), (0, 3), (2, 0), (2, 1), (2, 2)]])
def test_blocks_arrive_in_order_and_no_task_waits_for_more_than_it_wants(kept):
    store = Memory({key: _number(*key) for key in kept})
    courses = [Course(last, payload) for payload, last in enumerate((5, 1, 3, 8))]
    taken, alive = [], []

    def numbered():
        for number, course in enumerate(courses):
            alive.append(number)
            yield number, course

    # Six blocks are done at once, and come back in the order of a set.
    with open_engine("serial") as engine:
        wide = Engine(engine.executor, 6, None)
        run_tasks(numbered(), _number, store, wide, lambda *seen: taken.append(seen))
    for payload, course in enumerate(courses):
        assert course.numbers == [100 * payload + i for i in range(course.last)]
    assert [task for task, _, done in taken if done].count(3) == 1
    assert alive == [0, 1, 2, 3]


def test_errors_of_blocks_come_through_after_the_good_ones_are_kept():
    def work(payload, number):
        if payload == 1:
            raise ValueError("no such system")
        return _number(payload, number)

    store = Memory()
    with open_engine("serial") as engine, pytest.raises(ValueError, match="no such system"):
        run_tasks(((i, Course(2, i)) for i in range(3)), work, store, engine, lambda *_: None)
    assert sorted(store) == [(0, 0), (0, 1)]


def test_lost_blocks_are_sent_again_and_not_for_ever():
    class LostError(Exception):
        pass

    def work(losses, payload, number):
        if len(losses) > 0:
            losses.pop()
            raise LostError
        return _number(payload, number)

    for losses, message in (([0] * 5, None), ([0] * 50, "lost with its worker")):
        course = Course(1)
        with open_engine("serial") as engine:
            lossy = Engine(engine.executor, 1, None, (LostError,))
            run = functools.partial(
                run_tasks, [(0, course)], functools.partial(work, losses), Memory(), lossy, lambda *_: None
            )
            if message is None:
                run()
                assert course.numbers == [0]
            else:
                with pytest.raises(EngineError, match=message):
                    run()
