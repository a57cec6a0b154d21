"""The paper's tables: what they cost, and their recipe on a small data set, each row once."""

import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from slowfast_atfr.engine.cli import INTERRUPTED
from slowfast_atfr.reproduce import runner
from slowfast_atfr.reproduce.reproduce_tables import main
from slowfast_atfr.reproduce.tables import TABLES
from tests.runs import stats_of
from tests.tiny_sets import SMALL, write_clip, write_ucf101


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """A folder of six training and three validation videos of three classes, with their lists."""
    folder = tmp_path_factory.mktemp("videos")
    for split, per_class in (("train", 2), ("val", 1)):
        names = [(f"{split}{label}{n}.mp4", label) for label in range(3) for n in range(per_class)]
        for name, label in names:
            write_clip(folder / name, label=label)
        (folder / f"{split}.csv").write_text("".join(f"{name} {label}\n" for name, label in names))
    return folder


@pytest.fixture
def argv(videos, tmp_path):
    sets = {key: value for key, value in SMALL.items() if key != "MODEL.NUM_CLASSES"}  # which the lists tell
    sets["TRAIN.MIXED_PRECISION"] = False
    pairs = [word for key, value in sets.items() for word in (key, str(value))]

    def build(tables, *more, data=videos):
        return ["--tables", tables, "--data", str(data), "--out", str(tmp_path / "out"), *pairs, *more]

    return build


@pytest.fixture
def configs(repo):
    return repo / "configs"


def test_costs_and_published_figures_need_no_data(configs, capsys):
    assert main(configs, ["--gflops-only"]) == 0
    out = capsys.readouterr().out
    for text in ("| 18.06 |", "| 69.6 | 88.8 | 14.0 | 23.6 (23.5 to 23.7) | 32 |", "| 97.9 |  | 22.2 | 21.8 ("):
        assert text in out
    maps = [tuple(map(float, found)) for found in re.findall(r"\| (\S+) \((\S+) to (\S+)\) \|", out)]
    assert all(least <= mean <= most for mean, least, most in maps) and maps[-1] == (5.8, 5.4, 6.2)
    figures = {"A.3": [23.6, 5.9, 3.2, 1.8], "A.4": [23.6, 11.1, 4.9, 1.8], "A.5": [21.8, 22.8], "A.6": [5.8]}
    assert [mean for mean, _, _ in maps] == sum(figures.values(), [])
    for table in TABLES.values():
        assert f"Table {table.key}" in out
        figures = [(row.top1, row.top5, row.gflops) for row in table.rows]
        for line in (*figures, *table.printed):
            assert f"| {' | '.join(line)} |" in out
    assert "5x7x7, 8; max 1x3x3" in out  # Table A.1
    assert "| training, time | 0.92 | 121h / 131h |" in out and "| memory of a clip | 0.81 | 208 / 256 |" in out


@pytest.mark.slow
def test_rows_go_on_where_they_were_stopped_and_share_weights(configs, argv, tmp_path, monkeypatch, capsys):
    real, seen = runner.train_and_test, []

    def stopped_in_the_third(cfg, rank):
        seen.append((cfg.SGS.ENABLE, cfg.SGS.NUM_BINS, cfg.SGS.TEST_NUM_BINS, cfg.TRAIN.ENABLE))
        if len(seen) == 3:
            raise KeyboardInterrupt
        return real(cfg, rank)

    monkeypatch.setattr(runner, "train_and_test", stopped_in_the_third)
    assert main(configs, argv("A.3,A.4")) == INTERRUPTED
    assert main(configs, argv("A.3,A.4")) == 0
    trained = [(False, [-1], [], True), *((True, [bins], [], True) for bins in (8, 4, 2, 1))]
    tested = [(True, [8], [bins], False) for bins in (8, 4, 2, 1)]
    assert seen[:3] + seen[3:] == trained[:3] + trained[2:] + tested  # the third one twice
    out = tmp_path / "out"
    data = json.loads((out / "tables.json").read_text())
    assert [len(data[key]) for key in ("A.3", "A.4")] == [5, 4]
    for row in data["A.3"] + data["A.4"]:
        (final,) = stats_of(out / row["output"].rpartition("/")[2], "test_final")
        assert row["mean"]["gflops_per_clip"] == pytest.approx(final["gflops_per_clip"], rel=1e-4)
        assert row["mean"]["top1_acc"] == float(final["top1_acc"])
        assert f"{float(final['top1_acc']):.1f} | {float(final['top5_acc']):.1f} |" in (out / "tables.md").read_text()
    assert data["A.3"][0]["published"] == {} and data["A.4"][3]["published"]["top5"] == 75.1
    full, same = data["A.3"][1]["mean"], data["A.4"][0]["mean"]  # B = T in training and at test
    assert {**full, "clips_per_second": 0} == {**same, "clips_per_second": 0}
    text = (out / "tables.md").read_text()
    assert text in capsys.readouterr().out
    assert (out / "table_A.3.png").stat().st_size > 10_000
    assert main(configs, argv("A.3")) == 0 and len(seen) == 10  # all done


