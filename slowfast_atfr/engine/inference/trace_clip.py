"""Run one clip of a video through a trained network and record what every SGS layer does to it."""

import os
from collections.abc import Sequence

import numpy as np
import torch

from slowfast_atfr.analysis import model_summary
from slowfast_atfr.analysis.merging import ClipMerging, LayerMerging
from slowfast_atfr.config import ConfigError
from slowfast_atfr.datasets.decoder import DecodeError, use_video
from slowfast_atfr.datasets.own_videos import OwnVideos
from slowfast_atfr.engine.inference.predict import Predictor
from slowfast_atfr.engine.run import watch_cost
from slowfast_atfr.models.inputs import pathways
from slowfast_atfr.packed import unpack
from slowfast_atfr.sgs import SGS, TemporalSampler, record
from slowfast_atfr.sgs.pathways import PathwaySGS
from slowfast_atfr.utils.errors import RunError

CHANNELS = 4  # as in the supplement's Figure A.1


def trace_clip(predictor: Predictor, path: str, classes: Sequence[str], start: float | None = None) -> ClipMerging:
    """Return what SGS does to one clip.

    Args:
        predictor: of a network with SGS.
        path: of the video.
        classes: names of the classes.
        start: of the clip in seconds; None: the middle of the video, or all of it for Something-Something.
    Raises:
        ConfigError: if the network has no SGS, or the video ends before start.
        RunError: if the video cannot be read.
    """
    cfg, network = predictor.cfg, predictor.network
    if not any(isinstance(layer, PathwaySGS) for layer in network.modules()):
        raise ConfigError(f"the network of this config has no SGS (SGS.ENABLE is {cfg.SGS.ENABLE}): nothing is merged")
    single = cfg.clone()
    single.defrost()
    single.TEST.NUM_ENSEMBLE_VIEWS = single.TEST.NUM_SPATIAL_CROPS = 1
    single.DATA.USE_OFFSET_SAMPLING = True  # the middle
    try:
        seconds = use_video(path, lambda video: video.timeline.seconds)
        if start is not None and start >= seconds:
            raise ConfigError(f"{path} ends after {seconds:.2f} s, before the start at {start:g} s")
        seen_clip = OwnVideos(single, [path], start).read_views(0)
    except DecodeError as error:
        raise RunError(f"{path}: {error.reason}") from None
    frames = seen_clip.views[0]
    seen: dict[str, tuple[np.ndarray, ...]] = {}
    handles = [
        layer.register_forward_hook(lambda module, args, out, name=name: seen.update(_maps(name, module, args[0], out)))
        for name, layer in network.named_modules()
        if isinstance(layer, PathwaySGS)
    ]
    try:
        with torch.inference_mode(), record(network) as log, watch_cost(network, cfg) as cost:
            scores = network(pathways(frames[None].to(predictor.device), cfg))[0].float().cpu().numpy()
            gflops = float(cost.of_last_batch()["gflops_per_clip"][0])
    finally:
        for handle in handles:
            handle.remove()
    layers = dict(network.named_modules())
    merged = [
        LayerMerging(name, clips[0], _frames_of(len(clips[0].block), len(frames)),
                     _num_bins(layers[name], clips[0].block), *seen[name])
        for name, clips in log.layers.items()
    ]  # fmt: skip
    best = tuple((classes[index], float(scores[index])) for index in scores.argsort()[::-1][:3])
    dense = model_summary(cfg, crop=frames.shape[1]).gflops
    span = seen_clip.spans[0].tolist()
    return ClipMerging(os.path.basename(path), *span, frames.numpy(), best, gflops, dense, tuple(merged))


def _maps(name: str, layer: PathwaySGS, before: Sequence, after: Sequence) -> dict[str, tuple[np.ndarray, ...]]:
    """Return maps, merged, channels, merged_channels of `LayerMerging` of the first clip, by sampled pathway."""
    seen = {}
    for p in layer.sampled:
        clips = [unpack(part[p])[0].float() for part in (before, after)]
        parts = [*(clip.mean(0) for clip in clips), *(clip[:CHANNELS].clone() for clip in clips)]
        seen[f"{name}.pathway{p}"] = tuple(part.cpu().numpy() for part in parts)
    return seen


def _frames_of(maps: int, frames: int) -> np.ndarray:
    """Return (maps,) the frame of the clip that each map belongs to, as the slow pathway takes its frames."""
    return np.linspace(0, frames - 1, maps).astype(int)


def _num_bins(layer: TemporalSampler, block: np.ndarray) -> tuple[int, ...]:
    """Return B of each block; () if the layer has no bins."""
    if not isinstance(layer, SGS):
        return ()
    lengths = np.bincount(block)
    return tuple(int(length if layer.test_num_bins == -1 else layer.test_num_bins) for length in lengths)
