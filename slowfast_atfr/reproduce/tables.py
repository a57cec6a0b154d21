"""The tables of the paper's supplement as runs of this package, with the figures that are published for them.

Source: Fayyaz et al., 3D CNNs with Adaptive Temporal Feature Resolutions, CVPR 2021, supplement, Tables A.1 to A.6.
Accuracies of A.3 to A.6 are not given here: docs/reproducing.md says which figures these are and where they come from.
"""

import os
import sys
from dataclasses import dataclass, field

from slowfast_atfr.datasets.kinetics import read_video_list

ALL_MAPS = -1  # as SGS.NUM_BINS: as many bins as there are maps
VIEWS = ("TEST.NUM_ENSEMBLE_VIEWS", "TEST.NUM_SPATIAL_CROPS")


@dataclass(frozen=True)
class Row:
    """A row of a table: a network, trained and tested.

    name: as the table has it.
    config: file in configs/.
    bins: share of the clip's maps that SGS has bins; None without SGS, or where the config says it.
    test_bins: the same at test only.
    weights: name of a row of any table whose weights are tested; "" trains its own.
    gflops: published multiply-adds x 1e-9 of a clip, as printed: its digits tell how far it is rounded.
    """

    name: str
    config: str
    bins: float | None = None
    test_bins: float | None = None
    weights: str = ""
    gflops: str = ""


@dataclass(frozen=True)
class Table:
    """What a table shows.

    key: such as A.3.
    title: what is compared.
    rows: networks to train or test; none in A.1 and A.2.
    splits: whether each row is the mean over the official splits of its data set.
    full_gflops: published cost of a clip with all maps.
    facts: other published figures, by what they are of.
    """

    key: str
    title: str
    rows: tuple[Row, ...] = ()
    splits: bool = False
    full_gflops: float = 0.0
    facts: dict[str, float] = field(default_factory=dict)


R18, X3D = "Mini_Kinetics/3DRESNET18", "Mini_Kinetics/X3D_S"
FULL = "3DResNet-18 + ATFR, B = T"
A1 = Table("A.1", "the architecture of 3DResNet-18 with SGS behind res2")
A2 = Table(
    "A.2",
    "runtime of X3D-S, ATFR over base",
    facts={
        "training step, time": 0.92,
        "training step, memory": 0.81,
        "inference, clips/s": 4295 / 2834,
        "largest batch of inference": 256 / 208,
    },
)
A3 = Table(
    "A.3",
    "number of bins in training and at test, 3DResNet-18, Mini-Kinetics",
    (
        Row("3DResNet-18", f"{R18}.yaml", gflops="18.06"),
        Row(FULL, f"{R18}_ATFR.yaml", bins=1, gflops="14.0"),
        Row("3DResNet-18 + ATFR, B = T/2", f"{R18}_ATFR.yaml", bins=1 / 2, gflops="5.5"),
        Row("3DResNet-18 + ATFR, B = T/4", f"{R18}_ATFR.yaml", bins=1 / 4, gflops="4.2"),
        Row("3DResNet-18 + ATFR, B = T/8", f"{R18}_ATFR.yaml", bins=1 / 8, gflops="3.5"),
    ),
    full_gflops=18.06,
)
A4 = Table(
    "A.4",
    "number of bins at test only, trained with B = T, 3DResNet-18, Mini-Kinetics",
    (
        Row("3DResNet-18 + ATFR, B = T at test", f"{R18}_ATFR.yaml", 1, 1, FULL, "14.0"),
        Row("3DResNet-18 + ATFR, B = T/2 at test", f"{R18}_ATFR.yaml", 1, 1 / 2, FULL, "8.0"),
        Row("3DResNet-18 + ATFR, B = T/4 at test", f"{R18}_ATFR.yaml", 1, 1 / 4, FULL, "5.0"),
        Row("3DResNet-18 + ATFR, B = T/8 at test", f"{R18}_ATFR.yaml", 1, 1 / 8, FULL, "3.5"),
    ),
    full_gflops=18.06,
)
A5 = Table(
    "A.5",
    "UCF101 and HMDB51, mean of three splits, 3DResNet-50",
    (
        Row("UCF101, 3DResNet-50", "UCF101/3DRESNET50.yaml"),
        Row("UCF101, 3DResNet-50 + ATFR", "UCF101/3DRESNET50_ATFR.yaml"),
        Row("HMDB51, 3DResNet-50", "HMDB51/3DRESNET50.yaml"),
        Row("HMDB51, 3DResNet-50 + ATFR", "HMDB51/3DRESNET50_ATFR.yaml"),
    ),
    splits=True,
)
A6 = Table(
    "A.6",
    "SGS against temporal attention, X3D-S, Mini-Kinetics",
    (
        Row("X3D-S", f"{X3D}.yaml", gflops="1.96"),
        Row("X3D-S + ATFR", f"{X3D}_ATFR.yaml", gflops="1.09"),
        Row("X3D-S + temporal attention", f"{X3D}_TEMPORAL_ATTENTION.yaml"),
    ),
    full_gflops=1.96,
)
TABLES = {table.key: table for table in (A1, A2, A3, A4, A5, A6)}

# A table's recipe on a small data set and a CPU: fewer frames, pixels and epochs, one view of a test video.
SCALED_DOWN = {
    "DATA.NUM_FRAMES": "16",
    "DATA.SAMPLING_RATE": "3",
    "DATA.USE_OFFSET_SAMPLING": "True",
    "DATA.TRAIN_JITTER_SCALES": "[112, 112]",
    "DATA.TRAIN_CROP_SIZE": "112",
    "DATA.TEST_CROP_SIZE": "112",
    "TRAIN.BATCH_SIZE": "10",
    "TRAIN.EVAL_PERIOD": "1000",
    "TRAIN.CHECKPOINT_PERIOD": "10",
    "TRAIN.MIXED_PRECISION": "True",
    "TRAIN.AMP_DTYPE": "bfloat16",
    "TEST.BATCH_SIZE": "10",
    "TEST.NUM_ENSEMBLE_VIEWS": "1",
    "TEST.NUM_SPATIAL_CROPS": "1",
    "MODEL.DROPOUT_RATE": "0.2",
    "RESNET.ZERO_INIT_FINAL_BN": "False",
    "BN.USE_PRECISE_STATS": "False",
    "SOLVER.OPTIMIZING_METHOD": "adamw",
    "SOLVER.BASE_LR": "0.001",
    "SOLVER.LR_POLICY": "cosine",
    "SOLVER.WEIGHT_DECAY": "0.05",
    "SOLVER.WARMUP_EPOCHS": "0.0",
    "SOLVER.MAX_EPOCH": "60",
    "NUM_GPUS": "0",
    "LOG_PERIOD": "1000",
}


def on_lists(folder: str) -> dict[str, str]:
    """Keys and values for a folder with train.csv and val.csv, paths relative to it. Raises ConfigError."""
    labels = read_video_list(os.path.join(folder, "train.csv"), separator=" ", num_classes=sys.maxsize)[1]
    where = {"TRAIN.DATASET": "kinetics", "TEST.DATASET": "kinetics", "DATA.PATH_TO_DATA_DIR": folder}
    return where | {"DATA.PATH_PREFIX": folder, "MODEL.NUM_CLASSES": str(max(labels) + 1)}
