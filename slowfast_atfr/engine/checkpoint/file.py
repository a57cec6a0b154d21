"""Reading checkpoint files of any origin. The first bytes give the format; no code in a file is run."""

import logging
import os
import re
from dataclasses import dataclass, field
from typing import Any

import torch
import yaml
from fvcore.common.config import CfgNode
from torch import Tensor

from slowfast_atfr.config import ConfigError
from slowfast_atfr.config.config_diff import changed_for_resume
from slowfast_atfr.config.load import flatten
from slowfast_atfr.engine.checkpoint.safe_pickle import PickledArray, load_arrays

logger = logging.getLogger(__name__)
FILE_PATH = "TRAIN.CHECKPOINT_FILE_PATH"
STATE_NAMES = ("model_state", "state_dict", "model")  # key of the weights: PySlowFast's, others'
ZIP = b"PK\x03\x04"  # torch.save since 1.6
LEGACY = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # torch.save's magic number before that
STATE_DICT_ALONE = "if you trust it, load it with torch and save only its state dict"
PICKLES = (b"\x80", b"(", b"}")  # protocol 2 and later; protocols 0 and 1


@dataclass(frozen=True)
class CheckpointFile:
    """The content of a checkpoint file, on the CPU.

    path: of the file.
    kind: pytorch or caffe2.
    weights: by their names in the file.
    rest: the run's other fields, such as epoch, optimizer_state, cfg; empty if there are only weights.
    """

    path: str
    kind: str
    weights: dict[str, Tensor] = field(repr=False)
    rest: dict[str, Any] = field(repr=False)

    @property
    def epoch(self) -> int | None:
        """Last epoch done, from 0; None if the file has none."""
        return self.rest.get("epoch")

    def changes(self, cfg: CfgNode) -> dict[str, str]:
        """Return the keys of training that differ in the file's config and `cfg`; see `changed_for_resume`."""
        try:
            before = yaml.safe_load(self.rest.get("cfg", ""))
        except (yaml.YAMLError, AttributeError):  # not ours
            before = None
        return changed_for_resume(dict(flatten(before)), cfg) if isinstance(before, dict) else {}


def read_checkpoint(path: str, *, key: str = FILE_PATH, expected: str | None = None) -> CheckpointFile:
    """Read a file of torch.save (.pyth, .pth) or of Caffe2 (.pkl).

    Args:
        path: of the file.
        key: of the config that has the path, for messages.
        expected: CHECKPOINT_TYPE; a file of another type gives a warning and is read as what it is.
    Raises:
        ConfigError: if the file is missing, damaged, no checkpoint, or holds more than tensors, arrays and plain data.
    """
    if not os.path.isfile(path):
        raise ConfigError(f"{key} is {path!r}, and there is no such file")
    try:
        kind = _kind(path)
        content = load_arrays(path) if kind == "caffe2" else torch.load(path, map_location="cpu", weights_only=True)
    except ConfigError:
        raise
    except Exception as error:  # a damaged file may raise anything
        raise ConfigError(f"{path} cannot be read as a checkpoint: {_reason(error)}") from None
    if expected not in (None, kind):
        text = "%s is %r, but %s is a %s file and is loaded as such"
        logger.warning(text, key.replace("FILE_PATH", "TYPE"), expected, path, kind)
    if kind == "caffe2":
        return CheckpointFile(path, kind, _blobs_of(content, path), {})
    return CheckpointFile(path, kind, *_state_of(content, path))


def _reason(error: Exception) -> str:
    """Return the first line of an error, or a short text for torch's long refusals of code."""
    refused = re.search(r"GLOBAL (\S+)", str(error))
    if refused:
        return f"it holds {refused[1]}, and only tensors and plain data are allowed; {STATE_DICT_ALONE}"
    if "TorchScript" in str(error):
        return f"it is TorchScript; {STATE_DICT_ALONE}"
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _kind(path: str) -> str:
    with open(path, "rb") as file:
        head = file.read(32)
    if head.startswith(ZIP) or LEGACY in head:
        return "pytorch"
    if head.startswith(PICKLES):
        return "caffe2"
    if head[8:9] == b"{":
        raise ConfigError(f"{path} is a safetensors file; load it with safetensors, and torch.save the dict of tensors")
    raise ConfigError(f"{path} cannot be read as a checkpoint: it is neither a file of torch.save nor a pickle")


def _state_of(content: Any, path: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the weights of a file of torch.save, and the run's other fields."""
    fields = content if isinstance(content, dict) else {}
    name = next((name for name in STATE_NAMES if isinstance(fields.get(name), dict)), None)
    if name is None and not (fields and all(isinstance(value, Tensor) for value in fields.values())):
        found = ", ".join(map(str, fields)) if fields else type(content).__name__
        raise ConfigError(f"{path} is not a checkpoint: it has no model_state, but {found[:200]}")
    state = fields if name is None else fields[name]
    for key, value in state.items():
        if not isinstance(value, Tensor):
            raise ConfigError(f"{path} is not a checkpoint: {key} is a {type(value).__name__}, not a tensor")
        _check_weight(value, key, path)
    rest = {key: value for key, value in fields.items() if key != name} if name == "model_state" else {}
    if not isinstance(rest.get("epoch"), int | None):
        raise ConfigError(f"{path} is not a checkpoint: its epoch is {rest['epoch']!r}, not an integer")
    return dict(state), rest


def _check_weight(weight: Tensor, name: Any, path: str) -> None:
    """Refuse what torch would fail to copy into a network, or copy wrongly."""
    if not isinstance(name, str):
        raise ConfigError(f"{path} is not a checkpoint: a weight is called {name!r}, which is not a string")
    if weight.layout != torch.strided or weight.is_complex() or weight.is_meta:
        kind = f"{weight.dtype}, {weight.layout}, on {weight.device}".replace("torch.", "")
        raise ConfigError(f"{path} is not a checkpoint: {name} is {kind}, which a weight cannot be")


def _blobs_of(content: Any, path: str) -> dict[str, Tensor]:
    """Return the weights of a Caffe2 pickle: {"blobs": {name: array}}."""
    fields = content if isinstance(content, dict) else {}
    if not isinstance(fields.get("blobs"), dict):
        found = ", ".join(map(str, fields)) if fields else type(content).__name__
        raise ConfigError(f"{path} is not a checkpoint: it is a pickle without the blobs of Caffe2, but {found[:200]}")
    blobs = {name: _tensor_of(blob, name, path) for name, blob in fields["blobs"].items()}
    for name, blob in blobs.items():
        _check_weight(blob, name, path)
    return blobs


def _tensor_of(blob: Any, name: Any, path: str) -> Tensor:
    if not isinstance(blob, (int, float, PickledArray)):
        raise ConfigError(f"{path} is not a checkpoint: the blob {name} is a {type(blob).__name__}, not an array")
    try:
        if not isinstance(blob, PickledArray):
            return torch.tensor(blob)
        array = blob.numpy()
        return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise ConfigError(f"{path} is not a checkpoint: the blob {name} cannot be read: {error}") from None
