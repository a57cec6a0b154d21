"""Test results per video, on disk (TEST.SAVE_RESULTS_PATH)."""

import csv
import io
import json
import os
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from slowfast_atfr.utils.errors import RunError
from slowfast_atfr.utils.files import write_whole


@dataclass(frozen=True)
class TestResults:
    """Results of V tested videos, in the order of their list.

    paths: of the files or folders.
    videos: (V,) indices in the list, from 0.
    labels: (V,) class indices.
    scores: (V, K), combined over views.
    num_views: (V,) readable views.
    values: (V,) by name, means over views: gflops_per_clip, active_bins_s2_fast, ...
    """

    __test__ = False  # not collected by pytest

    paths: list[str]
    videos: Tensor
    labels: Tensor
    scores: Tensor
    num_views: Tensor
    values: Mapping[str, Tensor]

    def means(self) -> dict[str, float]:
        """The means of the values over all views."""
        weights = self.num_views.double()
        return {name: float((value * weights).sum() / weights.sum()) for name, value in self.values.items()}

    def fields(self) -> dict[str, Any]:
        """Return tensors and lists by their names in a file."""
        fields = {"paths": self.paths, "videos": self.videos, "labels": self.labels, "scores": self.scores}
        return fields | {"num_views": self.num_views, **self.values}

    def rows(self) -> list[dict[str, Any]]:
        """Return a dict of numbers and text for each video."""
        columns = {"path": self.paths, "video": self.videos.tolist(), "label": self.labels.tolist()}
        columns |= {"prediction": self.scores.argmax(1).tolist(), "num_views": self.num_views.tolist()}
        columns |= {name: values.tolist() for name, values in self.values.items()}
        columns |= {"scores": self.scores.tolist()}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def write_results(path: str, results: TestResults) -> None:
    """Write .json, .csv, .pkl as PySlowFast's, or with any other ending a file for torch.load.

    Raises:
        RunError: if the file cannot be written.
    """
    try:
        write_whole(path, WRITERS.get(os.path.splitext(path)[1].lower(), _torch)(results))
    except OSError as error:
        raise RunError(f"cannot write TEST.SAVE_RESULTS_PATH, {path}: {error.strerror or error}") from error


def _torch(results: TestResults) -> bytes:
    buffer = io.BytesIO()
    torch.save(results.fields(), buffer)
    return buffer.getvalue()


def _json(results: TestResults) -> str:
    return "[\n" + ",\n".join(json.dumps(row) for row in results.rows()) + "\n]\n"


def _csv(results: TestResults) -> str:
    """A column for each class's score."""
    rows = [row | {f"score_{index}": score for index, score in enumerate(row.pop("scores"))} for row in results.rows()]
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _pickle(results: TestResults) -> bytes:
    return pickle.dumps([results.scores, results.labels])


WRITERS: dict[str, Callable[[TestResults], bytes | str]] = {".json": _json, ".csv": _csv, ".pkl": _pickle}
