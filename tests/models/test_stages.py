"""Stage specs are the published architectures."""

import pytest

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


def test_i3d_alternates_its_temporal_kernels(repo):
    cfg = load_cfg(str(repo / "configs/Kinetics/I3D_8x8_R50.yaml"))
    kernels = [spec.temporal_kernels for spec in stage_specs(cfg)]
    assert stem_spec(cfg).temporal_kernel == (5,)
    assert kernels == [((3, 3, 3),), ((3, 1, 3, 1),), ((3, 1, 3, 1, 3, 1),), ((1, 3, 1),)]
    cfg = load_cfg(
        str(repo / "configs/Kinetics/I3D_8x8_R50.yaml"), ["RESNET.NUM_BLOCK_TEMP_KERNEL", "[[1], [2], [3], [0]]"]
    )
    kernels = [spec.temporal_kernels for spec in stage_specs(cfg)]
    assert kernels == [((3, 1, 1),), ((3, 1, 1, 1),), ((3, 1, 3, 1, 1, 1),), ((1, 1, 1),)]


@pytest.mark.parametrize(
    ("arch", "kernel", "pool"), [("c2d", 1, 2), ("i3d", 3, 2), ("slow_c2d", 1, 1), ("slow_i3d", 3, 1), ("2d", 1, 1)]
)
def test_c2d_and_i3d_pool_time_after_res2_and_their_slow_kin_do_not(repo, arch, kernel, pool):
    stages = stage_specs(load_cfg(str(repo / "configs/Kinetics/I3D_8x8_R50.yaml"), ["MODEL.ARCH", arch]))
    assert [spec.temporal_pool for spec in stages] == [pool, 1, 1, 1]
    assert stages[0].temporal_kernels == ((kernel,) * 3,)


def test_non_local_blocks_stand_where_the_config_says(repo):
    pairs = {
        "NONLOCAL.LOCATION": "[[[], [2]], [[3, 1, 3], [0]], [[]], [[0]]]",
        "NONLOCAL.GROUP": "[[1], [2, 4], [1], [8]]",
        "NONLOCAL.POOL": "[[[1, 1, 1], [2, 3, 4]], [[1, 2, 2]], [[1, 2, 2]], [[1, 2, 2]]]",
    }
    cfg = load_cfg(
        str(repo / "configs/Kinetics/SLOWFAST_8x8_R50.yaml"), [part for pair in pairs.items() for part in pair]
    )
    res2, res3, res4, res5 = ([vars(block) for block in spec.nonlocal_blocks] for spec in stage_specs(cfg))
    options = {"instantiation": "dot_product", "pool": (1, 2, 2)}
    assert res2 == [options | {"stage": 2, "pathway": 1, "index": 2, "dim": 32, "group": 1, "pool": (2, 3, 4)}]
    assert res3 == [options | {"stage": 3, "pathway": 0, "index": i, "dim": 512, "group": 2} for i in (1, 3)] + [
        options | {"stage": 3, "pathway": 1, "index": 0, "dim": 64, "group": 4}
    ]
    assert res4 == []
    assert res5 == [
        options | {"stage": 5, "pathway": pathway, "index": 0, "dim": dim, "group": 8}
        for pathway, dim in ((0, 2048), (1, 256))
    ]
