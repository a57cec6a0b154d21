"""A video's result from those of its views, which may come in any order, twice, or from several processes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

ENSEMBLE_METHODS = {"sum": np.sum, "max": np.max}  # by DATA.ENSEMBLE_METHOD; both over axis 0, the views


@dataclass(frozen=True)
class Result:
    """The result of a view, or of a video from `num_views` views: (K,) scores, and (M,) values (means over views)."""

    scores: np.ndarray
    values: np.ndarray = field(default_factory=lambda: np.zeros(0))
    num_views: int = 1


@dataclass
class VideoScores:
    """Labels and results of a process's videos.

    whole: results of videos with all views. parts: results of single views of the others. A repeated view counts once.
    """

    num_views: int
    method: str
    labels: dict[int, int] = field(default_factory=dict)
    whole: dict[int, Result] = field(default_factory=dict)
    parts: dict[int, dict[int, Result]] = field(default_factory=dict)

    def add(self, video: int, view: int, label: int, result: Result) -> None:
        """Add the result of one view.

        Raises:
            ValueError: if the view is not one of `num_views`, or the video had another label before.
        """
        if not 0 <= view < self.num_views:
            raise ValueError(f"view {view} of video {video} is not one of 0 to {self.num_views - 1}")
        known = self.labels.setdefault(video, label)
        if known != label:
            raise ValueError(f"video {video} has label {label} in view {view}, but {known} in the views before")
        if video in self.whole:
            return
        views = self.parts.setdefault(video, {})
        views.setdefault(view, result)
        if len(views) == self.num_views:
            self.whole[video] = self.combine(self.parts.pop(video))

    def combine(self, views: Mapping[int, Result]) -> Result:
        """Return the result of a video from its views, combined in a fixed order."""
        ordered = [views[view] for view in sorted(views)]
        scores = ENSEMBLE_METHODS[self.method](np.stack([view.scores for view in ordered]), axis=0)
        return Result(scores, np.mean([view.values for view in ordered], axis=0), len(ordered))


def merge(shares: Sequence[VideoScores]) -> VideoScores:
    """Merge the shares of all processes; a view that several processes have seen counts once."""
    merged = VideoScores(shares[0].num_views, shares[0].method)
    for share in shares:
        merged.whole.update(share.whole)
        merged.labels.update(share.labels)
    for share in shares:
        for video, views in share.parts.items():
            for view, result in views.items():
                merged.add(video, view, share.labels[video], result)
    return merged
