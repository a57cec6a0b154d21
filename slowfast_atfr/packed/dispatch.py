"""The table of what each torch function does to packed clips, and the error of those that are not in it.

The other modules fill the tables when `slowfast_atfr.packed` is imported; `view_rules.py`, `along.py`, `moves.py` and
`one_d.py` those of views.
"""

import functools
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.overrides import resolve_name

HANDLERS: dict[Callable, Callable] = {}
SIZED: dict[Callable, Callable] = {}  # functions of ordinary tensors or of none, which get T of packed clips as a size

REMEDY = (
    "If it treats every clip on its own, call it through slowfast_atfr.packed.per_length(x, fn): "
    "fn then gets a dense (n, C, T, H, W) tensor, once per distinct length"
)


def refusal(op: str, reason: str = "has no rule for packed clips", remedy: str = REMEDY) -> TypeError:
    """The error of an op that packed clips cannot take: names the op, says why, names the remedy."""
    return TypeError(f"{op} {reason}. {remedy}.")


def name_of(function: Callable) -> str:
    """Public name of a torch function, such as `torch.nn.functional.max_pool3d`; for error messages (slow)."""
    return resolve_name(function) or getattr(function, "__name__", repr(function))


def handles(*functions: Callable) -> Callable[[Callable], Callable]:
    """Enter the decorated handler in the table for these torch functions.

    The handler takes the parameters of the torch function, under torch's own names, except that the first one, the
    packed clips, is always positional.
    """

    def register(handler: Callable) -> Callable:
        HANDLERS.update({function: functools.partial(_first_is_packed, function, handler) for function in functions})
        return handler

    return register


def _first_is_packed(function: Callable, handler: Callable, *args: Any, **kwargs: Any) -> Any:
    if not args and "input" in kwargs:
        args = (kwargs.pop("input"),)
    if not args or isinstance(args[0], Tensor):
        raise refusal(name_of(function), "takes packed clips as its first argument only")
    return handler(*args, **kwargs)


def call(function: Callable, *args: Any, **kwargs: Any) -> Any:
    """Run a torch function on arguments among which are packed clips.

    Raises:
        TypeError: if the table has no handler for the function.
    """
    handler = HANDLERS.get(function)
    if handler is None:
        raise refusal(name_of(function))
    return handler(*args, **kwargs)
