"""Reading checkpoint files, whoever wrote them. A file's first bytes say what it is; no code in it is run."""

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
STATE_NAMES = ("model_state", "state_dict", "model")  # what holds the weights: in PySlowFast's files, in others'
ZIP = b"PK\x03\x04"  # torch.save since 1.6
LEGACY = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # the number that torch.save pickled first before that
STATE_DICT_ALONE = "if you trust it, load it with torch and save its state dict alone"
PICKLES = (b"\x80", b"(", b"}")  # protocol 2 and later; protocols 0 and 1


@dataclass(frozen=True)
class CheckpointFile:
    """What a checkpoint file holds, on the CPU.

    path: of the file.
    kind: pytorch or caffe2.
    weights: by the names that they have in the file.
    rest: what else belongs to a run, such as epoch, optimizer_state, cfg; empty where there are only weights.
    """

    path: str
    kind: str
    weights: dict[str, Tensor] = field(repr=False)
    rest: dict[str, Any] = field(repr=False)

    @property
    def epoch(self) -> int | None:
        """Epoch at whose end it was saved, from 0; None where the file does not tell."""
        return self.rest.get("epoch")

    def changes(self, cfg: CfgNode) -> dict[str, str]:
        """What training depends on and is other in `cfg` than in the config of the file, see `changed_for_resume`."""
        try:
            before = yaml.safe_load(self.rest.get("cfg", ""))
        except (yaml.YAMLError, AttributeError):  # of another program, or no text
            before = None
        return changed_for_resume(dict(flatten(before)), cfg) if isinstance(before, dict) else {}


def read_checkpoint(path: str, *, key: str = FILE_PATH, expected: str | None = None) -> CheckpointFile:
    """Read a file of torch.save (.pyth, .pth) or of Caffe2 (.pkl).

    Args:
        path: of the file.
        key: that the path comes from, for errors and warnings.
        expected: what CHECKPOINT_TYPE says. Where the file is something else that is warned about, and it is read as
            what it is.
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
    except Exception as error:  # a damaged file raises about anything
        raise ConfigError(f"{path} cannot be read as a checkpoint: {_reason(error)}") from None
    if expected not in (None, kind):
        text = "%s is %r, but %s is a %s file; it is loaded as that"
        logger.warning(text, key.replace("FILE_PATH", "TYPE"), expected, path, kind)
    if kind == "caffe2":
        return CheckpointFile(path, kind, _blobs_of(content, path), {})
    return CheckpointFile(path, kind, *_state_of(content, path))


def _reason(error: Exception) -> str:
    """The first line of an error; of torch's long one about code in a file, what it is about."""
    refused = re.search(r"GLOBAL (\S+)", str(error))
    if refused:
        return f"it holds {refused[1]}, and only tensors and plain data are admitted; {STATE_DICT_ALONE}"
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
    """The weights of a file of torch.save, and what else belongs to its run."""
    fields = content if isinstance(content, dict) else {}
    name = next((name for name in STATE_NAMES if isinstance(fields.get(name), dict)), None)
    if name is None and not (fields and all(isinstance(value, Tensor) for value in fields.values())):
        found = ", ".join(map(str, fields)) if fields else type(content).__name__
        raise ConfigError(f"{path} is no checkpoint: it has no model_state, but {found[:200]}")
    state = fields if name is None else fields[name]
    for key, value in state.items():
        if not isinstance(value, Tensor):
            raise ConfigError(f"{path} is no checkpoint: {key} is a {type(value).__name__}, no tensor")
        _check_weight(value, key, path)
    rest = {key: value for key, value in fields.items() if key != name} if name == "model_state" else {}
    if not isinstance(rest.get("epoch"), int | None):
        raise ConfigError(f"{path} is no checkpoint: its epoch is {rest['epoch']!r}, no whole number")
    return dict(state), rest


def _check_weight(weight: Tensor, name: Any, path: str) -> None:
    """What torch would copy into a network with an error of its own, or without one though it is another thing."""
    if not isinstance(name, str):
        raise ConfigError(f"{path} is no checkpoint: a weight is called {name!r}, which is no text")
    if weight.layout != torch.strided or weight.is_complex() or weight.is_meta:
        kind = f"{weight.dtype}, {weight.layout}, on {weight.device}".replace("torch.", "")
        raise ConfigError(f"{path} is no checkpoint: {name} is a tensor of another kind ({kind}) than weights are")


def _blobs_of(content: Any, path: str) -> dict[str, Tensor]:
    """The weights of a pickle of Caffe2: {"blobs": {name: array}}."""
    fields = content if isinstance(content, dict) else {}
    if not isinstance(fields.get("blobs"), dict):
        found = ", ".join(map(str, fields)) if fields else type(content).__name__
        raise ConfigError(f"{path} is no checkpoint: it is a pickle without blobs, as Caffe2's have, but {found[:200]}")
    blobs = {name: _tensor_of(blob, name, path) for name, blob in fields["blobs"].items()}
    for name, blob in blobs.items():
        _check_weight(blob, name, path)
    return blobs


def _tensor_of(blob: Any, name: Any, path: str) -> Tensor:
    if not isinstance(blob, (int, float, PickledArray)):
        raise ConfigError(f"{path} is no checkpoint: the blob {name} is a {type(blob).__name__}, no array")
    try:
        if not isinstance(blob, PickledArray):
            return torch.tensor(blob)
        array = blob.numpy()
        return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise ConfigError(f"{path} is no checkpoint: the blob {name} cannot be read: {error}") from None
