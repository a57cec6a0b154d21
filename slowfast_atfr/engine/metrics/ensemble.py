"""A video's result out of those of its views, which may come in any order, twice, or from several processes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

ENSEMBLE_METHODS = {"sum": np.sum, "max": np.max}  # by DATA.ENSEMBLE_METHOD; both over axis 0, the views


@dataclass(frozen=True)
class Result:
    """Of a view, or of a video from `num_views` of them: (K,) scores, and (M,) values, for a video means over views."""

    scores: np.ndarray
    values: np.ndarray = field(default_factory=lambda: np.zeros(0))
    num_views: int = 1


@dataclass
class VideoScores:
    """What one process knows of the videos: labels, and results of each view or, once all are there, of the video.

    Every view counts once however often it comes, so a sampler may repeat views to fill up the last batch.
    """

    num_views: int
    method: str
    labels: dict[int, int] = field(default_factory=dict)
    whole: dict[int, Result] = field(default_factory=dict)
    parts: dict[int, dict[int, Result]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.method not in ENSEMBLE_METHODS:
            choices = ", ".join(ENSEMBLE_METHODS)
            raise ValueError(f"DATA.ENSEMBLE_METHOD is {self.method!r}; choose one of {choices}")

    def add(self, video: int, view: int, label: int, result: Result) -> None:
        """Take the result of one view.

        Raises:
            ValueError: if the view is not one of `num_views`, or the video had another label before.
        """
        if not 0 <= view < self.num_views:
            raise ValueError(f"view {view} of video {video} is not one of its {self.num_views}, which count from 0")
        known = self.labels.setdefault(video, label)
        if known != label:
            raise ValueError(f"video {video} has label {label} in view {view}, but {known} in the views before")
        if video in self.whole:
            return
        views = self.parts.setdefault(video, {})
        views.setdefault(view, result)
        if len(views) == self.num_views:
            self.whole[video] = self.bring_together(self.parts.pop(video))

    def bring_together(self, views: Mapping[int, Result]) -> Result:
        """The result of a video, from its views in their order, so that it depends on no other order."""
        ordered = [views[view] for view in sorted(views)]
        scores = ENSEMBLE_METHODS[self.method](np.stack([view.scores for view in ordered]), axis=0)
        return Result(scores, np.mean([view.values for view in ordered], axis=0), len(ordered))


def merge(shares: Sequence[VideoScores]) -> VideoScores:
    """The shares of all processes as one; a view that several processes have seen counts once."""
    merged = VideoScores(shares[0].num_views, shares[0].method)
    for share in shares:
        merged.whole.update(share.whole)
        merged.labels.update(share.labels)
    for share in shares:
        for video, views in share.parts.items():
            for view, result in views.items():
                merged.add(video, view, share.labels[video], result)
    return merged
