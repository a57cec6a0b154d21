"""A data loading process that fails is told so that it can be mended."""

import os
import signal

import pytest
from torch.utils.data import DataLoader, Dataset

from slowfast_atfr.config import ConfigError
from slowfast_atfr.datasets.worker_errors import with_plain_errors
from slowfast_atfr.utils.errors import RunError


class Failing(Dataset):
    """Numbers, until `fail` is called for the fourth."""

    def __init__(self, fail):
        self.fail = fail

    def __len__(self):
        return 6

    def __getitem__(self, index):
        if index == 3:
            self.fail()
        return index


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


def out_of_shared_memory():
    raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)")


def misconfigured():
    raise ConfigError("DATA.PATH_PREFIX is '/nowhere'")


def broken():
    raise RuntimeError("a fault of the program")


@pytest.fixture
def load():
    """All that a loader gives. Its workers end with the test: when they are garbage torch waits 5 s for each."""
    loaders = []

    def run(fail, workers=1):
        dataset = Failing(fail)
        loaders.append(DataLoader(dataset, batch_size=None, num_workers=workers, persistent_workers=workers > 0))
        return list(with_plain_errors(loaders[-1]))

    yield run
    for loader in loaders:
        if loader.num_workers:
            loader._iterator._shutdown_workers()


@pytest.mark.parametrize(
    ("fail", "words"),
    [(killed, r"DataLoader worker \(pid"), (out_of_shared_memory, "unable to allocate shared memory.*No space left")],
)
def test_memory_that_runs_out_is_told_with_the_remedy(load, fail, words):
    with pytest.raises(RunError, match=rf"a data worker failed: {words}") as told:
        load(fail)
    assert "Lower DATA_LOADER.NUM_WORKERS (1 in this process)" in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_config_error_keeps_its_message(load, workers):
    with pytest.raises(ConfigError, match="^DATA.PATH_PREFIX is '/nowhere'$"):
        load(misconfigured, workers)


def test_other_errors_keep_their_traceback(load):
    with pytest.raises(RuntimeError, match="(?s)Traceback.*a fault of the program") as told:
        load(broken)
    assert not isinstance(told.value, RunError)


def test_what_is_read_goes_through(load):
    assert load(lambda: None, 0) == list(range(6))
