"""Look up similarities and kernels by name."""

from fvcore.common.registry import Registry

from slowfast_atfr.config import ConfigError
from slowfast_atfr.sgs.kernels import KERNEL_REGISTRY, Kernel
from slowfast_atfr.sgs.similarity import SIMILARITY_REGISTRY, Similarity


def similarity_named(name: str) -> Similarity:
    """The entry of SIMILARITY_REGISTRY."""
    return _look_up(SIMILARITY_REGISTRY, name, "SGS.SIMILARITY")


def kernel_named(name: str) -> Kernel:
    """The entry of KERNEL_REGISTRY."""
    return _look_up(KERNEL_REGISTRY, name, "SGS.KERNEL")


def _look_up(registry: Registry, name: str, key: str):
    if name not in registry:
        raise ConfigError(f"{key} is {name!r}; choose one of {', '.join(sorted(known for known, _ in registry))}")
    return registry.get(name)
