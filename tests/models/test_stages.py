"""Stage specs are the published architectures."""

from slowfast_atfr.config import load_cfg
from slowfast_atfr.models.stages import stage_specs, stem_spec


def test_3dresnet_is_the_supplements_table_a1(repo):
    for depth, blocks in ((18, (2, 2, 2, 2)), (50, (3, 4, 6, 3))):
        cfg = load_cfg(str(repo / f"configs/Mini_Kinetics/3DRESNET{depth}.yaml"))
        stem, stages = stem_spec(cfg), stage_specs(cfg)
        assert (stem.dim_out, stem.temporal_kernel) == ((8,), (5,))
        assert [spec.dim_inner for spec in stages] == [(8,), (64,), (128,), (256,)]
        assert [spec.dim_out for spec in stages] == [(32,), (256,), (512,), (1024,)]
        assert [spec.stride for spec in stages] == [(1,), (2,), (2,), (2,)]
        kernels = [(3,), (1,), (1,), (3,)]
        assert [spec.temporal_kernels for spec in stages] == [
            (kernel * count,) for kernel, count in zip(kernels, blocks, strict=True)
        ]


def test_lateral_connections_widen_the_slow_pathways_inputs(repo):
    cfg = load_cfg(str(repo / "configs/Kinetics/SLOWFAST_8x8_R50.yaml"))
    assert [spec.dim_in for spec in stage_specs(cfg)] == [(80, 8), (320, 32), (640, 64), (1280, 128)]
    assert [spec.dim_out for spec in stage_specs(cfg)] == [(256, 32), (512, 64), (1024, 128), (2048, 256)]


def test_blocks_beyond_num_block_temp_kernel_have_temporal_kernel_1(repo):
    pairs = ["RESNET.NUM_BLOCK_TEMP_KERNEL", "[[3, 1], [4, 0], [2, 6], [3, 3]]"]
    cfg = load_cfg(str(repo / "configs/Kinetics/SLOWFAST_8x8_R50.yaml"), pairs)
    res2, res3, res4, _ = stage_specs(cfg)
    assert res2.temporal_kernels == ((1, 1, 1), (3, 1, 1))
    assert res3.temporal_kernels == ((1,) * 4, (1,) * 4)
    assert res4.temporal_kernels == ((3, 3, 1, 1, 1, 1), (3,) * 6)
