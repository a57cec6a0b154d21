"""Data sets and loaders: from video files to batches of uint8 clips."""

from slowfast_atfr.datasets.build import DATASET_REGISTRY, build_dataset
from slowfast_atfr.datasets.decoder import DecodeError, VideoInfo, open_video, probe, read_frames
from slowfast_atfr.datasets.hmdb51 import Hmdb51
from slowfast_atfr.datasets.items import Batch, Clip, Skip, Views
from slowfast_atfr.datasets.kinetics import Kinetics
from slowfast_atfr.datasets.loader import build_loader
from slowfast_atfr.datasets.ssv2 import Ssv2
from slowfast_atfr.datasets.ucf101 import Ucf101

__all__ = [
    "DATASET_REGISTRY",
    "Batch",
    "Clip",
    "DecodeError",
    "Hmdb51",
    "Kinetics",
    "Skip",
    "Ssv2",
    "Ucf101",
    "VideoInfo",
    "Views",
    "build_dataset",
    "build_loader",
    "open_video",
    "probe",
    "read_frames",
]
