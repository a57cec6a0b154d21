"""Videos that could not be read: each is logged once, all are counted."""

import logging
from collections.abc import Iterable

from slowfast_atfr.datasets.items import Skip
from slowfast_atfr.utils.distributed import gather_objects

logger = logging.getLogger(__name__)


class SkipLog:
    """The unreadable videos of this process."""

    def __init__(self) -> None:
        self._paths: set[str] = set()

    def add(self, skipped: Iterable[Skip]) -> None:
        """Warn about each new video."""
        for skip in skipped:
            if skip.path not in self._paths:
                self._paths.add(skip.path)
                logger.warning("skipped %s: %s", skip.path, skip.reason)

    def total(self) -> int:
        """Return the number of skipped videos over all processes; a collective."""
        return len(set().union(*gather_objects(self._paths)))
