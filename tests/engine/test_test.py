"""Testing: what is written of every video, and that several processes write what one does."""

import shutil

import pytest
import torch

from slowfast_atfr.config import load_cfg
from slowfast_atfr.engine.launch.processes import launch
from slowfast_atfr.engine.test import test as run_test
from slowfast_atfr.models import build_model
from slowfast_atfr.utils.distributed import RankInfo
from tests.engine.foreign_weights import shuffled
from tests.processes import run_in_processes


@pytest.fixture
def pairs_for(tiny_data, tiny_pairs, tmp_path):
    """Pairs of a test of random weights on so many of the validation videos."""
    torch.save({"model_state": shuffled(build_model(load_cfg(None, tiny_pairs()))).state_dict()}, tmp_path / "w.pyth")

    def build(name, videos, **changes):
        lists = tmp_path / name
        lists.mkdir(exist_ok=True)
        lines = (tiny_data / "val.csv").read_text().splitlines()[:videos]
        (lists / "test.csv").write_text("".join(f"{line}\n" for line in lines))
        where = {"DATA__PATH_TO_DATA_DIR": lists, "OUTPUT_DIR": lists, "TEST__SAVE_RESULTS_PATH": f"{name}.pth"}
        weights = {"TEST__CHECKPOINT_FILE_PATH": tmp_path / "w.pyth", "LOG_MODEL_INFO": False}
        return tiny_pairs(**where, **weights, **changes)

    return build


def _test(rank, runs):
    for pairs in runs:
        run_test(load_cfg(None, pairs), RankInfo(rank, 2, rank, 2))


def saved(folder, name):
    return torch.load(folder / name / f"{name}.pth", weights_only=True)


def test_two_processes_write_what_one_does(pairs_for, tmp_path):
    for name, videos in (("five", 5), ("one", 1)):
        launch(run_test, load_cfg(None, pairs_for(name, videos)))
    alone = {name: saved(tmp_path, name) for name in ("five", "one")}
    run_in_processes(_test, tmp_path, [pairs_for("five", 5), pairs_for("one", 1)])  # of one video a process has none
    for name, one in alone.items():
        two = saved(tmp_path, name)
        assert one.keys() == two.keys() and one["paths"] == two["paths"]
        for key in one.keys() - {"paths"}:
            torch.testing.assert_close(two[key], one[key], msg=key)


def test_the_file_says_of_every_video_what_it_cost(pairs_for, tmp_path, tiny_data):
    broken = tmp_path / "prefix"
    shutil.copytree(tiny_data, broken)
    (broken / "val_1.mp4").write_bytes(b"no video")
    stats = launch_and_return(load_cfg(None, pairs_for("part", 3, DATA__PATH_PREFIX=broken)))
    results = saved(tmp_path, "part")
    assert results["paths"] == [str(broken / f"val_{number}.mp4") for number in (0, 2)]
    assert results["videos"].tolist() == [0, 2] and results["labels"].tolist() == [0, 0]
    assert results["num_views"].tolist() == [6, 6] and results["scores"].shape == (2, 2)
    torch.testing.assert_close(results["scores"].sum(1), torch.tensor([6.0, 6.0]))  # softmax of six views
    for name in ("gflops_per_clip", "active_bins_s2_slow", "active_bins_s2_fast"):
        assert results[name].shape == (2,)
        assert float(results[name].mean()) == pytest.approx(stats[name])  # of all views


def launch_and_return(cfg):
    returned = []
    launch(lambda cfg, rank: returned.append(run_test(cfg, rank)), cfg)
    return returned[0]


def test_folded_norms_leave_every_figure_as_it_is(pairs_for, tmp_path):
    for name, folded in (("plain", False), ("folded", True)):
        launch(run_test, load_cfg(None, pairs_for(name, 3, TEST__FOLD_NORMS=folded)))
    plain, folded = saved(tmp_path, "plain"), saved(tmp_path, "folded")
    assert plain.keys() == folded.keys() and not torch.equal(plain["scores"], folded["scores"])
    for key in plain.keys() - {"paths"}:
        torch.testing.assert_close(folded[key], plain[key], rtol=1e-4, atol=1e-5, msg=key)
