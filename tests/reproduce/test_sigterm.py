"""Every command that takes long ends soon after SIGTERM, with the exit status of an orderly stop, and goes on later."""

import os
import signal
import time

import pytest

from slowfast_atfr.engine.metrics.meters import TrainMeter
from slowfast_atfr.reproduce.demo import run as demo
from slowfast_atfr.utils.stop import EXIT_STATUS
from tests.processes import Program
from tests.tiny_sets import small_pairs, write_clip, write_ucf101

WITHIN = 30  # seconds


def signalled_when(command, seen, cwd):
    """SIGTERM to a command as soon as something is seen; its exit status and output, and seconds until it ended."""
    process = Program(*command, cwd=cwd)
    try:
        deadline = time.monotonic() + 120
        while not seen() and process.returncode is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        output = "".join(process.communicate(timeout=120))
    finally:
        process.kill()
    return process.returncode, output, time.monotonic() - began


def is_training(folder):
    """A function that says whether an iteration has been logged since this call."""

    def logged():
        return sum(log.read_text().count('"_type": "train_iter"') for log in folder.rglob("stdout.log"))

    before = logged()
    return lambda: logged() > before


@pytest.fixture
def command(repo, tmp_path):
    """The command of a tool on a tiny data set, that trains for as long as it is let."""

    def of(tool):
        videos = write_ucf101(tmp_path / "ucf101") if tool == "run_splits" else tmp_path / "videos"
        if tool != "run_splits":
            videos.mkdir()
            for label in range(6):
                write_clip(videos / f"{label}.mp4", label=label % 3, frames=30)
            for name in ("train.csv", "val.csv"):
                (videos / name).write_text("".join(f"{label}.mp4 {label % 3}\n" for label in range(6)))
        shared = {"SOLVER__MAX_EPOCH": 10**5, "LOG_PERIOD": 1, "TRAIN__BATCH_SIZE": 2}
        own = {"TRAIN__DATASET": "ucf101", "TEST__DATASET": "ucf101", "OUTPUT_DIR": tmp_path / "out"}
        own |= {"DATA__PATH_TO_DATA_DIR": videos, "DATA__PATH_PREFIX": videos / "UCF-101"}
        pairs = small_pairs(**shared)
        at = pairs.index("MODEL.NUM_CLASSES")  # which the lists tell
        del pairs[at : at + 2]
        more = {
            "run_splits": ["--cfg", "configs/Demo/SLOWFAST_R18_ATFR.yaml", *small_pairs(**shared, **own)],
            "reproduce_tables": ["--tables", "A.3", "--data", str(videos), "--out", str(tmp_path / "out"), *pairs],
            "study_accuracy": ["--data", str(videos), "--out", str(tmp_path / "out"), "--seeds", "0", "--", *pairs],
        }[tool]
        return [repo / "tools" / f"{tool}.py", *more]

    return of


SLOW = [pytest.param(tool, marks=pytest.mark.slow) for tool in ("reproduce_tables", "study_accuracy")]


@pytest.mark.parametrize("tool", ["run_splits", *SLOW])
def test_a_series_of_runs_ends_within_seconds(repo, command, tmp_path, tool):
    argv = command(tool)
    for _ in range(2):  # the second time it goes on from what the first one saved
        status, output, seconds = signalled_when(argv, is_training(tmp_path / "out"), repo)
        assert status == EXIT_STATUS and "the run was interrupted (SIGTERM)" in output, output[-3000:]
        assert seconds < WITHIN and "Traceback" not in output
    assert len(list((tmp_path / "out").rglob("checkpoints"))) == 1


def test_the_demo_ends_while_it_writes_its_videos(repo, tmp_path):
    def begun():
        return len(list((tmp_path / "demo/data/videos").glob("*.mp4"))) > 2

    command = [repo / "tools/demo.py", str(tmp_path / "demo")]
    status, output, seconds = signalled_when(command, begun, tmp_path)
    assert status == EXIT_STATUS and seconds < WITHIN and "start the demo again" in output, output[-3000:]


def test_the_demo_ends_while_it_trains(repo, tmp_path, monkeypatch, capsys):
    def write(folder, write=demo.write_demo_dataset, **_):
        return write(folder, videos_per_class_train=1, videos_per_class_val=1)

    def log_and_stop(self, *args, log=TrainMeter.log_iter_stats):
        os.kill(os.getpid(), signal.SIGTERM)
        return log(self, *args)

    monkeypatch.setattr(demo, "write_demo_dataset", write)
    monkeypatch.setattr(TrainMeter, "log_iter_stats", log_and_stop)
    pairs = ["DATA_LOADER.NUM_WORKERS", "0", "DATA.TRAIN_CROP_SIZE", "32", "DATA.TRAIN_JITTER_SCALES", "[32, 40]"]
    assert demo.run_demo(tmp_path / "demo", repo / "configs/Demo", pairs) == EXIT_STATUS
    assert "the run was interrupted (SIGTERM)" in capsys.readouterr().err
