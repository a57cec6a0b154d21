"""The tables of the paper's supplement as runs of this package, with all published figures.

Source: Fayyaz et al., 3D CNNs with Adaptive Temporal Feature Resolutions, CVPR 2021, supplement, Tables A.1 to A.6.
Figures are strings as printed. Fields with derived figures or our own counts say so.
"""

import os
import sys
from dataclasses import dataclass, field

from slowfast_atfr.datasets.kinetics import read_video_list

VIEWS = ("TEST.NUM_ENSEMBLE_VIEWS", "TEST.NUM_SPATIAL_CROPS")


@dataclass(frozen=True)
class Row:
    """A row of a table: a network, trained and tested.

    name: our name of the network.
    config: file in configs/.
    bins: number of bins / maps of the clip; None without SGS, or as in the config.
    test_bins: the same, at test only.
    weights: name of a row of any table whose weights are tested; "": train.
    top1, top5: published accuracy in per cent, as printed; "": none.
    gflops: published multiply-adds x 1e-9 of a clip, as printed, since its digits show the rounding.
    """

    name: str
    config: str
    bins: float | None = None
    test_bins: float | None = None
    weights: str = ""
    top1: str = ""
    top5: str = ""
    gflops: str = ""


@dataclass(frozen=True)
class Table:
    """A table of the supplement.

    key: such as A.3.
    title: what is compared.
    rows: networks to train or test; none in A.1 and A.2.
    splits: whether each row is the mean over the official splits of its data set.
    counted_gflops: our count for a clip with all maps; published costs are reported as shares of it.
    printed: the table as printed, header first, if it has more than the rows.
    ratios: by name, two published figures to divide, with SGS first.
    """

    key: str
    title: str
    rows: tuple[Row, ...] = ()
    splits: bool = False
    counted_gflops: float = 0.0
    printed: tuple[tuple[str, ...], ...] = ()
    ratios: dict[str, tuple[str, str]] = field(default_factory=dict)


