import pytest

from slowfast_atfr.utils.errors import RunError
from slowfast_atfr.utils.lock import OutputLock
from tests.holder import Holder


@pytest.fixture
def holder(tmp_path, tmp_path_factory):
    """Another process that holds the lock, and leaves a child."""
    process = Holder(tmp_path, tmp_path_factory.mktemp("signs"))
    yield process
    process.clear()


def test_a_folder_that_a_run_works_in_is_refused(holder, tmp_path):
    told = f"is in use by another run .process {holder.pid} on "
    with pytest.raises(RunError, match=told), OutputLock(str(tmp_path)):
        pass


def test_a_run_that_was_killed_holds_nothing(holder, tmp_path):
    holder.program.kill()
    holder.program.communicate(timeout=30)
    with OutputLock(str(tmp_path)):
        pass


def test_a_run_that_has_ended_holds_nothing(holder, tmp_path):
    holder.end()
    for _ in range(2):
        with OutputLock(str(tmp_path)):
            pass


def test_a_file_system_without_locks_is_reported(tmp_path, monkeypatch, caplog):
    def fail(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("slowfast_atfr.utils.lock.fcntl.lockf", fail)
    with OutputLock(str(tmp_path / "new")):
        assert "cannot be locked against a second run: No locks available" in caplog.text
