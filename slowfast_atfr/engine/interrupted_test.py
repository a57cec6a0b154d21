"""The finished videos of an interrupted test, so that the same test resumes with the rest."""

import hashlib
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import torch
from fvcore.common.config import CfgNode

from slowfast_atfr.config.config_diff import changed_keys
from slowfast_atfr.config.load import flatten
from slowfast_atfr.engine.metrics.ensemble import Result, VideoScores
from slowfast_atfr.utils.distributed import on_main
from slowfast_atfr.utils.errors import RunError
from slowfast_atfr.utils.files import replacing

logger = logging.getLogger(__name__)
NAME = "test_stopped.pth"


class FinishedVideos(NamedTuple):
    """Scores of the finished videos, and names of the values of each view."""

    videos: VideoScores
    value_names: tuple[str, ...]


class InterruptedTest:
    """The finished videos of an interrupted test, in OUTPUT_DIR/test_stopped.pth.

    Args:
        cfg: of the test.
        weights: path of the tested checkpoint.
        names: of the videos.
    """

    def __init__(self, cfg: CfgNode, weights: str, names: Sequence[str]) -> None:
        self._cfg, self._path = cfg, os.path.join(cfg.OUTPUT_DIR, NAME)
        file, digest = os.stat(weights), hashlib.sha256()
        for name in names:
            digest.update(name.encode("utf-8", "surrogateescape") + b"\n")
        self._of = {"weights": [file.st_size, file.st_mtime_ns], "videos": digest.hexdigest()}

    def load(self) -> FinishedVideos | None:
        """Return the finished videos, None if there are none or they belong to another test. A collective."""
        return on_main(self._load)

    def save(self, tested: FinishedVideos) -> None:
        """Save the videos with all views tested; a collective. Raises RunError."""
        on_main(lambda: self._save(tested))

    def clear(self) -> None:
        """Remove the file, after a complete test. A collective."""
        on_main(self._clear)

    def _load(self) -> FinishedVideos | None:
        if not os.path.isfile(self._path):
            return None
        try:
            content: dict[str, Any] = torch.load(self._path, weights_only=True)
            same = content["of"] == self._of and not changed_keys(content["cfg"], self._cfg)
            videos = VideoScores(content["num_views"], content["method"])
            for row, video in enumerate(content["videos"]):
                videos.labels[video] = content["labels"][row]
                scores, values = content["scores"][row].numpy(), content["values"][row].numpy()
                videos.whole[video] = Result(scores, values, content["num_views"])
        except Exception as error:  # damaged, or not ours
            logger.warning("%s cannot be read, the test starts from the first video: %s", self._path, error)
            return None
        if not same:
            logger.info("%s belongs to another test: this one starts from the first video", self._path)
            return None
        logger.info("the test resumes with %d videos done, from %s", len(videos.whole), self._path)
        return FinishedVideos(videos, tuple(content["value_names"]))

    def _save(self, tested: FinishedVideos) -> None:
        videos, done = tested.videos, sorted(tested.videos.whole)
        content = {
            "of": self._of,
            "cfg": dict(flatten(self._cfg)),
            "value_names": list(tested.value_names),
            "num_views": videos.num_views,
            "method": videos.method,
            "videos": done,
            "labels": [videos.labels[video] for video in done],
            "scores": [torch.from_numpy(videos.whole[video].scores.copy()) for video in done],
            "values": [torch.from_numpy(videos.whole[video].values.copy()) for video in done],
        }
        try:
            with replacing(self._path) as part:
                torch.save(content, part)
        except (OSError, RuntimeError) as error:
            raise RunError(f"the tested videos cannot be saved in {self._path}: {error}") from None

    def _clear(self) -> None:
        with suppress(FileNotFoundError):
            os.remove(self._path)
