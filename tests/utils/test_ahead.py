"""Items come in order, are made beside the work on others, and no more of them than are allowed."""

import threading

import pytest

from slowfast_atfr.utils.ahead import made_ahead

PATIENCE = 20  # seconds after which a test that waits has failed


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("lengths", [(), (0,), (3,), (1, 1, 1, 1, 1, 1, 1), (0, 4, 0, 0, 1, 9, 2)])
def test_items_come_in_order(threads, lengths):
    items = [[(source, number) for number in range(length)] for source, length in enumerate(lengths)]
    found = list(made_ahead((iter(some) for some in items), threads))
    assert found == [item for some in items for item in some]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("length", [1, 4])
def test_the_next_ones_are_made_meanwhile_and_no_more(threads, length):
    lock, made = threading.Condition(), []

    def source(name):
        for number in range(length):
            with lock:
                made.append((name, number))
                lock.notify_all()
            yield name, number

    used = []
    for item in made_ahead((source(name) for name in range(6)), threads):
        used.append(item)
        expected = len(used) + min(threads, 5 - item[0])  # one of each source that has begun
        with lock:
            assert lock.wait_for(lambda: len(made) >= expected, PATIENCE)  # noqa: B023
            assert len(made) <= len(used) + threads + 1


def test_as_many_are_made_at_once_as_there_are_threads():
    barrier = threading.Barrier(3)

    def source(name):
        barrier.wait(PATIENCE)
        yield name

    assert list(made_ahead((source(name) for name in range(6)), 3)) == list(range(6))


def test_an_error_comes_where_its_item_would():
    def source(name):
        yield name
        if name == 1:
            raise OSError("unplugged")

    items = made_ahead((source(name) for name in range(4)), 2)
    assert [next(items), next(items)] == [0, 1]
    with pytest.raises(OSError, match="unplugged"):
        next(items)
    assert list(items) == []


def test_whoever_stops_early_leaves_no_thread_behind():
    before = threading.active_count()
    items = made_ahead((iter(range(3)) for _ in range(9)), 2)
    assert next(items) == 0
    items.close()
    assert threading.active_count() == before


def test_no_threads_are_refused():
    with pytest.raises(ValueError, match="threads is 0"):
        list(made_ahead([], 0))
