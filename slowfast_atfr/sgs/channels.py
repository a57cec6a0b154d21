"""The channels of a submodule's output: from its layers if they define it, else from a pass on the meta device.

That pass runs up to the submodule: it computes no values and changes none.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from slowfast_atfr.config import ConfigError
from slowfast_atfr.sgs.temporal_sampler import TemporalSampler

KEEP_CHANNELS = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Sigmoid),
    *(nn.Tanh, nn.Identity, nn.Dropout, nn.Dropout3d, nn.MaxPool3d, nn.AvgPool3d, nn.AdaptiveAvgPool3d),
    *(nn.AdaptiveMaxPool3d, nn.Upsample, nn.GroupNorm, nn.InstanceNorm3d),
)
SIZES = ((16, 112, 112), (32, 224, 224), (64, 224, 224), (16, 64, 64))  # of clips to try, T, H and W


class _Found(BaseException):  # not an Exception, which a network may catch
    """Ends the forward pass at the submodule."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = output


def channels_of(model: nn.Module, target: nn.Module, name: str, clip: Sequence[int] | None = None) -> int:
    """C of the output (N, C, T, H, W) of a submodule.

    Args:
        model: takes one batch of clips.
        target: the submodule.
        name: its name in the model, for the error.
        clip: (C, T, H, W) of a clip that the model takes; None tries the channels of its first Conv3d in usual sizes.
    Raises:
        ConfigError: if neither layers nor forward passes show them.
    """
    if clip is None and (known := _of_last_layer(target)):
        return known
    why = "has no Conv3d"
    for batch, runs in _batches(model, target, clip):
        try:
            output = _output_of(runs, target, batch)
        except Exception as error:  # a network may fail in any way on clips that it was not made for
            why = (
                f"fails on clips of {tuple(batch[1:])} with {type(error).__name__}: {str(error).splitlines()[0][:200]}"
            )
            continue
        if output is None:
            why = "does not run it"
            continue
        if isinstance(output, Tensor) and output.ndim == 5:
            return output.shape[1]
        shape = tuple(output.shape) if isinstance(output, Tensor) else f"a {type(output).__name__}"
        why = f"gives {shape} there, not (N, C, T, H, W)"
    raise ConfigError(
        f"the channels of {name!r}, a {type(target).__name__}, are not known, since the model {why}: pass channels=, "
        "or clip=(C, T, H, W) of a clip that the model takes"
    )


def _of_last_layer(target: nn.Module) -> int | None:
    """Channels of a convolution, a batch norm, or a Sequential in which one of them is the last to change channels."""
    if isinstance(target, nn.Conv3d | nn.ConvTranspose3d):
        return target.out_channels
    if isinstance(target, nn.BatchNorm3d | nn.SyncBatchNorm):
        return target.num_features
    if type(target).forward is nn.Sequential.forward:
        last = next((child for child in reversed(list(target)) if not isinstance(child, KEEP_CHANNELS)), None)
        return _of_last_layer(last) if last is not None else None
    return None


def _batches(
    model: nn.Module, target: nn.Module, clip: Sequence[int] | None
) -> Iterator[tuple[tuple[int, ...], nn.Module]]:
    """Sizes to try, and what to run on them: the model, or the submodule if the model takes no clips."""
    if clip is not None:
        yield (2, *clip), model
        return
    for runs in (model, target):
        convolutions = (module for module in runs.modules() if isinstance(module, nn.Conv3d))
        channels = next((module.in_channels for module in convolutions), None)
        for size in SIZES if channels else ():
            yield (2, channels, *size), runs


def _output_of(model: nn.Module, target: nn.Module, batch: Sequence[int]) -> Any:
    """The submodule's output, None if it is not run; the model does not change."""

    def stop(module: nn.Module, args: tuple, output: Any) -> None:
        raise _Found(output)

    like = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    tensors = (*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False))
    nothing = {name: torch.empty_like(tensor, device="meta") for name, tensor in tensors}
    samplers = [module for module in model.modules() if isinstance(module, TemporalSampler)]
    handle = target.register_forward_hook(stop)
    try:
        for sampler in samplers:  # those before it keep channels
            sampler.forward = _same
        with torch.no_grad():
            torch.func.functional_call(model, nothing, torch.empty(batch, dtype=like.dtype, device="meta"))
    except _Found as found:
        return found.output
    finally:
        handle.remove()
        for sampler in samplers:
            del sampler.forward
    return None


def _same(x: Any) -> Any:
    return x
