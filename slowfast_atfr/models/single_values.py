"""Name the layer in torch's error about a batch norm with a single value per channel."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from slowfast_atfr.config import ConfigError

TORCH_MESSAGE = "Expected more than 1 value per channel when training"


@contextmanager
def named_norms(model: nn.Module) -> Iterator[None]:
    """Around forward passes in training: replace torch's error about a norm's input by one that names the norm.

    Args:
        model: whose norms have names.
    Raises:
        ConfigError: if the input of a norm has one value per channel, and so no variance.
    """
    try:
        yield
    except ValueError as error:
        if TORCH_MESSAGE not in str(error):
            raise
        shape = str(error).rpartition("torch.Size")[2].strip("()") or "of one value"
        raise ConfigError(
            f"the batch norm {_name_of(_failed_norm(error), model)} has a single value per channel in its input "
            f"{shape}, and so no variance. Raise TRAIN.BATCH_SIZE, DATA.TRAIN_CROP_SIZE or, for the norms of "
            "SGS and after it, SGS.NUM_BINS; or share statistics between processes with BN.NORM_TYPE sync_batchnorm"
        ) from None


def _failed_norm(error: ValueError) -> nn.Module | None:
    """The innermost norm whose forward pass raised the error."""
    norm, trace = None, error.__traceback__
    while trace is not None:
        owner = trace.tb_frame.f_locals.get("self")
        norm = owner if isinstance(owner, _NormBase) else norm
        trace = trace.tb_next
    return norm


def _name_of(norm: nn.Module | None, model: nn.Module) -> str:
    return next((name for name, module in model.named_modules() if module is norm), "of a layer without a name")
