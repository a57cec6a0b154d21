"""Networks: importing this package registers them."""

from slowfast_atfr.models import video_resnet  # noqa: F401  (registers SlowFast and ResNet)
from slowfast_atfr.models.build import MODEL_REGISTRY, build_model

__all__ = ["MODEL_REGISTRY", "build_model"]
