"""SGS for any 3D CNN, also of another library: its code does not change, and its checkpoints still load."""

import difflib
import functools
import inspect
from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from slowfast_atfr.config import ConfigError
from slowfast_atfr.packed import PackedClips, apply_framewise, run_lengthwise
from slowfast_atfr.sgs.channels import channels_of
from slowfast_atfr.sgs.ends import warn_of_zeros
from slowfast_atfr.sgs.sampler import SGS
from slowfast_atfr.sgs.segment_sampler import SegmentSGS
from slowfast_atfr.sgs.temporal_sampler import TemporalSampler

GROUPINGS = {"bins": SGS, "segments": SegmentSGS}
CHILD = "sgs"  # name of the layer in the module that it follows
# Modules known to call Function.apply, which bypasses __torch_function__.
FRAMEWISE = ("pytorchvideo.layers.swish.Swish",)


class Framewise(nn.Module):
    """Runs a module that mixes no frames, and has no parameters, on packed clips as on any tensor."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor | PackedClips) -> Tensor | PackedClips:
        return apply_framewise(self.module, x)


def insert_sgs(
    model: nn.Module,
    after: str,
    *,
    channels: int | None = None,
    clip: Sequence[int] | None = None,
    framewise: Collection[type[nn.Module]] = (),
    lengthwise: Collection[type[nn.Module]] = (),
    grouping: str = "bins",
    **sgs_options: Any,
) -> nn.Module:
    """Put Similarity Guided Sampling after a submodule of a 3D CNN.

    After the layer clips have different numbers of frames. They travel as `PackedClips`, and each is computed as if it
    were alone. Keys of
    the state dict do not change; the layer adds `<after>.sgs.embed...`, so that a checkpoint of the model loads
    with `strict=False`, or before this call. Call it again for another submodule.

    The layers after it may be convolutions, batch, group and layer norms, activations, pools, sums, concatenation,
    squeeze-and-excitation and gates, channel shuffles, indices and slices of channels and space, views and permutes
    that do not mix frames; the network must reduce over time before it flattens. `x.size(2)` is one number per clip,
    for sizes and arithmetic, but not an int. A step without a rule for packed clips is a TypeError that names it. If it
    treats each clip by itself and has no batch norm (attention), run it once per distinct length:
    `block.forward = functools.partial(per_length, fn=block.forward)`. For modules that need the number of frames as an
    int, also with batch norms, there is `lengthwise`. Functions of `torch.jit.script` take no packed clips: run with
    PYTORCH_JIT=0.

    Weights of 3-D convolutions are changed to channels_last_3d, the layout of packed clips: otherwise each convolution
    would reorder them at every call. Networks with SGS can be copied, pickled, traced by torch.fx and dynamically
    quantised, but not scripted or traced by torch.jit. For torch.compile: `compile_network`.

    A submodule that runs all its children in a loop, but is no list, would run the layer twice: name one of its
    children. After one that the network calls several times, such as a shared activation, SGS runs at each call: name
    its parent.

    Args:
        model: takes (N, C, T, H, W); changed in place.
        after: name of the submodule in `model.named_modules()`; its output is (N, C, T, H, W).
        channels: C of that output; None takes it from the submodule's last layer if it is a Sequential, else from a
            forward pass on the meta device, which computes nothing.
        clip: (C, T, H, W) of a clip for that pass; None tries usual sizes.
        framewise: types of modules that mix no frames but call a `torch.autograd.Function`, which would lose the
            gradient; they are wrapped in `packed.apply_framewise`. pytorchvideo's Swish is known.
        lengthwise: types of modules that need the number of frames as an int, such as TensorFlow's "same" padding:
            they run once per distinct length, see `packed.run_lengthwise`.
        grouping: "bins" of a similarity, as in the paper, or "segments" of neighbouring frames, which logs a warning if
            convolutions before it pad clips with zeros in time.
        **sgs_options: see SGS, or SegmentSGS for segments.
    Returns:
        model.
    Raises:
        ConfigError: if there is no such submodule, it has SGS or is a list, its channels cannot be found, a framewise
            module has parameters or buffers, or the model has compiled parts; the model is then as it was.
        TypeError, ValueError: in forward, if the submodule's output is not (N, channels, T, H, W).

    >>> import torch
    >>> net = nn.Sequential(nn.Conv3d(3, 8, 3), nn.Sequential(nn.Conv3d(8, 4, 3), nn.ReLU()), nn.AdaptiveAvgPool3d(1))
    >>> insert_sgs(net, "1", num_bins=4)(torch.randn(2, 3, 8, 9, 9)).shape
    torch.Size([2, 4, 1, 1, 1])
    """
    if getattr(model, "compiled", None) is not None:
        raise ConfigError(
            f"{type(model).__name__} has compiled stages, which take no packed clips; MODEL.COMPILE False"
        )
    target = _submodule(model, after)
    wrapped = _framewise_modules(model, framewise)
    _without_scripts(model, framewise)
    counting = _modules_of(model, lengthwise, "lengthwise")
    target = next((wrapper for *_, wrapper in wrapped if wrapper.module is target), target)
    if channels is None:
        channels = channels_of(model, target, after, clip)
    if grouping not in GROUPINGS:
        raise ConfigError(f"grouping is {grouping!r}; choose one of {', '.join(GROUPINGS)}")
    known = inspect.signature(GROUPINGS[grouping]).parameters
    unknown = sorted(set(sgs_options) - set(known))
    if unknown:
        raise ConfigError(f"grouping {grouping!r} has no option {unknown[0]!r}; it takes {', '.join(list(known)[1:])}")
    sgs = GROUPINGS[grouping](channels, **sgs_options).train(target.training)
    sgs.label = after
    like = next((p for p in (*target.parameters(), *model.parameters()) if p.is_floating_point()), None)
    if like is not None:
        sgs.to(like.device, like.dtype)
    sgs.register_forward_pre_hook(functools.partial(_check_input, channels=channels))

    for parent, name, wrapper in wrapped:
        setattr(parent, name, wrapper)
    for module in counting:
        if "forward" not in vars(module):  # of an earlier call
            module.forward = functools.partial(_forward_lengthwise, module)
    _in_channels_last(model)
    if grouping == "segments":
        warn_of_zeros(model, target, after)
    target.add_module(CHILD, sgs)
    if not _is_plain(target):
        target.register_forward_hook(_run_sgs)
    return model


def _run_sgs(module: nn.Module, args: tuple, output: Any) -> PackedClips:
    """Forward hook; at module level, so that models can be pickled and copied."""
    return module.get_submodule(CHILD)(output)


def _forward_lengthwise(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
    return run_lengthwise(module, functools.partial(type(module).forward, module), *args, **kwargs)


def _check_input(sgs: TemporalSampler, args: tuple, *, channels: int) -> None:
    """Forward pre-hook: the input of SGS is only known when it runs."""
    (x,) = args
    if isinstance(x, fx.Proxy):
        return
    if not isinstance(x, Tensor | PackedClips):
        got = f"a {type(x).__name__}" + (f" of {len(x)}" if isinstance(x, tuple | list) else "")
        remedy = "name a module within it, or before it, that returns one tensor"
        raise TypeError(f"SGS after {sgs.label!r} takes (N, C, T, H, W), but its output is {got}: {remedy}")
    if x.ndim != 5:
        remedy = "name a module whose output still has clips, frames and space, such as a stage"
        raise ValueError(f"SGS after {sgs.label!r} takes (N, C, T, H, W), but gets {tuple(x.shape)}: {remedy}")
    if x.shape[1] != channels:
        got = f"gets {x.shape[1]}: pass channels={x.shape[1]}"
        raise ValueError(f"SGS after {sgs.label!r} was built for {channels} channels and {got}")


def _submodule(model: nn.Module, name: str) -> nn.Module:
    modules = dict(model.named_modules())
    modules = {path: module for path, module in modules.items() if not isinstance(_parent(modules, path), Framewise)}
    modules.pop("", None)
    if name not in modules:
        near = difflib.get_close_matches(name, modules, n=5, cutoff=0) or ["none, it has no submodules"]
        raise ConfigError(f"{type(model).__name__} has no submodule {name!r}; the nearest are {', '.join(near)}")
    target = modules[name]
    if isinstance(target, nn.ModuleList | nn.ModuleDict) or (
        isinstance(target, nn.Sequential) and not _is_plain(target)
    ):
        entries = ", ".join(f"{name}.{entry}" for entry, _ in target.named_children()) or "none"
        kind = f"a {type(target).__name__}, in which SGS would be one more entry"
        raise ConfigError(f"{name!r} is {kind}; name one of its entries, {entries}, or a module after it")
    if isinstance(target, TemporalSampler) or isinstance(getattr(target, CHILD, None), TemporalSampler):
        raise ConfigError(f"{name!r} has SGS already; insert it once after each submodule")
    if hasattr(target, CHILD):
        kind = type(getattr(target, CHILD)).__name__
        raise ConfigError(f"{name!r} already has a child {CHILD!r}, a {kind}; name a module within it or around it")
    return target


def _parent(modules: dict[str, nn.Module], path: str) -> nn.Module | None:
    return modules.get(path.rpartition(".")[0]) if path else None


def _is_plain(target: nn.Module) -> bool:
    """Whether a Sequential runs its modules in order, and so a new one as the last."""
    return type(target).forward is nn.Sequential.forward


def _modules_of(model: nn.Module, types: Collection[type[nn.Module]], option: str) -> list[nn.Module]:
    """The modules of these types."""
    if isinstance(types, type) or not all(isinstance(kind, type) and issubclass(kind, nn.Module) for kind in types):
        raise ConfigError(f"{option} is {types!r}; it takes types of modules, such as [Swish]")
    return [module for module in model.modules() if isinstance(module, tuple(types))]


def _without_scripts(model: nn.Module, framewise: Collection[type[nn.Module]]) -> None:
    """Refuse compiled modules, which take ordinary tensors only, unless they are wrapped.

    Raises:
        ConfigError: for a scripted or traced module.
    """
    for name, module in model.named_modules():
        wrapped = any(isinstance(module, kind) for kind in framewise)
        if isinstance(module, torch.jit.ScriptModule) and not wrapped:
            remedy = "use it unscripted (PYTORCH_JIT=0), or framewise=[torch.jit.ScriptModule] if it mixes no frames"
            raise ConfigError(f"{name or 'the model'!r} is compiled by torch.jit and takes no packed clips: {remedy}")


def _in_channels_last(model: nn.Module) -> None:
    """Change weights of 3-D convolutions to the memory layout of packed clips."""
    for parameter in model.parameters():
        if parameter.ndim == 5:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)


def _framewise_modules(model: nn.Module, types: Collection[type[nn.Module]]) -> list[tuple[nn.Module, str, Framewise]]:
    """Parent, name and wrapper of framewise modules; a module that is used twice has one wrapper."""
    wrappers: dict[nn.Module, Framewise] = {}
    found = []
    _modules_of(model, types, "framewise")
    for parent_name, parent in model.named_modules():
        if isinstance(parent, Framewise):
            continue
        for name, child in parent._modules.items():  # named_children leaves out the second name of a shared module
            kind = f"{type(child).__module__}.{type(child).__qualname__}"
            if not isinstance(child, tuple(types)) and kind not in FRAMEWISE:
                continue
            if child.state_dict():
                where = f"{parent_name}.{name}".lstrip(".")
                keys = ", ".join(child.state_dict())
                raise ConfigError(f"framewise {where!r}, a {kind}, has {keys}: wrapping it would change their names")
            found.append((parent, name, wrappers.setdefault(child, Framewise(child))))
    return found
