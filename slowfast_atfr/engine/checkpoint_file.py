"""Reading checkpoint files, whoever wrote them. A file's first bytes say what it is; no code in it is run."""

import logging
import os
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from slowfast_atfr.config import ConfigError

logger = logging.getLogger(__name__)
FILE_PATH = "TRAIN.CHECKPOINT_FILE_PATH"
STATE_NAMES = ("model_state", "state_dict", "model")  # what holds the weights: in PySlowFast's files, in others'
ZIP = b"PK\x03\x04"  # torch.save since 1.6
LEGACY = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # the number that torch.save pickled first before that
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
        return int(self.rest["epoch"]) if "epoch" in self.rest else None


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
        content = _load_caffe2(path) if kind == "caffe2" else torch.load(path, map_location="cpu", weights_only=True)
    except ConfigError:
        raise
    except Exception as error:  # a damaged file raises about anything
        raise ConfigError(f"{path} cannot be read as a checkpoint: {_reason(error)}") from None
    if expected not in (None, kind):
        text = "%s is %r, but %s is a %s file; it is loaded as that"
        logger.warning(text, key.replace("FILE_PATH", "TYPE"), expected, path, kind)
    if kind == "caffe2":
        return CheckpointFile(path, kind, _tensors_of(content, path), {})
    return CheckpointFile(path, kind, *_state_of(content, path))


def _reason(error: Exception) -> str:
    """The first line of an error; of torch's long one about code in a file, what it is about."""
    refused = re.search(r"GLOBAL (\S+)", str(error))
    if refused:
        return f"it holds {refused[1]}, and only tensors and plain data are admitted"
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
    rest = {key: value for key, value in fields.items() if key != name} if name == "model_state" else {}
    return dict(state), rest


def _load_caffe2(path: str) -> dict[str, Any]:
    with open(path, "rb") as file:
        content = _ArraysOnly(file, encoding="latin1").load()  # the files are of Python 2
    if not isinstance(content, dict) or not isinstance(content.get("blobs"), dict):
        found = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise ConfigError(f"{path} is no checkpoint: it is a pickle without blobs, as Caffe2's have, but {found[:200]}")
    return content["blobs"]


def _tensors_of(blobs: dict[str, Any], path: str) -> dict[str, Tensor]:
    tensors = {}
    for name, blob in blobs.items():
        array = np.require(blob, requirements=["C", "W"])
        try:
            tensors[name] = torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))
        except TypeError:
            raise ConfigError(f"{path} is no checkpoint: the blob {name} holds {array.dtype}, no numbers") from None
    return tensors


def _encode(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes into a pickle of protocol 2."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it encodes text as {encoding!r}")
    return text.encode("latin1")


def _admitted() -> dict[tuple[str, str], Callable]:
    """What a pickle may name: what arrays and bytes are pickled as. numpy.core is numpy._core since numpy 2."""
    reconstruct, frombuffer = (np.empty(0).__reduce_ex__(protocol)[0] for protocol in (2, 5))
    named = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("collections", "OrderedDict"): OrderedDict,
        ("_codecs", "encode"): _encode,
        ("builtins", "bytes"): bytes,
        ("__builtin__", "bytes"): bytes,
    }
    for core in ("numpy.core", "numpy._core"):
        named[f"{core}.multiarray", "_reconstruct"] = reconstruct
        named[f"{core}.multiarray", "scalar"] = np.float32(0).__reduce__()[0]
        named[f"{core}.numeric", "_frombuffer"] = frombuffer
    return named


class _ArraysOnly(pickle.Unpickler):
    """Unpickles arrays and plain data. Whatever else a pickle names is refused before it is imported, let alone run."""

    admitted = _admitted()

    def find_class(self, module: str, name: str) -> Callable:
        if (module, name) not in self.admitted:
            raise pickle.UnpicklingError(f"it holds {module}.{name}, and only arrays and plain data are admitted")
        return self.admitted[module, name]
