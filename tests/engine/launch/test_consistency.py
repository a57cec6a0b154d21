"""Processes that were started for different runs say so before anything is trained."""

import os
from pathlib import Path

import numpy as np
import pytest

from slowfast_atfr.config import ConfigError, get_cfg
from slowfast_atfr.engine.launch.consistency import check_config, check_videos
from tests.processes import Program, free_port, run_in_processes


class Videos:
    """What is asked of a data set."""

    split = "train"

    def __init__(self, prefix, names, labels):
        self._names, self.labels = [f"{prefix}/{name}" for name in names], np.array(labels)

    def path(self, index):
        return self._names[index]

    def __len__(self):
        return len(self._names)


def _compare(rank):
    cfg = get_cfg()
    cfg.SHARD_ID, cfg.DATA.PATH_PREFIX, cfg.DATA_LOADER.NUM_WORKERS = rank, f"/disk{rank}", 1 + rank
    check_config(cfg)  # what machines may differ in

    check_videos(Videos(f"/disk{rank}", "abc", [0, 1, 2]), cfg)
    for names, labels, told in (
        (
            "abcd"[: 4 - rank],
            range(4 - rank),
            "process 1 has read a list (train) of 3 videos, process 0 one of 4; DATA.PATH",
        ),
        (
            "abc" if rank else "abd",
            [0, 1, 2],
            "of 3 videos, as process 0, but different ones or in another order; DATA.PATH",
        ),
        ("abc", [0, 1, 2 + rank], "of 3 videos, as process 0, but different ones or in another order; DATA.PATH"),
    ):
        with pytest.raises(ConfigError) as error:
            check_videos(Videos(f"/disk{rank}", names, list(labels)), cfg)
        assert told in str(error.value)

    cfg.TRAIN.BATCH_SIZE, cfg.SOLVER.BASE_LR = 8 * (1 + rank), 0.1 * (1 + rank)
    with pytest.raises(ConfigError) as error:
        check_config(cfg)
    told = str(error.value)
    assert told.startswith("process 1 was started with another config than process 0")
    assert "SOLVER.BASE_LR is 0.2 there and 0.1 here; TRAIN.BATCH_SIZE is 16 there and 8 here. Start all" in told


def test_all_processes_are_told_how_one_differs(tmp_path: Path):
    run_in_processes(_compare, tmp_path)


def test_one_process_agrees_with_itself():
    check_config(get_cfg())


@pytest.mark.slow
def test_a_folder_that_is_not_shared_is_refused_on_all_machines(repo, tiny_pairs, tmp_path):
    """A relative OUTPUT_DIR is another one where the process was started elsewhere."""
    for rank in "01":
        (tmp_path / rank).mkdir()
    port, command = free_port(), ["--cfg", str(repo / "configs/Demo/SLOWFAST_R18.yaml"), *tiny_pairs(OUTPUT_DIR="out")]
    env = {"WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1", "MASTER_ADDR": "localhost"}
    env = os.environ | env | {"MASTER_PORT": str(port), "PYTHONPATH": str(repo)}
    program = [repo / "tests" / "engine" / "two_folders.py", str(tmp_path), *command]
    processes = [Program(*program, cwd=repo, env={**env, "RANK": rank}) for rank in "01"]
    told = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [1, 1]
    for text in told:
        assert "error: OUTPUT_DIR is 'out', which is not one folder for all processes: process 1 on " in text
        assert "terminate called" not in text and "Traceback" not in text
    assert not list(tmp_path.glob("?/out/checkpoints")) and not list(tmp_path.glob("?/out/.seen*"))
