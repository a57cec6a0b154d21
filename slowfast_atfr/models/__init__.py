"""Networks: importing this package registers them."""

from slowfast_atfr.models import video_resnet, x3d  # noqa: F401  (registers SlowFast, ResNet and X3D)
from slowfast_atfr.models.borders import replicate_in_time
from slowfast_atfr.models.build import MODEL_REGISTRY, build_model
from slowfast_atfr.models.inference import fold_norms

__all__ = ["MODEL_REGISTRY", "build_model", "fold_norms", "replicate_in_time"]
