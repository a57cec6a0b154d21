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


@pytest.mark.parametrize(
    ("fail", "words"),
    [(killed, r"DataLoader worker \(pid"), (out_of_shared_memory, "unable to allocate shared memory.*No space left")],
)
def test_memory_that_runs_out_is_told_with_the_remedy(fail, words):
    with pytest.raises(RunError, match=rf"a data worker failed: {words}") as told:
        list(with_plain_errors(DataLoader(Failing(fail), batch_size=None, num_workers=1)))
    assert "Lower DATA_LOADER.NUM_WORKERS (1 in this process)" in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_config_error_keeps_its_message(workers):
    with pytest.raises(ConfigError, match="^DATA.PATH_PREFIX is '/nowhere'$"):
        list(with_plain_errors(DataLoader(Failing(misconfigured), batch_size=None, num_workers=workers)))


def test_other_errors_keep_their_traceback():
    with pytest.raises(RuntimeError, match="(?s)Traceback.*a fault of the program") as told:
        list(with_plain_errors(DataLoader(Failing(broken), batch_size=None, num_workers=1)))
    assert not isinstance(told.value, RunError)


def test_what_is_read_goes_through():
    assert list(with_plain_errors(DataLoader(Failing(lambda: None), batch_size=None))) == list(range(6))
