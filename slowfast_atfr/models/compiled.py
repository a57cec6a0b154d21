"""Stages as compiled code (`torch.compile`), for dense inputs and without hooks inside.

After SGS clips differ in length, and a compiled stage would be recompiled for each new set of lengths. There only the
frame-wise layers are compiled, for any number of frames. A stage or block with hooks inside runs uncompiled, since
compiled code does not call hooks that were added after compilation.
"""

import os
import shutil
from collections.abc import Callable, Iterable
from functools import partial
from importlib.util import find_spec
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from slowfast_atfr.config import ConfigError
from slowfast_atfr.models.resnet import ResBlock, Stretch, functions_are_seen, has_hooks, run_frames

Pathways = list[Tensor]


class CompiledStages:
    """Stages of a network by name. It holds code, not modules, so state dicts and copies do not change.

    observers: called with a stage and its inputs whenever it runs.

    Args:
        names: of the stages.
        backend: of `torch.compile`.
    """

    def __init__(self, names: Iterable[str], *, backend: str = "inductor") -> None:
        self._code = {name: torch.compile(_function_of(name), backend=backend) for name in names}
        self.observers: list[Callable[[nn.Module, Pathways], None]] = []

    def __contains__(self, name: str) -> bool:
        return name in self._code

    def run(self, name: str, stage: nn.Module, pathways: Pathways) -> Pathways:
        """`stage(pathways)`, compiled unless hooks would be missed."""
        for see in self.observers:
            see(stage, pathways)
        return stage(pathways) if is_watched(stage) else self._code[name](stage, pathways)


class CompiledFrames:
    """The stretches of residual blocks (`run_frames`) as compiled code, for any number of frames.

    Blocks of a stage that are alike share their code.

    Args:
        name: of the stage.
        backend: of `torch.compile`.
    """

    def __init__(self, name: str, *, backend: str = "inductor") -> None:
        self._name, self._backend = name, backend
        self._code: dict[tuple, Callable] = {}

    def __call__(
        self, block: ResBlock, stretch: Stretch, lengths: Any, factors: Tensor | None, frames: Tensor, *x: Tensor
    ) -> Tensor:
        kind = len(stretch.layers), "branch1" in block._modules, factors is None, len(x)
        if kind not in self._code:
            self._code[kind] = torch.compile(_function_of(f"{self._name}_{len(self._code)}"), backend=self._backend)
        for tensor in (frames, *x, *(() if factors is None else (factors,))):
            torch._dynamo.maybe_mark_dynamic(tensor, 0)
        return self._code[kind](partial(_frames_of, block, stretch), (factors, frames, *x))


def _frames_of(block: ResBlock, stretch: Stretch, tensors: tuple) -> Tensor:
    return run_frames(block, stretch, (), *tensors)


def check_compiler(device: torch.device) -> None:
    """Check that this machine can compile for a device.

    Raises:
        ConfigError: if it cannot; names what to install.
    """
    compilers = [os.environ["CXX"]] if "CXX" in os.environ else ["g++", "clang++"]
    if device.type == "cpu" and not any(map(shutil.which, compilers)):
        raise ConfigError(
            f"MODEL.COMPILE is True, but there is no C++ compiler ({' or '.join(compilers)}); install one, name it in "
            "the environment variable CXX, or set MODEL.COMPILE False"
        )
    if device.type == "cuda" and not find_spec("triton"):
        raise ConfigError("MODEL.COMPILE is True, but there is no Triton; pip install triton, or MODEL.COMPILE False")


def is_watched(stage: nn.Module) -> bool:
    """Whether a stage has hooks on any of its modules, or a torch function mode sees what they call."""
    return functions_are_seen() or any(map(has_hooks, stage.modules()))


def _function_of(name: str) -> Callable[[Callable[[Any], Any], Any], Any]:
    """A function that calls its first argument, with a code object of its own.

    torch keeps two things for each code object: the limit of recompiles, and which sizes have differed between calls
    and are compiled as symbols. `torch.compile(..., isolate_recompiles=True)` of torch 2.13 separates the first only:
    the sizes of one stage make those of all others symbols, with which X3D does not compile.
    """

    def call(stage: Callable[[Any], Any], pathways: Any) -> Any:
        return stage(pathways)

    return FunctionType(call.__code__.replace(co_name=f"call_{name}"), call.__globals__, f"call_{name}")
