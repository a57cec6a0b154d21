"""A data set of tiny videos, where a square moves left (class 0) or right (class 1), and configs that run on it."""

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from slowfast_atfr.config import load_cfg
from slowfast_atfr.engine.checkpoint.save import save_checkpoint
from slowfast_atfr.engine.inference.export_cli import main as export_main
from slowfast_atfr.engine.run_state import RunState
from slowfast_atfr.models import build_model
from slowfast_atfr.utils import env
from tests.engine.foreign_weights import shuffled
from tests.engine.small_run import make_cfg, make_run, step
from tests.tiny_sets import small_pairs


def write_video(path: Path, frames: np.ndarray, fps: int = 10) -> None:
    """frames (T, H, W, 3) uint8 -> an H.264 file."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "10", "preset": "ultrafast"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory) -> Path:
    """12 training and 5 validation videos of 16 frames in 48 x 40, half of each video static."""
    folder, rng = tmp_path_factory.mktemp("tiny"), np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 5)):
        lines = []
        for number in range(count):
            label = number % 2
            frames = rng.integers(0, 60, (1, 40, 48, 3), dtype=np.uint8).repeat(16, 0)
            for t in range(16):
                way = min(2 * t, 16) * (1 if label else -1) + (4 if label else 28)
                frames[t, 10 + number : 20 + number, way : way + 10] = 220
            write_video(folder / f"{split}_{number}.mp4", frames)
            lines.append(f"{split}_{number}.mp4 {label}\n")
        (folder / f"{split}.csv").write_text("".join(lines))
    return folder


@pytest.fixture
def tiny_pairs(tiny_data, tmp_path):
    """KEY VALUE pairs of a small SlowFast with SGS on the tiny data set; OUTPUT_DIR is a folder `out` in tmp_path."""
    settings = {
        "TRAIN.DATASET": "kinetics",
        "TRAIN.BATCH_SIZE": 4,
        "TRAIN.EVAL_PERIOD": 1,
        "TRAIN.CHECKPOINT_PERIOD": 1,
        "TEST.DATASET": "kinetics",
        "TEST.BATCH_SIZE": 4,
        "TEST.NUM_ENSEMBLE_VIEWS": 2,
        "TEST.NUM_SPATIAL_CROPS": 3,
        "DATA.PATH_TO_DATA_DIR": tiny_data,
        "DATA.PATH_PREFIX": tiny_data,
        "DATA.NUM_FRAMES": 8,
        "DATA.SAMPLING_RATE": 2,
        "DATA.TARGET_FPS": 10,
        "DATA.TRAIN_JITTER_SCALES": "[32, 40]",
        "DATA.TRAIN_CROP_SIZE": 32,
        "DATA.TEST_CROP_SIZE": 32,
        "DATA.RANDOM_FLIP": False,
        "MODEL.NUM_CLASSES": 2,
        "MODEL.DROPOUT_RATE": 0.5,
        "SLOWFAST.ALPHA": 4,
        "SLOWFAST.BETA_INV": 4,
        "RESNET.DEPTH": 18,
        "RESNET.WIDTH_PER_GROUP": 8,
        "RESNET.NUM_BLOCK_TEMP_KERNEL": "[[2], [2], [2], [2]]",
        "SGS.ENABLE": True,
        "SGS.BLOCK_SIZE": "[0]",
        "BN.USE_PRECISE_STATS": True,
        "BN.NUM_BATCHES_PRECISE": 2,
        "SOLVER.MAX_EPOCH": 2,
        "SOLVER.BASE_LR": 0.05,
        "DATA_LOADER.NUM_WORKERS": 0,
        "NUM_GPUS": 0,
        "LOG_PERIOD": 1,
        "OUTPUT_DIR": tmp_path / "out",
    }

    def pairs(**changes: object) -> list[str]:
        chosen = settings | {key.replace("__", "."): value for key, value in changes.items()}
        return [text for key, value in chosen.items() for text in (key, str(value))]

    return pairs


@pytest.fixture
def tiny_cfg(tiny_pairs):
    """A validated config from the same pairs; keys with two underscores for the dot override."""

    def load(**changes: object):
        return load_cfg(None, tiny_pairs(**changes))

    return load


def _random_weights(folder: Path, config: str, pairs: list[str]) -> list[str]:
    torch.manual_seed(0)
    network = build_model(load_cfg(config, pairs))
    torch.nn.init.normal_(network.head.projection.weight)
    torch.save({"model_state": network.state_dict()}, folder / "weights.pyth")
    return ["--cfg", config, "--checkpoint", str(folder / "weights.pyth")]


@pytest.fixture(scope="session")
def small_weights(repo, tmp_path_factory):
    """--cfg and --checkpoint of a small SlowFast with SGS, which goes with small_pairs."""
    config = str(repo / "configs/Demo/SLOWFAST_R18_ATFR.yaml")
    return _random_weights(tmp_path_factory.mktemp("weights"), config, small_pairs(BN__NORM_TYPE="batchnorm"))


@dataclass(frozen=True)
class Exported:
    """An ONNX file, what its export printed, --cfg and --checkpoint of its network, and the pairs that go with them.

    counts: names of the outputs with the numbers of maps.
    shapes: of its inputs.
    """

    file: Path
    printed: str
    weights: list[str]
    pairs: list[str]
    counts: list[str]
    shapes: list[tuple[int, ...]]


EXPORTED = {  # one pathway exports faster
    "3DRESNET18": (["active_bins_s2"], [(1, 3, 8, 32, 32)]),
    "SLOWFAST_R18": (["active_bins_s2_slow", "active_bins_s2_fast"], [(1, 3, 2, 32, 32), (1, 3, 8, 32, 32)]),
}


@pytest.fixture(scope="session", params=["3DRESNET18", pytest.param("SLOWFAST_R18", marks=pytest.mark.slow)])
def exported(request, repo, tmp_path_factory):
    """A small network with SGS and names of its classes."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    folder, pairs = tmp_path_factory.mktemp("exported"), small_pairs(SGS__ENABLE=True, BN__NORM_TYPE="batchnorm")
    weights = _random_weights(folder, str(repo / f"configs/Demo/{request.param}.yaml"), pairs)
    (folder / "names.txt").write_text("down\nright\nboth\n")
    file, printed = folder / "net.onnx", io.StringIO()
    with contextlib.redirect_stdout(printed):
        names = ["--classes", str(folder / "names.txt")]
        assert export_main([*weights, *names, "--output", str(file), *pairs]) == 0
    return Exported(file, printed.getvalue(), weights, pairs, *EXPORTED[request.param])


