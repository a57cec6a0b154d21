"""One training run: everything that the loop works on, built once."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from slowfast_atfr.analysis import count_macs, model_summary
from slowfast_atfr.config import PATHWAY_NAMES, num_pathways
from slowfast_atfr.datasets.loader import Batch, Loader, build_loader
from slowfast_atfr.datasets.transform import pathways
from slowfast_atfr.engine.losses import loss_from
from slowfast_atfr.engine.optimizer import build_optimizer
from slowfast_atfr.models import build_model
from slowfast_atfr.sgs import count_active
from slowfast_atfr.utils.distributed import RankInfo

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """A training run of one process."""

    cfg: CfgNode
    rank: RankInfo
    network: nn.Module  # bare: its state dict is the checkpoint's
    model: nn.Module  # what is called: the network, under DDP where there are several processes
    optimizer: torch.optim.Optimizer
    loss: Callable[[Tensor, Tensor], Tensor]
    train_loader: Loader
    val_loader: Loader


def build_run(cfg: CfgNode, rank: RankInfo) -> Run:
    """Loaders first, so that a wrong path is told before the network is built."""
    train_loader, val_loader = build_loader(cfg, "train", rank), build_loader(cfg, "val", rank)
    network = build_network(cfg, rank)
    optimizer = build_optimizer(network, cfg)
    model = network
    if rank.world_size > 1:
        device_ids = [rank.device.index] if rank.device.type == "cuda" else None
        model = DistributedDataParallel(network, device_ids=device_ids)
    return Run(cfg, rank, network, model, optimizer, loss_from(cfg), train_loader, val_loader)


def build_network(cfg: CfgNode, rank: RankInfo) -> nn.Module:
    """The network on its device; with LOG_MODEL_INFO its structure is logged, and what each layer costs a clip."""
    network = build_model(cfg).to(rank.device)
    if cfg.LOG_MODEL_INFO and rank.rank == 0:
        logger.info("Model:\n%s", network)
        logger.info("Params: %s", f"{sum(parameter.numel() for parameter in network.parameters()):,}")
        _log_summary(cfg)
    return network


def _log_summary(cfg: CfgNode) -> None:
    """Networks of others may do what has no place on the meta device; that is no reason not to train them."""
    try:
        summary = model_summary(cfg)
    except Exception as error:
        text = "%s cannot be summarised without running it: %s: %s"
        logger.warning(text, cfg.MODEL.MODEL_NAME, type(error).__name__, error)
        return
    bins = ", every bin of SGS active" if cfg.SGS.ENABLE else ""
    logger.info("Flops: %s G (a clip of %d pixels%s)", f"{summary.gflops:,.4f}", cfg.DATA.TRAIN_CROP_SIZE, bins)
    logger.info("Layers:\n%s", summary)


def to_inputs(batch: Batch, cfg: CfgNode, device: torch.device) -> list[Tensor]:
    """The pathways' (N, 3, T_p, H, W) float clips of a batch of uint8 frames, normalised on the device."""
    return pathways(batch.frames.to(device, non_blocking=True), cfg)


class Cost:
    """What each clip has cost the network: multiply-adds, and active bins of every SGS layer."""

    def __init__(self, cfg: CfgNode, macs, active) -> None:
        self._single, self._macs, self._active = num_pathways(cfg) == 1, macs, active

    def take(self) -> dict[str, np.ndarray]:
        """(N,) values of each clip of the last forward: gflops_per_clip, and such as active_bins_s2_fast."""
        clips = {"gflops_per_clip": self._macs.take() * 1e-9}
        for layer, bins in self._active.take().items():  # layer: s2_sgs.pathway1
            stage, pathway = layer.removeprefix("module.").split("_sgs.pathway")
            name = f"active_bins_{stage}" if self._single else f"active_bins_{stage}_{PATHWAY_NAMES[int(pathway)]}"
            clips[name] = bins.astype(np.float64)
        return clips


@contextmanager
def watch_cost(network: nn.Module, cfg: CfgNode) -> Iterator[Cost]:
    """Count what the network does for each clip, without waiting for the device."""
    with ExitStack() as stack:
        yield Cost(cfg, stack.enter_context(count_macs(network)), stack.enter_context(count_active(network)))
