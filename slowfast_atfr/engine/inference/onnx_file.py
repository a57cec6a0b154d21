"""An exported ONNX file: the packages it needs, its metadata, and its execution by ONNX Runtime."""

import importlib
import json
import os
from collections.abc import Sequence
from types import ModuleType

import numpy as np
import torch
import yaml
from fvcore.common.config import CfgNode
from torch import Tensor

from slowfast_atfr.config import ConfigError, load_cfg
from slowfast_atfr.config.load import flatten
from slowfast_atfr.utils.errors import RunError

CONFIG, CLASSES = "slowfast_atfr.config", "slowfast_atfr.classes"  # keys of the metadata
PATHS = (
    ("TRAIN", "CHECKPOINT_FILE_PATH"),
    ("TEST", "CHECKPOINT_FILE_PATH"),
    ("DATA", "PATH_TO_DATA_DIR"),
    ("DATA", "PATH_PREFIX"),
)
NETWORK = ("MODEL", "RESNET", "X3D", "SLOWFAST", "NONLOCAL", "BN", "SGS", "TEMPORAL_ATTENTION")  # sections of a config
SCORES = "scores"  # the first output


def import_extra(package: str) -> ModuleType:
    """Import a package of the extra `export`.

    Raises:
        RunError: if it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise RunError(f"ONNX needs the package {package}: pip install 'slowfast_atfr[export]' ({error})") from None


class OnnxFile:
    """A network of `slowfast-atfr export --format onnx`, run by ONNX Runtime on the CPU, one clip at a time.

    It uses torch's number of threads.

    Args:
        path: of the file.
    Raises:
        RunError: if onnxruntime is missing, the file cannot be read, or it was not written by this package.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        runtime = import_extra("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        if not os.path.isfile(self.path):
            raise RunError(f"there is no file {self.path!r}; `slowfast-atfr export --format onnx` writes one")
        try:
            self._session = runtime.InferenceSession(self.path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # of many classes
            raise RunError(f"ONNX Runtime cannot read {self.path}: {str(error).splitlines()[0]}") from None
        self._inputs = self._session.get_inputs()
        self.outputs = [output.name for output in self._session.get_outputs()]
        self._metadata = self._session.get_modelmeta().custom_metadata_map
        if CONFIG not in self._metadata:
            raise RunError(
                f"{self.path} has no config in its metadata: write it by `slowfast-atfr export --format onnx`"
            )

    def __call__(self, pathways: Sequence[Tensor]) -> dict[str, np.ndarray]:
        """Run one clip.

        Args:
            pathways: (1, 3, T_p, H, W) float32 on the CPU, one for each pathway.
        Returns:
            scores (1, num_classes), and the 0-d number of maps after each SGS layer, such as active_bins_s2.
        """
        feed = {put.name: x.contiguous().numpy() for put, x in zip(self._inputs, pathways, strict=True)}
        return dict(zip(self.outputs, self._session.run(None, feed), strict=True))

    @property
    def input_shapes(self) -> list[tuple[int, ...]]:
        return [tuple(put.shape) for put in self._inputs]

    @property
    def classes(self) -> list[str] | None:
        """Names of the classes, None if the export had none."""
        names = self._metadata.get(CLASSES)
        return None if names is None else json.loads(names)

    def cfg(self, pairs: Sequence[str] = ()) -> CfgNode:
        """Return the exported config, overridden by KEY VALUE pairs.

        Raises:
            ConfigError: for a key of the network, which is fixed.
        """
        fixed = [key for key in pairs[::2] if key.partition(".")[0] in NETWORK]
        if fixed:
            raise ConfigError(
                f"{fixed[0]} is a key of the network, which is fixed in {self.path}; leave it out, or export again"
            )
        return load_cfg(None, [*pairs_of_yaml(self._metadata[CONFIG]), *pairs])


def pairs_of_yaml(text: str) -> list[str]:
    """Return KEY, VALUE, ... of a config's YAML."""
    pairs = []
    for key, value in flatten(yaml.safe_load(text)):
        pairs += [key, value if isinstance(value, str) else json.dumps(value)]
    return pairs


def metadata(cfg: CfgNode, classes: Sequence[str] | None) -> dict[str, str]:
    """Return a file's metadata: its config without local paths, and the class names."""
    cfg = cfg.clone()
    cfg.defrost()
    for section, leaf in PATHS:
        cfg[section][leaf] = ""
    cfg.OUTPUT_DIR = "."
    known = {CONFIG: cfg.dump()}
    return known if classes is None else known | {CLASSES: json.dumps(list(classes))}
