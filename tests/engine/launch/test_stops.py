import signal
import time

import pytest
from torch.distributed import HashStore

from slowfast_atfr.engine.cli import main
from slowfast_atfr.engine.launch.stops import record_stop
from slowfast_atfr.utils.errors import RunError
from slowfast_atfr.utils.stop import EXIT_STATUS, INTERVAL, Stopped, StopRequest

CONFIG = "configs/Demo/SLOWFAST_R18.yaml"
STOPPED = Stopped("the run was interrupted")


def test_two_stops_in_a_row_without_progress_are_one_too_many(tmp_path):
    def stop(progress):
        record_stop(str(tmp_path / "out"), STOPPED, progress=progress)

    stop(True), stop(False), stop(True), stop(False)  # as often as there is progress in between
    with pytest.raises(RunError, match=r"was interrupted. But this start and the previous one.* --time must be longer"):
        stop(False)
    stop(False)  # the count has restarted
    with pytest.raises(RunError):
        stop(False)


def test_a_run_that_is_always_told_to_end_too_soon_ends_with_a_failure(repo, tiny_pairs, monkeypatch, capsys):
    monkeypatch.setattr(StopRequest, "requested", property(lambda self: True))
    command = ["--cfg", str(repo / CONFIG), *tiny_pairs()]
    assert [main(command) for _ in range(2)] == [EXIT_STATUS, 1]
    told = capsys.readouterr().err.strip().splitlines()
    assert told[-1].startswith("error: the run was interrupted") and "before they had saved any work" in told[-1]


def test_processes_share_the_request():
    store, one, other = HashStore(), StopRequest(), StopRequest()
    with one.shared_in(store), other.shared_in(store):
        assert not one.requested and not other.requested
        one.note(signal.SIGTERM)
        deadline = time.monotonic() + 10
        while not other.requested and time.monotonic() < deadline:
            time.sleep(0.05)
    assert one.signal == "SIGTERM" and other.signal == "SIGTERM to another process"


class Cut:
    """A store that never answers, as after a network failure."""

    def check(self, keys):
        time.sleep(1000)


class Gone:
    def check(self, keys):
        raise RuntimeError("Connection reset by peer")


@pytest.mark.parametrize("store", [Cut(), Gone()])
def test_a_store_that_does_not_answer_keeps_nobody(store):
    request, start = StopRequest(), time.monotonic()
    with request.shared_in(store):
        time.sleep(1.2 * INTERVAL)
        assert not request.requested
    assert time.monotonic() - start < 5
