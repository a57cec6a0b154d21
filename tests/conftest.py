"""Shared by all tests: markers, seeds, one thread each, the real clips where they lie beside the checkout."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.fake_gpu import FakeGpu

REPO = Path(__file__).resolve().parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests that take minutes, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if "slow" in item.keywords and not config.getoption("--slow"):
            item.add_marker(pytest.mark.skip(reason="slow: run with --slow"))
        if "needs_cuda" in item.keywords and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="needs a GPU"))


def pytest_configure(config: pytest.Config) -> None:
    torch.set_num_threads(1)  # the suite runs on all cores by running tests side by side


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
    folder = REPO.parent / "shared" / "data" / "real_clips"
    if not folder.is_dir():
        pytest.skip(f"no real clips at {folder}")
    return folder
