import csv
import json
import pickle

import pytest
import torch

from slowfast_atfr.engine.metrics.results import TestResults, write_results
from slowfast_atfr.utils.errors import RunError

RESULTS = TestResults(
    paths=["/data/a, b.mp4", "/data/ü.mp4"],
    videos=torch.tensor([0, 2]),
    labels=torch.tensor([1, 0]),
    scores=torch.tensor([[0.25, 0.75], [0.5, 1.5]]),
    num_views=torch.tensor([2, 1]),
    values={"gflops_per_clip": torch.tensor([1.5, 2.0], dtype=torch.float64), "active_bins_s2": torch.tensor([4.0, 8])},
)


@pytest.mark.parametrize("name", ["results.pth", "results.pyth", "results"])
def test_a_file_for_torch_holds_tensors_and_paths(tmp_path, name):
    write_results(str(tmp_path / name), RESULTS)
    saved = torch.load(tmp_path / name, weights_only=True)
    assert saved["paths"] == RESULTS.paths and torch.equal(saved["scores"], RESULTS.scores)
    assert [saved[key].tolist() for key in ("videos", "labels", "num_views", "gflops_per_clip", "active_bins_s2")] == [
        [0, 2], [1, 0], [2, 1], [1.5, 2.0], [4.0, 8.0],
    ]  # fmt: skip


def test_json_has_an_object_for_each_video(tmp_path):
    write_results(str(tmp_path / "results.json"), RESULTS)
    first, second = json.loads((tmp_path / "results.json").read_text())
    assert first == {
        "path": "/data/a, b.mp4", "video": 0, "label": 1, "prediction": 1, "num_views": 2, "gflops_per_clip": 1.5,
        "active_bins_s2": 4.0, "scores": [0.25, 0.75],
    }  # fmt: skip
    assert second["path"] == "/data/ü.mp4" and second["prediction"] == 1


def test_csv_has_a_line_for_each_video_and_a_column_for_each_class(tmp_path):
    write_results(str(tmp_path / "results.CSV"), RESULTS)
    with open(tmp_path / "results.CSV", encoding="utf-8", newline="") as file:
        first, second = csv.DictReader(file)
    assert first["path"] == "/data/a, b.mp4" and (first["score_0"], first["score_1"]) == ("0.25", "0.75")
    assert (second["label"], second["num_views"], second["gflops_per_clip"]) == ("0", "1", "2.0")


def test_pkl_is_what_pyslowfast_pickles(tmp_path):
    write_results(str(tmp_path / "results.pkl"), RESULTS)
    with open(tmp_path / "results.pkl", "rb") as file:
        scores, labels = pickle.load(file)
    assert torch.equal(scores, RESULTS.scores) and torch.equal(labels, RESULTS.labels)


def test_a_file_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(RunError, match="cannot write TEST.SAVE_RESULTS_PATH, .*folder: "):
        write_results(str(tmp_path / "folder"), RESULTS)
