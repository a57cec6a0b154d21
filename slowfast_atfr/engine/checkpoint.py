"""Checkpoints: `checkpoints/checkpoint_epoch_00001.pyth` in the output folder, with PySlowFast's keys.

A file holds `epoch` (from 0), `model_state`, `optimizer_state`, `cfg` (as text) and, ours, `rng_state` (of every
process). It is written under another name and renamed when it is complete, so a file of this name is a whole one.
"""

import io
import logging
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn, optim
from torch.nn.parallel import DistributedDataParallel

from slowfast_atfr.config import ConfigError
from slowfast_atfr.utils.distributed import gather_objects, get_rank, get_world_size, on_main
from slowfast_atfr.utils.env import get_rng_state, set_rng_state
from slowfast_atfr.utils.errors import RunError

logger = logging.getLogger(__name__)
FILE_NAME = re.compile(r"checkpoint_epoch_(\d+)\.pyth")
MAX_NAMED = 6  # parameters that a message names
ONLY_WEIGHTS = (
    "To start anew from its weights alone, give it as TRAIN.CHECKPOINT_FILE_PATH with TRAIN.CHECKPOINT_EPOCH_RESET "
    "True, in an OUTPUT_DIR without checkpoints"
)


def is_checkpoint_epoch(cfg: CfgNode, epoch: int) -> bool:
    """Whether a checkpoint is due at the end of this epoch, counted from 0; the last epoch's always is."""
    return epoch + 1 == cfg.SOLVER.MAX_EPOCH or (epoch + 1) % cfg.TRAIN.CHECKPOINT_PERIOD == 0


def is_eval_epoch(cfg: CfgNode, epoch: int) -> bool:
    """Whether the model is evaluated at the end of this epoch, counted from 0; after the last epoch it always is."""
    return epoch + 1 == cfg.SOLVER.MAX_EPOCH or (epoch + 1) % cfg.TRAIN.EVAL_PERIOD == 0


def checkpoint_path(output_dir: str, epoch: int) -> str:
    """File of an epoch; epochs count from 0, files from 1."""
    return os.path.join(output_dir, "checkpoints", f"checkpoint_epoch_{epoch + 1:05d}.pyth")


def save_checkpoint(cfg: CfgNode, model: nn.Module, optimizer: optim.Optimizer, epoch: int) -> str:
    """Write the checkpoint of an epoch (from 0) below OUTPUT_DIR; return its path. A collective; one process writes.

    Raises:
        RunError: if the file cannot be written, on every process; earlier files are then as they were.
    """
    rng_states = gather_objects(get_rng_state())
    path = checkpoint_path(cfg.OUTPUT_DIR, epoch)

    def write() -> str:
        checkpoint = {
            "epoch": epoch,
            "model_state": _unwrapped(model).state_dict(),
            "optimizer_state": optimizer.state_dict(),
            "cfg": cfg.dump(),
            "rng_state": rng_states,
        }
        try:
            _write_atomically(path, checkpoint)
        except OSError as error:
            raise RunError(
                f"cannot write the checkpoint {path}: {error.strerror or error}. The checkpoints written before are as "
                "they were; free some space or choose another OUTPUT_DIR, and start again to go on from the last one"
            ) from error
        return path

    return on_main(write)


def last_checkpoint(output_dir: str) -> str | None:
    """The checkpoint of the highest epoch whose file can be read; None if there is none. A collective.

    Files that cannot be read are warned about.
    Raises:
        ConfigError: if there are files, and none of them can be read.
    """

    def find() -> str | None:
        paths = _checkpoints(output_dir)
        for path in paths:
            try:
                _read(path)
                return path
            except ConfigError as error:
                logger.warning("passing over a damaged checkpoint: %s", error)
        if paths:
            raise ConfigError(
                f"none of the {len(paths)} checkpoint(s) in {os.path.dirname(paths[0])} can be read; "
                "move them away, or choose another OUTPUT_DIR, to start anew"
            )
        return None

    return on_main(find)


