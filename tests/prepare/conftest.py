"""The numbered videos of the decoder's tests."""

from tests.datasets.conftest import numbered, silent_packet  # noqa: F401
