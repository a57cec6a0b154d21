"""Videos that could not be read: each is told once, all are counted."""

import logging
from collections.abc import Iterable

from slowfast_atfr.datasets.items import Skip
from slowfast_atfr.utils.distributed import gather_objects

logger = logging.getLogger(__name__)


class SkipLog:
    """The unreadable videos that this process has met."""

    def __init__(self) -> None:
        self._paths: set[str] = set()

    def add(self, skipped: Iterable[Skip]) -> None:
        """Warn about the videos that are new."""
        for skip in skipped:
            if skip.path not in self._paths:
                self._paths.add(skip.path)
                logger.warning("skipped %s: %s", skip.path, skip.reason)

    def total(self) -> int:
        """How many videos all processes together have skipped so far; a collective."""
        return len(set().union(*gather_objects(self._paths)))
