"""Testing: scores of every view averaged per video, cost and speed."""

import logging
import os
import time
from typing import Any

import torch
from fvcore.common.config import CfgNode

from slowfast_atfr.datasets.build import build_dataset
from slowfast_atfr.datasets.loader import build_view_loader
from slowfast_atfr.datasets.prefetch import prefetch
from slowfast_atfr.engine.interrupted_test import FinishedVideos, InterruptedTest
from slowfast_atfr.engine.launch.consistency import check_videos
from slowfast_atfr.engine.metrics.meters import progress
from slowfast_atfr.engine.metrics.video_meter import TestMeter
from slowfast_atfr.engine.run import build_for_test, to_inputs, watch_cost
from slowfast_atfr.engine.skips import SkipLog
from slowfast_atfr.engine.step import autocast
from slowfast_atfr.utils.distributed import RankInfo, in_any_process
from slowfast_atfr.utils.env import seed_everything
from slowfast_atfr.utils.precision import allow_tf32

logger = logging.getLogger(__name__)


@torch.inference_mode()
def test(cfg: CfgNode, rank: RankInfo) -> dict[str, Any]:
    """Test the weights that cfg names, or the newest checkpoint of OUTPUT_DIR. A collective.

    Returns:
        the `test_final` figures: top1_acc and top5_acc in percent; gflops_per_clip and active_bins_*, means over all
        views; clips_per_second, views per second through the network over all processes, without data loading.
    Raises:
        Stopped: after SIGTERM or Ctrl-C; a test of the same weights resumes with the remaining videos.
    """
    seed_everything(cfg.RNG_SEED, rank.rank)
    allow_tf32(cfg.ALLOW_TF32, rank.device)
    dataset = build_dataset(cfg.TEST.DATASET, cfg, "test")
    check_videos(dataset, cfg)
    network, weights = build_for_test(cfg, rank)
    names = [dataset.path(index) for index in range(len(dataset))]
    file = InterruptedTest(cfg, weights, names)
    done = file.load()
    loader = build_view_loader(dataset, cfg, rank, done=done.videos.whole if done else ())
    meter, skips, seconds = TestMeter(names, dataset.num_views, len(loader), cfg), SkipLog(), 0.0
    if done is not None and rank.rank == 0:
        meter.restore(*done)
    meter.iter_tic()
    with watch_cost(network, cfg) as cost:
        for iteration, batch in enumerate(prefetch(progress(loader, "test"), rank.device)):
            if rank.stop.requested:
                break
            meter.data_toc()
            skips.add(batch.skipped)
            if batch.frames is not None:
                inputs = to_inputs(batch, cfg, rank.device)
                start = _now(rank.device)
                with autocast(cfg, rank.device):
                    scores = network(inputs)
                seconds += _now(rank.device) - start
                meter.update(
                    scores=scores,
                    labels=batch.labels,
                    videos=batch.index.tolist(),
                    views=batch.view.tolist(),
                    extra=cost.of_last_batch(),
                )
            meter.iter_toc()
            meter.log_iter_stats(iteration)
            meter.iter_tic()
    if in_any_process(rank.stop.requested):
        videos = meter.merged()
        rank.stop.progress |= len(videos.whole) > (len(done.videos.whole) if done else 0)
        file.save(FinishedVideos(videos, meter.value_names()))
        kept = f"{len(videos.whole)} of {len(names)} videos are saved. Start it again by the same command to resume"
        raise rank.stop.stopped("in its test", kept)
    stats = meter.finalize(net_seconds=seconds)
    file.clear()
    if cfg.TEST.SAVE_RESULTS_PATH:
        meter.save_results(os.path.join(cfg.OUTPUT_DIR, cfg.TEST.SAVE_RESULTS_PATH))
    return stats


def _now(device: torch.device) -> float:
    """Return the time in seconds after the device has finished its queue."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