THIN = ["RESNET.WIDTH_PER_GROUP", "16", "DATA.TRAIN_CROP_SIZE", "32", "DATA.TEST_CROP_SIZE", "32", "NUM_GPUS", "0"]


@pytest.fixture
def network(repo):
    """A thin network of a config of configs/Kinetics, all of whose weights and statistics are random."""

    def build(config, *pairs, classes=5):
        path = str(repo / "configs" / "Kinetics" / f"{config}.yaml")
        norm = ["BN.NORM_TYPE", "batchnorm", "MODEL.NUM_CLASSES", str(classes)]
        return shuffled(build_model(load_cfg(path, [*THIN, *norm, *pairs]))).eval()

    return build


@pytest.fixture
def cfg(tmp_path):
    return make_cfg(tmp_path)


@pytest.fixture
def saved(cfg):
    """A run with a checkpoint after its first epoch, and the path of that."""
    net, optimizer = make_run()
    step(net, optimizer)
    return net, optimizer, save_checkpoint(cfg, net, optimizer, 0, RunState())


@pytest.fixture
def malloc_settings(monkeypatch):
    """A list that receives the settings of the C library's allocator that are changed."""
    changes = []
    monkeypatch.setenv(env.HUGE_PAGES, "1")  # set back after the test
    monkeypatch.setattr(env, "_mallopt", changes.append)
    return changes
