"""3D CNNs with adaptive temporal feature resolution (Fayyaz et al., CVPR 2021), as a PySlowFast-style extension.

The names below are imported on first use, so `import slowfast_atfr` is fast and does not import torch.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_ROOMS = {  # name: its module
    "SGS": "slowfast_atfr.sgs",
    "Predictor": "slowfast_atfr.engine.inference.predict",
    "create_model": "slowfast_atfr.engine.create",
    "insert_sgs": "slowfast_atfr.sgs",
    "load_cfg": "slowfast_atfr.config",
}
__all__ = [*_ROOMS]


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it offers {', '.join(_ROOMS)}")
    return getattr(import_module(_ROOMS[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_ROOMS})
