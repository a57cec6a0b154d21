"""The numbered videos of the decoder's tests."""

from tests.datasets.conftest import numbered  # noqa: F401
