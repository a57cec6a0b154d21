"""A GPU that is not there: tensors that say that they are on cuda:0 and are computed on the CPU.

`with FakeGpu() as gpu:` code takes the branches of a GPU, and `gpu` reports what a real one would have had to do:

- `kernels`: launches so far, one for an operator that does work, but for LAUNCHES; views and empty memory are free.
- `waits`: where the host has waited for the device, as "function: what". `uploads`: copies that it did not wait for.
- an operator on tensors of both devices raises MixedDevices, but for a single number of the host.

To torch's own C++ the tensors are wrappers on the CPU, which is what lets its autograd run: functions that choose by
device in there take the CPU's form, and autocast's lists of operators are those of the CPU. oneDNN's faults are there
as well, without the package's ways round them: strided shortcuts need 16 channels.
"""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

import slowfast_atfr

PACKAGE = Path(slowfast_atfr.__file__).parent

CUDA = torch.device("cuda", 0)
FREE = {"empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided", "detach", "alias", "lift_fresh",
        "_unsafe_view", "_reshape_alias", "is_same_size", "as_strided_"}  # fmt: skip
WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2", "unique_dim", "unique_consecutive"}
# torch's own channels-last norms take the statistics, make scale and shift of them, and apply these; gradients of a
# convolution are one kernel for its input and one for its weights
LAUNCHES = {
    "native_batch_norm": 3,
    "_native_batch_norm_legit": 3,
    "native_batch_norm_backward": 2,
    "convolution_backward": 2,
}


class MixedDevices(RuntimeError):
    """An operator got tensors of the host and of the device."""


