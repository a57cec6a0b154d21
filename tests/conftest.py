"""Shared by all tests: markers, seeds, one thread each, the real clips where they lie beside the checkout."""

import gc
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import torch

from tests.fake_gpu import FakeGpu

REPO = Path(__file__).resolve().parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the slow tests, too")
    parser.addoption("--cluster", action="store_true", help="run those that start a real Slurm, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left = {name for name in ("slow", "cluster") if not config.getoption(f"--{name}")}
    not_run = [item for item in items if left.intersection(item.keywords)]
    if not_run:
        config.hook.pytest_deselected(items=not_run)
        items[:] = [item for item in items if not left.intersection(item.keywords)]
    for item in items:
        if "needs_cuda" in item.keywords and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="needs a GPU"))


def pytest_collection_finish() -> None:
    gc.freeze()  # what is imported stays: the garbage collector need not look at it again and again


def pytest_report_header(config: pytest.Config) -> str:
    left = " and ".join(name for name in ("slow", "cluster") if not config.getoption(f"--{name}"))
    return f"tests marked {left} are left out; --slow, --cluster run them" if left else ""


def pytest_configure(config: pytest.Config) -> None:
    hypothesis.settings.register_profile("any machine", deadline=None)  # a busy one pauses anywhere
    hypothesis.settings.load_profile("any machine")
    torch.set_num_threads(1)  # the suite runs on all cores by running tests side by side
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # so do the programs that tests start


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _quiet_again() -> Iterator[None]:
    """What a run has set up to log to files and the screen ends with its test."""
    yield
    package = logging.getLogger("slowfast_atfr")
    package.handlers.clear()
    package.setLevel(logging.NOTSET)


@pytest.fixture(autouse=True)
def _signals_again() -> Iterator[None]:
    """A run that was told to end ignores SIGTERM from then on: here until its test ends."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def gpu() -> Iterator[FakeGpu]:
    """A GPU that counts kernels, and tells of waits and of devices that are mixed; nothing runs faster on it."""
    with FakeGpu() as device:
        yield device


@pytest.fixture(scope="session")
def repo() -> Path:
    """The checkout."""
    return REPO


@pytest.fixture(scope="session")
def real_clips() -> Path:
    """Real labelled videos beside the checkout; tests that need them are skipped where they are not."""
    return _beside("real_clips")


@pytest.fixture(scope="session")
def odd_videos() -> Path:
    """Real files that players show and readers get wrong, beside the checkout; as `real_clips`."""
    return _beside("odd_videos")


def _beside(name: str) -> Path:
    folder = REPO.parent / "shared" / "data" / name
    if not folder.is_dir():
        pytest.skip(f"there is no folder {folder}")
    return folder
