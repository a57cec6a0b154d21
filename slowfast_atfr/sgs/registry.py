"""Look up similarities and kernels by name."""

from functools import partial

from fvcore.common.config import CfgNode
from fvcore.common.registry import Registry

from slowfast_atfr.config import ConfigError
from slowfast_atfr.sgs.kernels import KERNEL_REGISTRY, Kernel
from slowfast_atfr.sgs.similarity import SIMILARITY_REGISTRY, Similarity, spherical


def similarity_named(name: str, coordinates: str = "all") -> Similarity:
    """The entry of SIMILARITY_REGISTRY; `spherical` with a part of its coordinates: angular or radial."""
    similarity = _look_up(SIMILARITY_REGISTRY, name, "SGS.SIMILARITY")
    if coordinates == "all":
        return similarity
    if coordinates not in ("angular", "radial"):
        raise ConfigError(f"SGS.COORDINATES is {coordinates!r}; choose one of all, angular, radial")
    if similarity is not spherical:
        raise ConfigError(
            f"SGS.COORDINATES is {coordinates!r}, but SGS.SIMILARITY {name} has neither angles nor a radius; "
            "choose all, or the similarity spherical"
        )
    return partial(spherical, coordinates=coordinates)


def kernel_named(name: str) -> Kernel:
    """The entry of KERNEL_REGISTRY."""
    return _look_up(KERNEL_REGISTRY, name, "SGS.KERNEL")


def check_config(cfg: CfgNode) -> None:
    """Raise ConfigError for names that the registries do not have."""
    similarity_named(cfg.SGS.SIMILARITY, cfg.SGS.COORDINATES)
    kernel_named(cfg.SGS.KERNEL)


def _look_up(registry: Registry, name: str, key: str):
    if name not in registry:
        raise ConfigError(f"{key} is {name!r}; choose one of {', '.join(sorted(known for known, _ in registry))}")
    return registry.get(name)