def test_given_weights_are_tested(configs, argv, tmp_path, monkeypatch):
    thin = ["X3D.WIDTH_FACTOR", "1.0", "X3D.DEPTH_FACTOR", "0.4", "X3D.DIM_C5", "64"]
    monkeypatch.setitem(TABLES, "A.6", replace(TABLES["A.6"], rows=TABLES["A.6"].rows[:1]))
    assert main(configs, argv("A.6", *thin)) == 0
    weights = tmp_path / "out" / "X3D_S" / "checkpoints" / "checkpoint_epoch_00001.pyth"
    monkeypatch.setattr(runner, "train", None, raising=False)
    given = ["--out", str(tmp_path / "other"), "--checkpoint", "X3D-S", str(weights)]
    assert main(configs, [*argv("A.6", *thin), *given]) == 0
    ours, theirs = (
        json.loads((tmp_path / name / "tables.json").read_text())["A.6"][0]["mean"] for name in ("other", "out")
    )
    assert ours["top1_acc"] == theirs["top1_acc"]
    assert not (tmp_path / "other" / "X3D_S" / "checkpoints").exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--tables", "A.9"], "there is no table 'A.9'; choose from A.1"),
        (["--checkpoint", "X3D", "x.pyth"], "--checkpoint 'X3D': choose a row from '3DResNet-18'"),
        (["--only", "UCF102"], "--only 'UCF102': no row of these tables"),
        (["--gflops-only", "--data", "."], "--gflops-only needs no --data"),
    ],
)
def test_wrong_arguments_are_reported(configs, capsys, more, words):
    with pytest.raises(SystemExit) as error:
        main(configs, more)
    assert error.value.code == 2 and words in capsys.readouterr().err


def test_a_folder_without_lists_is_reported(configs, argv, tmp_path, capsys):
    assert main(configs, argv("A.3", data=tmp_path)) == 1
    assert f"error: cannot read the list {tmp_path / 'train.csv'}" in capsys.readouterr().err


@pytest.mark.slow
def test_rows_can_be_chosen_and_each_is_the_mean_of_its_splits(repo, configs, tmp_path, monkeypatch):
    ucf101 = write_ucf101(tmp_path / "ucf101")
    given = SMALL | {"DATA.PATH_TO_DATA_DIR": ucf101, "DATA.PATH_PREFIX": ucf101 / "UCF-101", "NUM_GPUS": 0}
    pairs = [word for key, value in given.items() for word in (key, str(value))]
    assert main(configs, ["--tables", "A.5", "--only", "UCF101", "--out", str(tmp_path / "out"), *pairs]) == 0
    data = json.loads((tmp_path / "out" / "tables.json").read_text())["A.5"]
    assert [row["name"] for row in data] == ["UCF101, 3DResNet-50", "UCF101, 3DResNet-50 + ATFR"]
    for row in data:
        accuracies = [float(split["top1_acc"]) for split in row["splits"]]
        assert len(accuracies) == 3 and row["mean"]["top1_acc"] == pytest.approx(sum(accuracies) / 3)


def test_what_a_later_row_lacks_is_reported_before_anything_runs(configs, argv, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runner, "train_and_test", lambda *_: pytest.fail("something ran"))
    of_ucf101 = ["TRAIN.DATASET", "ucf101", "TEST.DATASET", "ucf101"]
    assert main(configs, argv("A.3,A.5", *of_ucf101)) == 1
    assert "error: " in capsys.readouterr().err


def test_missing_gpus_are_one_error(configs, argv, capsys):
    assert main(configs, argv("A.3", "NUM_GPUS", "64", "TRAIN.BATCH_SIZE", "64", "TEST.BATCH_SIZE", "64")) == 1
    assert "error: NUM_GPUS is 64, this machine has" in capsys.readouterr().err


@pytest.mark.slow
def test_a_killed_series_goes_on(repo, argv, tmp_path):
    """SIGKILL while the second row trains: the first is not run again, and the table comes out."""
    command = [sys.executable, str(repo / "tools/reproduce_tables.py"), *argv("A.3", "SOLVER.MAX_EPOCH", "4")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    first, second = tmp_path / "out/3DResNet_18/result.json", tmp_path / "out/3DResNet_18___ATFR__B___T/stdout.log"
    deadline = time.monotonic() + 300
    while not (second.exists() and "train_epoch" in second.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = first.stat().st_mtime_ns
    assert not (tmp_path / "out/tables.md").exists()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert first.stat().st_mtime_ns == before
    assert len(json.loads((tmp_path / "out/tables.json").read_text())["A.3"]) == 5