def start_from(cfg: CfgNode, model: nn.Module, optimizer: optim.Optimizer) -> int:
    """Load what a training run starts from, and return the epoch, from 0, that it starts with. A collective.

    With TRAIN.AUTO_RESUME that is the newest checkpoint of OUTPUT_DIR; where there is none, TRAIN.CHECKPOINT_FILE_PATH:
    with CHECKPOINT_EPOCH_RESET the weights that fit, at epoch 0, otherwise all of it, at the epoch after its own.
    Raises:
        ConfigError: if a file does not fit, or CHECKPOINT_FILE_PATH is already beyond SOLVER.MAX_EPOCH.
    """
    resumed = last_checkpoint(cfg.OUTPUT_DIR) if cfg.TRAIN.AUTO_RESUME else None
    if resumed is not None:
        return load_checkpoint(resumed, model, optimizer) + 1
    path = cfg.TRAIN.CHECKPOINT_FILE_PATH
    if not path:
        return 0
    if cfg.TRAIN.CHECKPOINT_EPOCH_RESET:
        load_checkpoint(path, model, strict=False)
        return 0
    epoch = load_checkpoint(path, model, optimizer) + 1
    if epoch >= cfg.SOLVER.MAX_EPOCH:
        raise ConfigError(
            f"TRAIN.CHECKPOINT_FILE_PATH is {path!r}, saved after {epoch} epochs, and SOLVER.MAX_EPOCH is "
            f"{cfg.SOLVER.MAX_EPOCH}: nothing is left to train. {ONLY_WEIGHTS}"
        )
    return epoch


def load_for_test(cfg: CfgNode, model: nn.Module) -> str:
    """Load the weights to test and return their path. A collective.

    They are TEST.CHECKPOINT_FILE_PATH, else the newest checkpoint of OUTPUT_DIR, else TRAIN.CHECKPOINT_FILE_PATH.
    Raises:
        ConfigError: if there is none of them, or it does not fit the model.
    """
    path, key = cfg.TEST.CHECKPOINT_FILE_PATH, "TEST.CHECKPOINT_FILE_PATH"
    if not path:
        path, key = last_checkpoint(cfg.OUTPUT_DIR) or cfg.TRAIN.CHECKPOINT_FILE_PATH, "TRAIN.CHECKPOINT_FILE_PATH"
    if not path:
        raise ConfigError(
            f"nothing to test: TEST.CHECKPOINT_FILE_PATH is empty and OUTPUT_DIR ({cfg.OUTPUT_DIR}) holds no checkpoint"
        )
    load_checkpoint(path, model, key=key)
    return path


def load_checkpoint(
    path: str,
    model: nn.Module,
    optimizer: optim.Optimizer | None = None,
    *,
    strict: bool = True,
    key: str = "TRAIN.CHECKPOINT_FILE_PATH",
) -> int:
    """Load a checkpoint of this package or of PySlowFast (.pyth).

    Args:
        path: of the file.
        model: receives the weights; may be wrapped in DistributedDataParallel, as may have been the one saved.
        optimizer: to resume: receives its state, and this process goes back to its random state.
        strict: every weight must be there and fit. Otherwise those that fit are taken, and it is said how many do not.
        key: that the path comes from, for the error of a missing file.
    Returns:
        epoch at whose end it was saved, from 0; a resumed run starts with the next. -1 if the file does not tell.
    Raises:
        ConfigError: if the file is missing or no checkpoint, or its weights (strict: not exactly) are not the model's.
    """
    checkpoint = _read(path, key)
    _load_weights(_unwrapped(model), checkpoint["model_state"], path, strict=strict)
    if optimizer is not None:
        try:
            optimizer.load_state_dict(checkpoint["optimizer_state"])
        except (KeyError, ValueError) as error:
            raise ConfigError(
                f"{path} has no optimizer state that fits this run ({error}); keep to the SOLVER and BN settings that "
                f"it was saved with. {ONLY_WEIGHTS}"
            ) from None
        _go_on_with_rng(checkpoint.get("rng_state", []), path)
    return int(checkpoint.get("epoch", -1))


