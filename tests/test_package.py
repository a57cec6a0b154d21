"""What `import slowfast_atfr` and torch.hub offer, and that the import itself loads nothing."""

import runpy
import subprocess
import sys

import pytest
import torch

import slowfast_atfr

NAMES = {"SGS", "Predictor", "create_model", "insert_sgs", "load_cfg"}


def in_new_process(code, folder, **options):
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, **options).stdout


def test_the_import_loads_none_of_the_rooms_and_no_torch(repo):
    code = "import sys, slowfast_atfr; dir(slowfast_atfr); print(*sys.modules)"
    loaded = set(in_new_process(code, repo).split())
    assert "slowfast_atfr" in loaded and "torch" not in loaded
    assert not any(name.startswith("slowfast_atfr.") for name in loaded)


EACH_FIRST = """
import os
import sys
import torch  # takes long, and imports nothing of ours
for name in {names}:
    if os.fork() == 0:
        try:
            exec(f"from slowfast_atfr import {{name}}; print({{name}}.__name__, flush=True)")
        finally:
            os._exit(0)
    os.wait()
from slowfast_atfr import load_cfg
load_cfg("SSv2/SLOWFAST_8x8_R50_ATFR_RECOMMENDED")  # its check builds a network without memory
print("torch._dynamo" in sys.modules)
"""


def test_each_name_can_be_the_first_that_is_used_and_no_config_waits_for_a_compiler(repo):
    """No circle of imports, wherever one enters."""
    names = sorted(NAMES)
    assert in_new_process(EACH_FIRST.format(names=names), repo).split() == [*names, "False"]


def test_the_names_are_those_of_the_rooms():
    from slowfast_atfr.config import load_cfg
    from slowfast_atfr.engine.inference.predict import Predictor
    from slowfast_atfr.sgs import SGS, insert_sgs

    assert set(slowfast_atfr.__all__) == NAMES <= set(dir(slowfast_atfr))
    same = {"SGS": SGS, "Predictor": Predictor, "insert_sgs": insert_sgs, "load_cfg": load_cfg}
    assert all(getattr(slowfast_atfr, name) is value for name, value in same.items())


def test_a_name_that_is_not_there_is_told_with_those_that_are():
    with pytest.raises(AttributeError, match="no attribute 'build'; it offers SGS, Predictor, create_model"):
        slowfast_atfr.build  # noqa: B018
    with pytest.raises(ImportError):
        exec("from slowfast_atfr import build")


def test_torch_hub_offers_the_same(repo):
    offered = runpy.run_path(str(repo / "hubconf.py"))
    assert all(offered[name] is getattr(slowfast_atfr, name) for name in NAMES)
    model = torch.hub.load(str(repo), "create_model", "Kinetics/X3D_S_ATFR", source="local", num_classes=10)
    assert model.head.projection.out_features == 10 and model.s2_sgs
