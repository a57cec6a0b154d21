"""Build a network by the name of a config and keyword arguments."""

import os
from typing import Any

from torch import nn

from slowfast_atfr.config import ConfigError, load_cfg
from slowfast_atfr.engine.checkpoint.load_weights import HEAD, load_weights
from slowfast_atfr.engine.checkpoint.save import weights_at
from slowfast_atfr.models import build_model


def create_model(
    name: str,
    pretrained: str | os.PathLike[str] | None = None,
    *,
    num_classes: int | None = None,
    **keys: Any,
) -> nn.Module:
    """Build the network of a config.

    Args:
        name: of a config, such as Kinetics/X3D_S_ATFR, or the path of a YAML file, which wins.
        pretrained: a file of weights, of any kind that training can start from, or the OUTPUT_DIR of a run. Weights of
            the network without SGS fit, too: SGS is then new. None: random weights.
        num_classes: None: that of the config. If given, a classifier of another size in the file is ignored.
        **keys: of the config, with two underscores for the dot: SGS__NUM_BINS=[8].
    Returns:
        the network on the CPU, in training mode. It takes a list with (N, 3, T, H, W) for each pathway and returns
        (N, num_classes): scores in training, probabilities in evaluation.
    Raises:
        ConfigError: for an unknown name or key, an invalid value, or a file that cannot be read or is of another
            network; without num_classes also if the file's classifier does not fit.

    >>> import torch
    >>> model = create_model("Kinetics/X3D_S_ATFR", num_classes=10).eval()
    >>> model([torch.randn(1, 3, 13, 160, 160)]).shape
    torch.Size([1, 10])
    >>> model = create_model("Kinetics/SLOWFAST_4x16_R50_ATFR", DATA__TRAIN_CROP_SIZE=112)
    >>> frames = torch.randn(1, 3, 32, 112, 112)
    >>> model.eval()([frames[:, :, ::8], frames]).shape
    torch.Size([1, 400])
    """
    if num_classes is not None:
        keys["MODEL__NUM_CLASSES"] = num_classes
    pairs = [text for key, value in keys.items() for text in (key.replace("__", "."), str(value))]
    model = build_model(load_cfg(name, pairs, source="create_model"))
    if pretrained is None:
        return model
    file = weights_at(os.fspath(pretrained), key="pretrained")
    report = load_weights(file, model)
    left = [weight for weight in (*report.missing, *map(str, report.mismatched)) if weight.startswith(HEAD)]
    if num_classes is None and left:
        remedy = "give num_classes: that of the file, or your own, for a new classifier"
        raise ConfigError(f"pretrained is {file.path!r}, whose classifier does not fit ({', '.join(left)}); {remedy}")
    return model
