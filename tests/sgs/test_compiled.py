"""A network with SGS under torch.compile gives what it gives without."""

import pytest

from tests.processes import Program

CODE = """
import torch
from torch import nn
from slowfast_atfr.sgs import compile_network, insert_sgs
from tests.foreign import VideoResNet, conv

net = insert_sgs(VideoResNet(conv).eval(), "layer1", similarity="path", kernel="linear_mean", num_bins=3)
clips = torch.randn(2, 3, 6, 16, 16)
expected = net(clips)
graphs = []
compiled = compile_network(net, backend=lambda graph, example: graphs.append(graph) or graph.forward)
torch.testing.assert_close(compiled(clips), expected)
compiled(clips).sum().backward()
assert all(parameter.grad is not None for parameter in net.parameters())
assert any("conv3d" in graph.code for graph in graphs), "what comes before SGS is in a graph"
"""

OWN = """
import torch
from slowfast_atfr.sgs import compile_network
from slowfast_atfr import create_model

own = create_model("Demo/SLOWFAST_R18_ATFR", RESNET__WIDTH_PER_GROUP=8).eval()
pathways = [torch.randn(2, 3, frames, 16, 16) for frames in (8, 32)]
with torch.no_grad():
    expected = own(pathways)
    torch.testing.assert_close(compile_network(own, backend="eager")(pathways), expected)
"""


@pytest.mark.parametrize("code", [CODE, pytest.param(OWN, marks=pytest.mark.slow)], ids=["any", "ours"])
def test_a_compiled_network_gives_the_same(tmp_path, code):
    """In a process of its own: compile_network hides packed clips from torch's compiler from then on."""
    (tmp_path / "code.py").write_text(code)
    program = Program(tmp_path / "code.py", cwd=tmp_path)
    errors = program.communicate(timeout=200)[1]
    assert program.returncode == 0, errors