R18, X3D = "Mini_Kinetics/3DRESNET18", "Mini_Kinetics/X3D_S"
FULL = "3DResNet-18 + ATFR, B = T"
A1 = Table(
    "A.1",
    "the architecture of 3DResNet-18; SGS follows res2",
    printed=(
        ("stage", "layer", "output size"),
        ("raw", "-", "32x244x224"),  # as printed; the 112 x 112 after conv1 imply 224 x 224
        ("conv1", "5x7x7, 8, stride 1, 2, 2", "32x112x112"),
        ("pool1", "1x3x3, max, stride 1, 2, 2", "32x56x56"),
        ("res2", "[3x1x1, 8; 1x3x3, 8; 1x1x1, 32] x 2", "32x56x56"),
        ("res3", "[1x1x1, 64; 1x3x3, 64; 1x1x1, 256] x 2", "32x28x28"),
        ("res4", "[1x1x1, 128; 1x3x3, 128; 1x1x1, 512] x 2", "32x14x14"),
        ("res5", "[3x1x1, 256; 1x3x3, 256; 1x1x1, 1024] x 2", "32x7x7"),
        ("", "global average pool, fc", "1x1x1"),
    ),
)
A2 = Table(
    "A.2",
    "runtime of X3D-S on Kinetics",
    printed=(
        ("Model", "Train", "Inference (fps)"),
        ("X3D-S", "131h", "2834"),
        ("X3D-S+ATFR", "121h", "4295"),
    ),
    ratios={
        "training, time": ("121h", "131h"),
        "inference, fps": ("4295", "2834"),
        "memory of a clip": ("208", "256"),  # from the sentence that batches of 256 instead of 208 fit
        "largest batch": ("256", "208"),
    },
)
A3 = Table(
    "A.3",
    "number of bins in training and at test, 3DResNet-18, Mini-Kinetics",
    (
        Row("3DResNet-18", f"{R18}.yaml"),
        Row(FULL, f"{R18}_ATFR.yaml", 1, top1="69.6", top5="88.8", gflops="14.0"),
        Row("3DResNet-18 + ATFR, B = T/2", f"{R18}_ATFR.yaml", 1 / 2, top1="64.7", top5="86.2", gflops="5.5"),
        Row("3DResNet-18 + ATFR, B = T/4", f"{R18}_ATFR.yaml", 1 / 4, top1="64.7", top5="85.8", gflops="4.2"),
        Row("3DResNet-18 + ATFR, B = T/8", f"{R18}_ATFR.yaml", 1 / 8, top1="61.4", top5="86.3", gflops="3.5"),
    ),
    counted_gflops=18.06,
)
A4 = Table(
    "A.4",
    "number of bins at test only, trained with B = T, 3DResNet-18, Mini-Kinetics",
    (
        Row("3DResNet-18 + ATFR, B = T at test", f"{R18}_ATFR.yaml", 1, 1, FULL, "69.6", "88.8", "14.0"),
        Row("3DResNet-18 + ATFR, B = T/2 at test", f"{R18}_ATFR.yaml", 1, 1 / 2, FULL, "64.4", "85.5", "8.0"),
        Row("3DResNet-18 + ATFR, B = T/4 at test", f"{R18}_ATFR.yaml", 1, 1 / 4, FULL, "61.4", "83.5", "5.0"),
        Row("3DResNet-18 + ATFR, B = T/8 at test", f"{R18}_ATFR.yaml", 1, 1 / 8, FULL, "51.1", "75.1", "3.5"),
    ),
    counted_gflops=18.06,
)
A5 = Table(
    "A.5",
    "UCF101 and HMDB51, mean of three splits, 3DResNet-50",
    (
        Row("UCF101, 3DResNet-50", "UCF101/3DRESNET50.yaml"),
        Row("UCF101, 3DResNet-50 + ATFR", "UCF101/3DRESNET50_ATFR.yaml", top1="97.9", gflops="22.2"),
        Row("HMDB51, 3DResNet-50", "HMDB51/3DRESNET50.yaml"),
        Row("HMDB51, 3DResNet-50 + ATFR", "HMDB51/3DRESNET50_ATFR.yaml", top1="76.7", gflops="23.1"),
    ),
    splits=True,
    counted_gflops=31.27,
    printed=(
        ("model", "backbone", "UCF101", "HMDB51"),
        ("C3D", "RenNet18", "89.8", "62.1"),  # as printed: ResNet18
        ("RGB-I3D", "Inception V1", "95.6", "74.8"),
        ("R(2+1)D", "ResNet50", "96.8", "74.5"),
        ("DynamoNet", "ResNet101", "96.6", "74.9"),
        ("HATNet", "ResNet50", "97.8", "76.5"),
        ("3DResNet+ATFR", "ResNet50", "97.9", "76.7"),
    ),
)
A6 = Table(
    "A.6",
    "SGS against temporal attention, X3D-S, Mini-Kinetics",
    (
        Row("X3D-S", f"{X3D}.yaml", top1="77.9", gflops="1.9"),
        Row("X3D-S + ATFR", f"{X3D}_ATFR.yaml", top1="78.0", gflops="1.1"),
        Row("X3D-S + temporal attention", f"{X3D}_TEMPORAL_ATTENTION.yaml", top1="78.3", gflops="1.9"),
    ),
    counted_gflops=1.96,
)
TABLES = {table.key: table for table in (A1, A2, A3, A4, A5, A6)}

# The recipe for a small data set and a CPU: fewer frames, pixels and epochs, one view of a test video.
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
    """Return keys and values for a folder with train.csv and val.csv, paths relative to it. Raises ConfigError."""
    labels = read_video_list(os.path.join(folder, "train.csv"), separator=" ", num_classes=sys.maxsize)[1]
    where = {"TRAIN.DATASET": "kinetics", "TEST.DATASET": "kinetics", "DATA.PATH_TO_DATA_DIR": folder}
    return where | {"DATA.PATH_PREFIX": folder, "MODEL.NUM_CLASSES": str(max(labels) + 1)}
