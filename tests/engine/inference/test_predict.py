"""Predictions for video files: as in a test, window by window, with errors for what cannot be read."""

import csv
import io
import json
import threading
import time

import numpy as np
import pytest
import torch

from slowfast_atfr.config import load_cfg
from slowfast_atfr.datasets.own_videos import OwnVideos
from slowfast_atfr.engine.inference.predict import Prediction, Predictor
from slowfast_atfr.engine.inference.predict_cli import main, times
from slowfast_atfr.engine.test import test as run_test
from slowfast_atfr.models import build_model
from slowfast_atfr.reproduce.benchmarks.data import counted_frames
from slowfast_atfr.utils.distributed import RankInfo
from tests.covering import every_pair
from tests.datasets.conftest import HEIGHT, WIDTH, read_number, write_numbered
from tests.processes import Program
from tests.tiny_sets import small_pairs, write_clip

CONFIG = "configs/Demo/SLOWFAST_R18_ATFR.yaml"
LENGTHS = {"a.mp4": 10, "b.mp4": 30, "deeper/c.mkv": 17}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for label, (name, frames) in enumerate(LENGTHS.items()):
        write_clip(folder / name, label=label, frames=frames)
    return folder


@pytest.fixture(scope="module")
def weights(repo, tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "weights.pyth"
    model = build_model(load_cfg(str(repo / CONFIG), small_pairs(BN__NORM_TYPE="batchnorm")))
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    torch.nn.init.normal_(model.head.projection.weight)
    torch.save({"model_state": model.state_dict()}, path)
    return str(path)


@pytest.fixture
def make_cfg(repo, weights, tmp_path):
    def make(**changes):
        places = {"NUM_GPUS": 0, "OUTPUT_DIR": tmp_path, "TEST__CHECKPOINT_FILE_PATH": weights}
        return load_cfg(str(repo / CONFIG), small_pairs(**places | changes))

    return make


@pytest.fixture
def argv(repo, weights):
    return ["--cfg", str(repo / CONFIG), "--checkpoint", weights, "--opts", *small_pairs()]


@pytest.mark.parametrize("method", ["sum", "max"])
def test_scores_are_those_of_a_test(make_cfg, folder, tmp_path, method):
    (tmp_path / "test.csv").write_text("".join(f"{name} 0\n" for name in LENGTHS))
    where = {"TEST__DATASET": "kinetics", "DATA__PATH_TO_DATA_DIR": tmp_path, "DATA__PATH_PREFIX": folder}
    views = {"TEST__NUM_ENSEMBLE_VIEWS": 2, "TEST__NUM_SPATIAL_CROPS": 3, "DATA__ENSEMBLE_METHOD": method}
    cfg = make_cfg(**where, **views, TEST__SAVE_RESULTS_PATH="results.json")
    run_test(cfg, RankInfo(0, 1, 0, 1, torch.device("cpu")))
    expected = json.loads((tmp_path / "results.json").read_text())
    found = list(Predictor(cfg)([str(folder / name) for name in LENGTHS]))
    videos = expected["videos"] if isinstance(expected, dict) else expected
    for prediction, row in zip(found, videos, strict=True):
        ours, theirs = prediction.scores / prediction.scores.sum(), np.array(row["scores"])
        np.testing.assert_allclose(ours, theirs / theirs.sum(), atol=1e-4)
        assert prediction.cost["gflops_per_clip"] == pytest.approx(row["gflops_per_clip"], rel=1e-4)
        assert prediction.num_clips == 6
    assert [prediction.start for prediction in found] == [0, 0, 0]
    assert [prediction.end for prediction in found] == [0.9, 1.9, 1.2]  # of the second window; 10 frames a second


def test_the_command_sets_malloc_and_a_predictor_does_not(make_cfg, argv, folder, malloc_settings):
    assert list(Predictor(make_cfg())([str(folder / "a.mp4")])) and not malloc_settings
    assert main([str(folder / "a.mp4"), *argv]) == 0 and malloc_settings


def test_windows_go_along_a_video_and_each_is_as_alone(make_cfg, folder):
    predictor = Predictor(make_cfg(TEST__DATASET="kinetics"))  # clips of 8 frames
    windows = list(predictor([str(folder / "b.mp4")], stride=0.4))
    assert [round(window.start, 6) for window in windows] == [0, 0.4, 0.8, 1.2, 1.6, 2.0]
    assert [round(window.end - window.start, 6) for window in windows] == [0.8] * 6
    (first,) = predictor([str(folder / "b.mp4")], stride=100)
    np.testing.assert_allclose(first.scores, windows[0].scores, atol=1e-5)
    assert len({window.scores.tobytes() for window in windows}) == 6
    (short,) = predictor([str(folder / "a.mp4")], stride=5)
    assert (short.start, short.end) == (0, 0.8)


def test_the_span_is_that_of_the_frames_in_every_form(argv, folder, tmp_path, capsys):
    told = {}
    for form in ("table", "csv", "json"):
        options = ["--format", form, *argv, "TEST.DATASET", "kinetics", "TEST.NUM_ENSEMBLE_VIEWS", "1"]
        assert main([str(folder / "b.mp4"), *options]) == 0
        told[form] = capsys.readouterr().out
    (row,), (line,) = json.loads(told["json"]), csv.DictReader(io.StringIO(told["csv"]))
    assert min(row["decoding_seconds_per_clip"], row["seconds_per_clip"]) > 0 and "decoding ms" in told["table"]
    assert (row["start"], row["end"]) == (0, 0.8) == (float(line["start"]), float(line["end"]))  # of 3 s
    assert "0.0 to 0.8" in told["table"]


@pytest.fixture
def looked_at(monkeypatch):
    """A list that receives the frames (V, T, H, W, 3) that go through the network."""
    seen, scores = [], Predictor._scores
    monkeypatch.setattr(Predictor, "_scores", lambda self, frames: seen.append(frames.numpy()) or scores(self, frames))
    return seen


CONTAINERS, STRIDES = ["a.mp4", "a.mkv", "a.mov", "a.nut", "a.flv", "a.ts"], [None, 20.3]
PAUSE = np.r_[np.arange(0, 3000, 33), 603_000 + np.arange(0, 3000, 33)]  # ms: ten minutes between 3 s and 3 s
FASTER = np.r_[np.arange(0, 60_000, 1000), 60_000 + np.arange(0, 10_000, 33)]  # 60 s of 1 fps, 10 s of 30 fps


@pytest.mark.parametrize(
    ("name", "rate", "stride"),
    [  # each container once; then each of them with each rate and each stride
        ("a.mp4", "pause", 20.3),
        ("a.mkv", "faster", 20.3),
        ("a.mov", "faster", None),
        ("a.nut", "pause", None),
        ("a.flv", "pause", 20.3),
        ("a.ts", "faster", 20.3),
        *[pytest.param(*case, marks=pytest.mark.slow) for case in every_pair(CONTAINERS, ["pause", "faster"], STRIDES)],
    ],
)
def test_times_of_a_variable_rate_are_those_that_the_pictures_show(make_cfg, tmp_path, looked_at, name, rate, stride):
    pts = {"pause": PAUSE, "faster": FASTER}[rate]
    options = {"preset": "ultrafast", "g": "40", "bf": "2"}
    path = write_numbered(tmp_path / name, count=len(pts), pts=pts, options=options, fps=1000 if name == "a.ts" else 30)
    whole = {"DATA__TEST_CROP_SIZE": HEIGHT, "TEST__NUM_SPATIAL_CROPS": 3, "TEST__NUM_ENSEMBLE_VIEWS": 3}
    cfg = make_cfg(TEST__DATASET="kinetics", **whole)
    predictions = list(Predictor(cfg)([str(path)], stride))
    clips = np.concatenate([views.reshape(-1, 3, *views.shape[1:]) for views in looked_at])
    left, right = clips[:, 0], clips[:, 2]  # the crops that show the number's lower and higher digits
    missing = WIDTH - 2 * HEIGHT
    between = clips[:, 1][..., (HEIGHT - missing) // 2 : (HEIGHT + missing) // 2, :]
    frames = np.concatenate([left, between, right], axis=3)
    numbers = np.array([[read_number(frame) for frame in clip] for clip in frames])
    times = pts[numbers] / 1000  # (clips, T)
    seconds = cfg.DATA.NUM_FRAMES * cfg.DATA.SAMPLING_RATE / cfg.DATA.TARGET_FPS
    spans = [(times.min(), times.max())] if stride is None else zip(times.min(1), times.max(1), strict=True)
    for prediction, (first, last) in zip(predictions, spans, strict=True):
        assert prediction.start == pytest.approx(first, abs=0.002) and last < prediction.end <= last + 0.1
    starts = np.arange(len(times)) * (stride or (pts[-1] / 1000 - seconds) / 3)
    assert len(times) == (3 if stride is None else int((pts[-1] / 1000 + 0.034 - seconds) / stride) + 1)
    for clip, start in zip(numbers, starts, strict=True):
        moments = np.linspace(start, start + seconds - 1 / cfg.DATA.TARGET_FPS, cfg.DATA.NUM_FRAMES)
        shown = np.searchsorted(pts / 1000, moments, side="right") - 1
        assert np.abs(clip - shown).max() <= 1 and (np.diff(clip) >= 0).all()


MORE_CONTAINERS = [pytest.param(name, marks=pytest.mark.slow) for name in ("a.mkv", "a.mpg")]


@pytest.mark.parametrize("name", ["a.avi", "a.mp4", "a.ts", "a.h264", *MORE_CONTAINERS])
def test_windows_take_one_pass_over_any_container(make_cfg, tmp_path, monkeypatch, name):
    codec = {"avi": "mpeg4", "mpg": "mpeg1video"}.get(name.rpartition(".")[2], "libx264")
    path = write_clip(tmp_path / name, frames=200, codec=codec, fps=25)
    monkeypatch.setattr("slowfast_atfr.datasets.decoding.pyav_video.KEPT_BYTES", 0)
    predictor = Predictor(make_cfg(TEST__DATASET="kinetics", DATA__TARGET_FPS=25))
    with counted_frames() as count:
        windows = list(predictor([str(path)], stride=0.2))
    assert len(windows) == 39 and not any(window.error for window in windows)
    assert windows[-1].end == pytest.approx(windows[-1].start + 8 / 25) == pytest.approx(7.92)
    assert count[0] <= 200


def test_videos_are_decoded_beside_the_network(make_cfg, folder, monkeypatch):
    """The network works on a video until the next ones, as many as there are threads, are being decoded."""
    begun, lock = [], threading.Condition()
    look, scores, waited = OwnVideos.read_views, Predictor._scores, []

    def look_and_tell(self, index):
        with lock:
            begun.append(self.path(index))
            lock.notify_all()
        return look(self, index)

    def wait_and_score(self, frames):
        waited.append(None)
        with lock:
            assert lock.wait_for(lambda: len(begun) >= min(len(waited) + 2, len(paths)), 20)
        return scores(self, frames)

    monkeypatch.setattr(OwnVideos, "read_views", look_and_tell)
    monkeypatch.setattr(Predictor, "_scores", wait_and_score)
    monkeypatch.setattr("slowfast_atfr.engine.inference.predict.num_workers", lambda wanted, processes: min(wanted, 2))
    paths = [str(folder / name) for name in LENGTHS] * 2
    found = list(Predictor(make_cfg(DATA_LOADER__NUM_WORKERS=8))(paths))
    assert [prediction.path for prediction in found] == paths and len(waited) == len(paths)
    for first, again in zip(found[:3], found[3:], strict=True):
        np.testing.assert_array_equal(first.scores, again.scores)


@pytest.mark.parametrize("stride", [None, 0.4])
def test_decoding_and_network_are_timed_apart(make_cfg, folder, monkeypatch, stride):
    look, read_windows, scores = OwnVideos.read_views, OwnVideos.read_windows, Predictor._scores

    def slowly(self, index):
        time.sleep(0.1)
        return look(self, index)

    def slowly_along(self, index, stride):
        time.sleep(0.1)
        yield from read_windows(self, index, stride)

    monkeypatch.setattr(OwnVideos, "read_views", slowly)
    monkeypatch.setattr(OwnVideos, "read_windows", slowly_along)
    predictor, path = Predictor(make_cfg(TEST__DATASET="kinetics")), str(folder / "b.mp4")
    predictions = list(predictor([path], stride))
    assert sum(prediction.decoding * prediction.num_clips for prediction in predictions) >= 0.1
    monkeypatch.setattr(Predictor, "_scores", lambda self, frames: (*scores(self, frames)[:2], 5.0))
    slow = list(predictor([path], stride))
    assert {prediction.seconds for prediction in slow} == {5.0} and max(p.decoding for p in slow) < 5


def test_times_of_all_are_told_in_a_line():
    some = [Prediction("a.mp4", num_clips=2, seconds=0.5, decoding=0.25), Prediction("b.mp4", error="damaged")]
    assert times(some, 1.2) == "2 video(s), 2 clip(s) in 1.20 s: network 1.00 s, decoding 0.50 s in parallel"
    assert times(some[:1], 1.6) == "1 video(s), 2 clip(s) in 1.60 s: network 1.00 s, decoding 0.50 s"


def test_windows_of_a_video_with_fewer_frames_than_packets(make_cfg, real_clips):
    path = str(real_clips / "originals" / "ut_interaction_set1_22_4_3.avi")  # 83 and 81, of 30 a second
    windows = list(Predictor(make_cfg(TEST__DATASET="kinetics", DATA__TARGET_FPS=30))([path], stride=0.1))
    assert [round(window.start * 30) for window in windows] == list(range(0, 74, 3))
    assert windows[-1].end <= 81 / 30


def test_folded_norms_give_the_same_scores(make_cfg, folder):
    paths = [str(folder / name) for name in LENGTHS]
    plain, folded = (Predictor(make_cfg(TEST__FOLD_NORMS=value)) for value in (False, True))
    norms = [name for name, layer in folded.network.named_modules() if "Norm3d" in type(layer).__name__]
    assert not norms
    for ours, theirs in zip(folded(paths), plain(paths), strict=True):
        np.testing.assert_allclose(ours.scores, theirs.scores, rtol=1e-4, atol=1e-5)


def test_what_cannot_be_read_is_told_and_the_rest_goes_on(argv, folder, tmp_path, capsys):
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    videos = [str(tmp_path / "bad.mp4"), str(folder), str(tmp_path / "none.mp4")]
    for more in ([], ["--stride", "1"]):
        assert main([*videos, "--format", "json", *more, *argv]) == 1
        out, err = capsys.readouterr()
        rows = json.loads(out)
        assert len({row["video"] for row in rows}) == 5
        assert [row["video"] for row in rows if "error" in row] == [videos[0], videos[2]]
        lines = [line for line in err.splitlines() if "error: " in line]
        assert len(lines) == 2 and videos[0] in lines[0] and videos[2] in lines[1]
    assert main([str(folder), *argv]) == 0


def test_every_form_tells_the_same(argv, folder, tmp_path, capsys):
    names = tmp_path / "names.json"
    names.write_text('{"up": 2, "left": 0, "down": 1}')
    told = {}
    for form in ("table", "csv", "json"):
        output = tmp_path / f"out.{form}"
        assert main([str(folder), "--classes", str(names), "--format", form, "--output", str(output), *argv]) == 0
        assert capsys.readouterr().out == ""
        told[form] = output.read_text()
    rows, lines = json.loads(told["json"]), list(csv.DictReader(io.StringIO(told["csv"])))
    table = told["table"].splitlines()[1:]
    assert len(rows) == len(lines) == len(table) == 3
    for row, line, text in zip(rows, lines, table, strict=True):
        assert row["video"] == line["video"] and row["video"] in text
        assert [entry["class"] for entry in row["top"]] == [line[f"class{n}"] for n in (1, 2, 3)]
        assert {entry["class"] for entry in row["top"]} == {"left", "down", "up"}
        assert sum(entry["percent"] for entry in row["top"]) == pytest.approx(100, abs=0.1)
        assert float(line["active_bins_s2_fast"]) == row["active_bins_s2_fast"] >= 1
        assert f"{row['top'][0]['class']} {row['top'][0]['percent']:.1f}%" in text


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--opts", "MODEL.NUM_CLASSES", "4"], "head.projection"),
        (["--checkpoint", "gone.pyth"], "no such file"),
        (["--classes", "gone.txt"], "cannot read the names of the classes in gone.txt"),
        (["--opts", "NO.SUCH", "1"], "NO.SUCH"),
    ],
)
def test_what_keeps_all_from_being_predicted_is_one_error(argv, folder, capsys, more, words):
    if more[0] == "--opts":
        arguments = [*argv, *more[1:]]
    else:
        arguments = [*argv[: argv.index("--opts")], *more, *argv[argv.index("--opts") :]]
    assert main([str(folder), *arguments]) == 2
    err = capsys.readouterr().err
    assert err.count("error: ") == 1 and words in err


def test_a_folder_without_videos_is_told(argv, tmp_path, capsys):
    assert main([str(tmp_path), *argv]) == 2
    assert f"there is no video below {tmp_path}" in capsys.readouterr().err


def test_the_originals(repo, argv):
    """Files as they come: each is predicted, or one line says why it is not."""
    originals = repo.parent / "shared/data/real_clips/originals"
    if not originals.is_dir():
        pytest.skip("no real clips beside the project")
    done = Program(repo / "tools/predict.py", str(originals), "--format", "json", *argv, cwd=repo)
    told, err = done.communicate(timeout=120)
    rows = json.loads(told)
    assert len(rows) == len([path for path in originals.iterdir() if path.is_file()])
    assert [row["video"].rpartition("/")[2] for row in rows if "error" in row] == ["corrupted.mp4"]
    assert done.returncode == 1 and "Traceback" not in err
