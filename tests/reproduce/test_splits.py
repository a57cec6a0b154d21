"""Three splits by one command: each like a run of its own, done once, continued where it stopped, and averaged."""

import json
import subprocess
import sys

import pytest

from slowfast_atfr.engine.cli import INTERRUPTED
from slowfast_atfr.engine.cli import main as run_net
from slowfast_atfr.reproduce import runner
from slowfast_atfr.reproduce.splits import main, split_table, summarize
from tests.processes import free_port
from tests.runs import stats_of
from tests.tiny_sets import small_pairs, write_hmdb51, write_ucf101

CONFIG = "configs/Demo/SLOWFAST_R18_ATFR.yaml"


@pytest.fixture(scope="module")
def ucf101(tmp_path_factory):
    return write_ucf101(tmp_path_factory.mktemp("ucf101"))


@pytest.fixture
def argv(repo, ucf101, tmp_path):
    def build(**changes):
        where = {"DATA__PATH_TO_DATA_DIR": ucf101, "DATA__PATH_PREFIX": ucf101 / "UCF-101", "OUTPUT_DIR": tmp_path}
        sets = {"TRAIN__DATASET": "ucf101", "TEST__DATASET": "ucf101"}
        return ["--cfg", str(repo / CONFIG), *small_pairs(**where | sets | changes)]

    return build


def test_it_goes_on_where_it_was_stopped_and_averages_what_the_tests_say(argv, tmp_path, monkeypatch):
    real, seen = runner.train_and_test, []

    def stopped_in_split_2(cfg, rank):
        seen.append(cfg.DATA.SPLIT)
        if seen == [1, 2]:
            raise KeyboardInterrupt
        return real(cfg, rank)

    monkeypatch.setattr(runner, "train_and_test", stopped_in_split_2)
    assert main(argv()) == INTERRUPTED
    assert (tmp_path / "split1" / "result.json").is_file() and not (tmp_path / "splits.json").exists()
    assert main(argv()) == 0
    assert seen == [1, 2, 2, 3]
    finals = [stats_of(tmp_path / f"split{n}", "test_final") for n in (1, 2, 3)]
    assert [len(final) for final in finals] == [1, 1, 1]  # none was tested twice
    summary = json.loads((tmp_path / "splits.json").read_text())
    for key in ("top1_acc", "top5_acc", "gflops_per_clip", "active_bins_s2_slow", "active_bins_s2_fast"):
        values = [float(final[0][key]) for final in finals]
        assert summary["mean"][key] == pytest.approx(sum(values) / 3, rel=1e-4)
    log = (tmp_path / "stdout.log").read_text()
    assert split_table(summary) in log and "split 1 of 3 is done" in log
    assert main(argv(LOG_PERIOD=3)) == 0 and seen == [1, 2, 2, 3]  # all done: only the table is message


def test_a_split_is_a_run_of_its_own(argv, tmp_path, monkeypatch):
    real = runner.train_and_test

    def first_only(cfg, rank):
        if cfg.DATA.SPLIT > 1:
            raise KeyboardInterrupt
        return real(cfg, rank)

    monkeypatch.setattr(runner, "train_and_test", first_only)
    assert run_net(argv(OUTPUT_DIR=tmp_path / "alone", DATA__SPLIT=1)) == 0
    assert main(argv(OUTPUT_DIR=tmp_path / "all")) == INTERRUPTED
    losses = [stats_of(tmp_path / name, "train_epoch")[0]["loss"] for name in ("alone", "all/split1")]
    assert losses[0] == losses[1]
    same = [stats_of(tmp_path / name, "test_final")[0]["top1_acc"] for name in ("alone", "all/split1")]
    assert same[0] == same[1]


def test_a_result_of_another_config_is_refused(argv, tmp_path, capsys):
    (tmp_path / "split1").mkdir()
    result = tmp_path / "split1" / "result.json"
    result.write_text(json.dumps({"stats": {}, "cfg": {"SGS.ENABLE": False, "NUM_GPUS": 8}}))
    assert main(argv()) == 1
    message = capsys.readouterr().err
    assert "split1/result.json is of another config (SGS.ENABLE was False and is True)" in message
    result.write_text("{")
    assert main(argv()) == 1 and "cannot read the result" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"TRAIN__DATASET": "kinetics", "TEST__DATASET": "kinetics"}, "has one split only: tools/run_net.py"),
        ({"TEST__DATASET": "hmdb51"}, "TRAIN.DATASET is 'ucf101', TEST.DATASET 'hmdb51'"),
        ({"TEST__ENABLE": False}, "TEST.ENABLE is False"),
        (
            {"TEST__CHECKPOINT_FILE_PATH": __file__},
            f"TEST.CHECKPOINT_FILE_PATH is {__file__!r}, one file for all splits",
        ),
        ({"DATA__PATH_TO_DATA_DIR": "/nowhere"}, "DATA.PATH_TO_DATA_DIR is '/nowhere'"),
    ],
)
def test_what_cannot_be_averaged_is_reported(argv, capsys, changes, message):
    assert main(argv(**changes)) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: ") and message in err and "Traceback" not in err


def test_the_table_has_what_the_network_has():
    figures = {"top5_acc": "90.00", "gflops_per_clip": 2.0, "clips_per_second": 100.0, "num_videos": 3}
    results = {number: {"top1_acc": top1} | figures for number, top1 in ((1, "50.00"), (2, "60.00"), (3, "70.00"))}
    lines = split_table(summarize(results)).splitlines()
    assert lines[0] == "| split | top-1 % | top-5 % | GFLOPs/clip | clips/s |"
    assert lines[2] == "| 1 | 50.00 | 90.00 | 2 | 100.00 |"
    assert lines[-2:] == ["| mean | 60.00 | 90.00 | 2 | 100.00 |", "| std | 10.00 | 0.00 | 0 | 0.00 |"]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["shards", "torchrun"])
def test_two_processes_share_every_split(repo, argv, tmp_path, launcher):
    hmdb = write_hmdb51(tmp_path / "data", per_class=5)
    paths = {"DATA__PATH_TO_DATA_DIR": hmdb, "DATA__PATH_PREFIX": hmdb / "hmdb51_org"}
    pairs = argv(**paths, TRAIN__DATASET="hmdb51", TEST__DATASET="hmdb51", TRAIN__BATCH_SIZE=4)
    port = free_port()
    command = [str(repo / "tools" / "run_splits.py"), *pairs]
    if launcher == "shards":
        where = ["--num_shards", "2", "--init_method", f"tcp://localhost:{port}"]
        commands = [[sys.executable, *command, *where, "--shard_id", str(shard)] for shard in (0, 1)]
    else:
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(port)]
        commands = [[*torchrun, *command]]
    for _ in range(2):  # the second time all is done
        running = [
            subprocess.Popen(c, cwd=repo, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for c in commands
        ]
        outputs = [process.communicate(timeout=240)[0] for process in running]
        assert [process.returncode for process in running] == [0] * len(running), "\n".join(outputs)
        summary = json.loads((tmp_path / "splits.json").read_text())
        assert [stats["num_videos"] for stats in summary["splits"].values()] == [3, 3, 3]
    assert (tmp_path / "stdout.log").read_text().count("| mean |") == 2
    assert all(len(stats_of(tmp_path / f"split{n}", "test_final")) == 1 for n in (1, 2, 3))