def _checkpoints(output_dir: str) -> list[str]:
    """Paths of the checkpoints in an output folder, highest epoch first."""
    folder = os.path.join(output_dir, "checkpoints")
    names = [match for match in map(FILE_NAME.fullmatch, os.listdir(folder)) if match] if os.path.isdir(folder) else []
    return [os.path.join(folder, match[0]) for match in sorted(names, key=lambda match: int(match[1]), reverse=True)]


def _write_atomically(path: str, checkpoint: dict[str, Any]) -> None:
    buffer = io.BytesIO()  # first in memory: a full disk is then an OSError of write, and of nothing else
    torch.save(checkpoint, buffer)
    folder, name = os.path.split(path)
    os.makedirs(folder, exist_ok=True)
    temporary = os.path.join(folder, f".{name}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        if os.path.exists(temporary):
            os.remove(temporary)
        raise


def _read(path: str, key: str = "TRAIN.CHECKPOINT_FILE_PATH") -> dict[str, Any]:
    """The content of a checkpoint file, on the CPU; tensors and plain data only, no code is run."""
    if not os.path.isfile(path):
        raise ConfigError(f"{key} is {path!r}, and there is no such file")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file raises about anything
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError(f"{path} cannot be read as a checkpoint: {reason}") from None
    if not isinstance(checkpoint, dict) or "model_state" not in checkpoint:
        found = ", ".join(map(str, checkpoint)) if isinstance(checkpoint, dict) else type(checkpoint).__name__
        raise ConfigError(f"{path} is no checkpoint: it has no model_state, but {found[:200]}")
    return checkpoint


def _load_weights(model: nn.Module, state: Mapping[str, Tensor], path: str, *, strict: bool) -> None:
    own = model.state_dict()
    if state.keys() and all(name.startswith("module.") for name in state):  # saved from within DistributedDataParallel
        state = {name.removeprefix("module."): value for name, value in state.items()}
    missing = [name for name in own if name not in state]
    unexpected = [name for name in state if name not in own]
    misfits = {
        name: f"{name}: {tuple(value.shape)}, here {tuple(own[name].shape)}"
        for name, value in state.items()
        if name in own and value.shape != own[name].shape
    }
    matched = {name: value for name, value in state.items() if name in own and name not in misfits}
    found = (
        f"{len(matched)} of the model's {len(own)} weights match, {len(missing)} are missing{_some(missing)}, "
        f"{len(unexpected)} are unexpected{_some(unexpected)}, "
        f"{len(misfits)} have another shape{_some(misfits.values())}"
    )
    if not matched or (strict and len(matched) < max(len(own), len(state))):
        remedy = f"Does the config fit the file? {ONLY_WEIGHTS}" if matched else "The config must fit the file"
        raise ConfigError(f"the weights of {path} are not those of this model: {found}. {remedy}")
    model.load_state_dict(matched, strict=strict)
    logger.info("loaded %s: %s", path, found)


def _some(names: Iterable[str]) -> str:
    names = list(names)
    more = ", ..." if len(names) > MAX_NAMED else ""
    return f" ({', '.join(names[:MAX_NAMED])}{more})" if names else ""


def _go_on_with_rng(states: list[dict[str, Any]], path: str) -> None:
    if len(states) == get_world_size():
        set_rng_state(states[get_rank()])
    else:
        text = "%s has random states of %d process(es), this run has %d: it goes on with new ones"
        logger.warning(text, path, len(states), get_world_size())


def _unwrapped(model: nn.Module) -> nn.Module:
    return model.module if isinstance(model, DistributedDataParallel) else model
