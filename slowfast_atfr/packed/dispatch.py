"""The table of handlers of torch functions for packed clips, and the error for functions without one.

HANDLERS has the functions of packed clips, SIZED those that are given `x.size(2)` as a size. `views.MOVES` has the
functions that rearrange the dimensions of a View of packed clips, `views.RULES` all others of a View. The modules fill
the tables when `slowfast_atfr.packed` is imported.
"""

import functools
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.overrides import resolve_name

HANDLERS: dict[Callable, Callable] = {}
SIZED: dict[Callable, Callable] = {}  # functions that get T of packed clips as a size

REMEDY = (
    "If it treats each clip by itself, call it through slowfast_atfr.packed.per_length(x, fn): "
    "fn then gets a dense (n, C, T, H, W) tensor, once per distinct length"
)


def refusal(op: str, reason: str = "has no rule for packed clips", remedy: str = REMEDY) -> TypeError:
    """The error of an op on packed clips: names the op, the reason and the remedy."""
    return TypeError(f"{op} {reason}. {remedy}.")


def name_of(function: Callable) -> str:
    """Public name of a torch function, such as `torch.nn.functional.max_pool3d`; for error messages (slow)."""
    return resolve_name(function) or getattr(function, "__name__", repr(function))


def handles(*functions: Callable) -> Callable[[Callable], Callable]:
    """Register the decorated handler for these torch functions.

    The handler takes the parameters of the torch function, under torch's own names, but the first one,
    the packed clips, is positional.
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
    """Run a torch function with packed clips among its arguments.

    Raises:
        TypeError: if the table has no handler for the function.
    """
    handler = HANDLERS.get(function)
    if handler is None:
        raise refusal(name_of(function))
    return handler(*args, **kwargs)