class GpuTensor(Tensor):
    """Says that it is on cuda:0, and holds the tensor of the host that is computed with."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> GpuTensor:
        made = Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device=held.device,
        )
        made.held = held
        return made

    device = property(lambda self: CUDA)
    is_cuda, is_cpu = property(lambda self: True), property(lambda self: False)

    def __repr__(self) -> str:
        return f"GpuTensor({tuple(self.shape)}, {self.dtype})"

    def __deepcopy__(self, memo: dict) -> GpuTensor:
        copied = GpuTensor(self.held.detach().clone())
        return torch.nn.Parameter(copied, self.requires_grad) if isinstance(self, torch.nn.Parameter) else copied

    def __reduce_ex__(self, protocol: int) -> Any:
        return self.held.detach().__reduce_ex__(protocol)  # checkpoints hold tensors of the host

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not all(issubclass(kind, Tensor) for kind in types):
            return NotImplemented
        return FakeGpu.current.call(func, args, kwargs or {})

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return FakeGpu.current.launch(func, args, kwargs or {})


class FakeGpu(TorchFunctionMode):
    """The device, while it is entered; one at a time."""

    current: FakeGpu

    def __init__(self) -> None:
        super().__init__()
        self._entered = 0
        self.reset()

    def reset(self) -> None:
        """Count anew."""
        self.kernels, self.waits, self.uploads, self.operators = 0, [], [], Counter()

    def __enter__(self) -> FakeGpu:
        self._entered += 1
        if self._entered == 1:
            FakeGpu.current, self._stack = self, ExitStack()
            for home, name, value in _PATCHES:
                self._stack.enter_context(mock.patch.object(home, name, value))
            overwrite = torch.__future__.get_overwrite_module_params_on_conversion()
            torch.__future__.set_overwrite_module_params_on_conversion(True)  # module.to() makes new parameters
            self._stack.callback(torch.__future__.set_overwrite_module_params_on_conversion, overwrite)
        return super().__enter__()

    def __exit__(self, *error: Any) -> Any:
        self._entered -= 1
        if self._entered == 0:
            self._stack.close()
        return super().__exit__(*error)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        others = [kind for kind in types if not issubclass(kind, Tensor)]
        if others:  # packed clips: what they call is heard as well
            with self:
                return others[0].__torch_function__(func, types, args, kwargs or {})
        return self.call(func, args, kwargs or {})

    def call(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """A function of torch, of whose arguments any may be on either device."""
        first = args[0] if args else None
        there = isinstance(first, GpuTensor)
        if func in _MOVES:
            return _MOVES[func](self, *args, **kwargs)
        if func in (Tensor.numpy, Tensor.__array__) and there:
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first")
        if func is Tensor.tolist and there:
            return self._read("tolist", first).tolist()
        if func is Tensor.pin_memory:
            first.pinned = True
            return first
        if func is Tensor.new_tensor and there:
            return self._upload(torch.tensor(args[1], dtype=kwargs.get("dtype", first.dtype)), False)
        if func is Tensor.backward:  # runs checkpointed code again
            return self._backward(first, *args[1:], **kwargs)
        if func is torch._has_compatible_shallow_copy_type:
            return False
        if func is torch.nn.functional.one_hot and there:  # C++ would make its parts on the host
            self._count("one_hot", 2)
            return GpuTensor(func(first.held, *args[1:], **kwargs))
        device = kwargs.get("device")
        with torch._C.DisableTorchFunctionSubclass():
            if device is None or torch.device(device).type != "cuda":
                return func(*args, **kwargs)
            kwargs = {name: value for name, value in kwargs.items() if name != "device"}
            made = func(*args, **kwargs)
        if isinstance(made, GpuTensor):  # like one that is there
            return made
        if func in (torch.tensor, torch.as_tensor, torch.asarray):
            return self._upload(made, False)
        self._count(func.__name__, 1)
        return GpuTensor(made)

    def launch(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """An operator of C++, of whose arguments at least one is on the device."""
        name = func._schema.name.split("::")[1]
        tensors = [value for value in pytree.tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        of_host = [value for value in tensors if not isinstance(value, GpuTensor) and value.ndim > 0]
        if of_host and name == "copy_":
            self._wait("copy_ between devices")
        elif of_host:
            raise MixedDevices(f"{func} got {tensors}")
        indices = pytree.tree_leaves(args[1]) if name in ("index", "index_put", "index_put_") else ()
        masked = any(isinstance(index, Tensor) and index.dtype == torch.bool for index in indices)
        if name in WAITS or masked:
            self._wait("an index by a mask" if masked else name)
        held_args, held_kwargs = pytree.tree_map_only(GpuTensor, lambda value: value.held, (args, kwargs))
        result = func(*held_args, **{key: value for key, value in held_kwargs.items() if key != "device"})
        returned, arguments = func._schema.returns, func._schema.arguments
        writes = any(argument.alias_info is not None and argument.alias_info.is_write for argument in arguments)
        is_view = not writes and any(value.alias_info is not None for value in returned)
        if not is_view and name not in WAITS:
            self._count(name, _launches(name, args))
        if writes and len(returned) == 1 and returned[0].alias_info is not None:  # in place, or to `out`
            named = {argument.name: index for index, argument in enumerate(arguments) if argument.alias_info}
            key, index = next(iter(named.items()))
            return kwargs[key] if key in kwargs else args[index]
        return pytree.tree_map_only(Tensor, GpuTensor, result)

    def _count(self, name: str, launches: int) -> None:
        if name in FREE:
            return
        self.kernels += launches
        self.operators[name] += launches

    def _wait(self, what: str) -> None:
        self.waits.append(f"{_asked_by()}: {what}")

    def _read(self, what: str, there: GpuTensor) -> Tensor:
        self._wait(what)
        return there.held.detach().clone()

    def _upload(self, here: Tensor, non_blocking: bool) -> GpuTensor:
        """From the host: without a wait where it is pinned, or where it does not matter."""
        if non_blocking and getattr(here, "pinned", False):
            self.uploads.append(_asked_by())
        else:
            self._wait("a copy from memory that is not pinned" if non_blocking else "a copy to the device")
        return GpuTensor(here.detach().clone())

    def _to(self, tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if args and isinstance(args[0], Tensor):
            other, *args = args
            kwargs = {"device": other.device, "dtype": other.dtype, **kwargs}
        copied, kwargs = kwargs.pop("copy", False), dict(kwargs)
        device, dtype, non_blocking, memory_format = torch._C._nn._parse_to(*args, **kwargs)
        there, back = isinstance(tensor, GpuTensor), device is not None and device.type == "cpu"
        options = {"dtype": dtype or tensor.dtype, "copy": copied}
        if memory_format is not None:
            options["memory_format"] = memory_format
        with torch._C.DisableTorchFunctionSubclass():
            if device is None or there == (device.type == "cuda"):
                return Tensor.to(tensor, **options)
            if back:
                return self._read("to(cpu)", tensor).to(**options)
            moved = Tensor.to(tensor, **{**options, "copy": False})
        if getattr(tensor, "pinned", False):
            moved.pinned = True
        return self._upload(moved, non_blocking)

    def _cpu(self, tensor: Tensor, *_: Any, **__: Any) -> Tensor:
        return self._read("cpu", tensor) if isinstance(tensor, GpuTensor) else tensor

    def _backward(self, of: Tensor, gradient: Tensor | None = None, retain_graph: bool | None = None, **_: Any) -> None:
        with self:
            gradient = torch.ones_like(of) if gradient is None else gradient
            run = torch.autograd.graph._engine_run_backward
            run((of,), (gradient,), bool(retain_graph), False, (), allow_unreachable=True, accumulate_grad=True)


_MOVES = {
    Tensor.to: FakeGpu._to,
    Tensor.cpu: FakeGpu._cpu,
    Tensor.cuda: lambda gpu, tensor, device=CUDA, **options: gpu._to(tensor, CUDA, **options),
}


class _Autocast(torch.autocast):
    def __init__(self, device_type: str, *args: Any, **kwargs: Any) -> None:
        super().__init__("cpu" if device_type == "cuda" else device_type, *args, **kwargs)


def _without_gradients(mode: bool) -> Any:
    """Stands in for inference mode, which takes no wrappers."""
    return torch.no_grad() if mode else nullcontext()


class _Stream:
    """Of which nobody can tell that all is done at once."""

    def __init__(self, *_: Any) -> None:
        pass

    def record_event(self) -> str:
        return "done"

    def wait_event(self, event: str) -> None:
        pass


_PATCHES = [
    (torch, "autocast", _Autocast),
    (torch.amp, "autocast", _Autocast),
    (torch._C, "_InferenceMode", _without_gradients),
    (torch.cuda, "Stream", _Stream),
    (torch.cuda, "stream", lambda stream: nullcontext()),
    (torch.cuda, "current_stream", lambda *_: _Stream()),
    (torch.cuda, "synchronize", lambda *_: FakeGpu.current._wait("synchronize")),
    (torch.cuda, "get_device_capability", lambda *_: (9, 0)),
    (torch.cuda.amp.common, "amp_definitely_not_available", lambda: False),
    (GpuTensor, "record_stream", lambda self, stream: None),
]


def _launches(name: str, args: Any) -> int:
    if name == "cat":
        return -(-len(args[0]) // 128)  # tensors that one launch takes
    if name.startswith(("_foreach", "_amp_foreach")):
        return -(-len(args[0]) // 64)
    training = args[5] if name == "native_batch_norm" else True
    return LAUNCHES.get(name, 1) if training else 2


def _asked_by() -> str:
    """The function of the package that is running, innermost first."""
    frame = sys._getframe(1)
    while frame is not None:
        file = Path(frame.f_code.co_filename)
        if PACKAGE in file.parents:  # whatever the folder of the checkout is called
            return ".".join([*file.relative_to(PACKAGE).with_suffix("").parts, frame.f_code.co_name])
        frame = frame.f_back
    return "torch"
