"""Each similarity: its values from the definition, its range, a gradient that is right, and finite everywhere."""

from functools import partial
from itertools import product
from math import pi

import numpy as np
import pytest
import torch
from torch import Tensor

from slowfast_atfr.sgs.bins import assign_bins
from slowfast_atfr.sgs.similarity import SHRINKAGE, SIMILARITY_REGISTRY, Coordinates, spherical

ALL = {
    **dict(SIMILARITY_REGISTRY),
    "spherical-angular": partial(spherical, coordinates="angular"),
    "spherical-radial": partial(spherical, coordinates="radial"),
}
each = pytest.mark.parametrize("similarity", list(ALL.values()), ids=list(ALL))


def measure(similarity, embeddings: Tensor) -> Tensor:
    """(T, L) -> (T, K)."""
    return similarity(embeddings[None], torch.ones(1, len(embeddings), dtype=torch.bool)).values[0]


def embeddings(frames: int, dims: int = 8, seed: int = 0) -> Tensor:
    return torch.randn(frames, dims, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_distances_from_their_definitions():
    z = embeddings(12).numpy()
    apart = z - z.mean(0)
    covariance = np.cov(z.T, bias=True)
    shrunk = (1 - SHRINKAGE) * covariance + SHRINKAGE * np.trace(covariance) / 8 * np.eye(8)
    steps = np.sqrt((np.diff(z, axis=0) ** 2).sum(1))
    cosine = z @ z.mean(0) / np.linalg.norm(z, axis=1) / np.linalg.norm(z.mean(0))
    expected = {
        "magnitude": np.sqrt((z**2).sum(1)),
        "mean_l2": np.sqrt((apart**2).sum(1)),
        "mean_l1": np.abs(apart).sum(1),
        "mean_cosine": 1 - cosine,
        "mean_mahalanobis": np.sqrt(np.einsum("ti,ij,tj->t", apart, np.linalg.inv(shrunk), apart)),
        "spherical-radial": np.sqrt((z**2).sum(1)),
        "path": (steps[0] / 2 + np.concatenate([[0], steps.cumsum()])) / (steps.sum() + (steps[0] + steps[-1]) / 2),
    }
    for name, values in expected.items():
        torch.testing.assert_close(measure(ALL[name], torch.from_numpy(z))[:, 0], torch.from_numpy(values))


def test_where_as_much_changes_everywhere_the_path_is_time():
    z = torch.arange(6.0, dtype=torch.float64)[:, None] * torch.tensor([3.0, 4.0]) + 7
    expected = (torch.arange(6.0, dtype=torch.float64) + 0.5) / 6
    torch.testing.assert_close(measure(ALL["path"], z)[:, 0], expected)
    short = torch.cat([z[:4], torch.zeros(2, 2, dtype=torch.float64)])[None]
    real = torch.tensor([[True] * 4 + [False] * 2])
    values = SIMILARITY_REGISTRY.get("path")(short, real).values[0, :4, 0]
    torch.testing.assert_close(values, (torch.arange(4.0, dtype=torch.float64) + 0.5) / 4)


def test_cartesian_coordinates_count_from_the_smallest():
    values = measure(ALL["cartesian"], torch.tensor([[1.0, -2.0], [3.0, -2.0], [0.0, 4.0]]))
    assert values.tolist() == [[1, 0], [3, 0], [0, 6]]


@pytest.mark.parametrize("dims", [2, 3, 8])
def test_the_embedding_can_be_rebuilt_from_its_spherical_coordinates(dims):
    z = embeddings(50, dims)
    radius, *angles = measure(spherical, z).T
    assert all(((angle >= 0) & (angle <= pi)).all() for angle in angles[:-1])
    assert ((angles[-1] >= 0) & (angles[-1] < 2 * pi)).all() and (angles[-1] > pi).any()
    rest, rebuilt = radius, []
    for angle in angles:
        rebuilt.append(rest * angle.cos())
        rest = rest * angle.sin()
    torch.testing.assert_close(torch.stack([*rebuilt, rest], 1), z)


def test_the_parts_of_spherical_are_its_columns_and_know_their_extents():
    z, real = embeddings(5)[None], torch.ones(1, 5, dtype=torch.bool)
    whole, angular = spherical(z, real), spherical(z, real, coordinates="angular")
    radial = spherical(z, real, coordinates="radial")
    assert whole.extents == (*radial.extents, *angular.extents) == (None, *[pi] * 6, 2 * pi)
    assert torch.equal(whole.values, torch.cat([radial.values, angular.values], -1))


@each
def test_values_are_not_negative_and_there_are_as_many_as_extents(similarity):
    coordinates = similarity(embeddings(20)[None] * 5, torch.ones(1, 20, dtype=torch.bool))
    assert (coordinates.values >= 0).all() and coordinates.values.shape[-1] == len(coordinates.extents)


@each
def test_frames_that_are_not_there_count_for_nothing(similarity):
    short, long = embeddings(5), embeddings(9, seed=1)
    both = torch.stack([torch.cat([short, torch.zeros(4, 8, dtype=short.dtype)]), long])
    real = torch.arange(9) < torch.tensor([[5], [9]])
    values = similarity(both, real).values
    assert torch.isfinite(values).all()
    torch.testing.assert_close(values[0, :5], measure(similarity, short))
    torch.testing.assert_close(values[1], measure(similarity, long))


@each
def test_the_gradient_passes_gradcheck(similarity):
    z = embeddings(5, 4, seed=3).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: measure(similarity, z), z)


def awkward() -> dict[str, Tensor]:
    """What a network can reach, and where formulas divide by zero."""
    z = embeddings(6)
    pole = torch.zeros(6, 8, dtype=z.dtype)
    pole[:, 0] = torch.tensor([1.0, -1, 2, -2, 0, 3])
    tiny_tail = z.clone()
    tiny_tail[:, 3:] *= 1e-20
    one_zero = z.clone()
    one_zero[2] = 0
    half_zero = z.clamp(min=0)
    return {
        "all zero": torch.zeros_like(z),
        "one zero": one_zero,
        "poles": pole,
        "tiny tails": tiny_tail,
        "static": z[:1].repeat(6, 1),
        "two values": z[:2].repeat(3, 1),
        "a frame at the mean": torch.cat([z[:3], z[:3].mean(0, keepdim=True), z[:2]]),
        "balanced": torch.cat([z[:3], -z[:3]]),
        "one frame": z[:1],
        "half zero": half_zero,
        "tiny": z * 1e-30,
        "large": z * 1e15,
        "nearly static": z[:1] + 1e-9 * z,
    }


@each
def test_gradients_are_finite_where_formulas_are_not(similarity):
    for case, dtype in product(awkward(), (torch.float32, torch.float64)):
        z = awkward()[case].to(dtype).requires_grad_()
        values = measure(similarity, z)
        values.backward(torch.linspace(-1, 2, values.numel(), dtype=dtype).view_as(values))
        assert torch.isfinite(values).all() and torch.isfinite(z.grad).all(), (case, dtype)


@pytest.mark.parametrize("similarity", [entry for name, entry in ALL.items() if name != "uniform_time"])
def test_a_static_clip_is_one_bin_however_its_mean_was_rounded(similarity):
    for seed in range(5):
        z = embeddings(1, seed=seed).float().repeat(7, 1)
        real, num_bins = torch.ones(1, 7, dtype=torch.bool), torch.tensor([7.0])
        _, bins = assign_bins(similarity(z[None], real), real, num_bins)
        assert len(bins[0].unique(dim=0)) == 1, seed


def test_rounding_noise_is_no_distance_and_what_is_larger_is():
    frame = torch.full((4, 8), 3.0)
    noise = torch.zeros_like(frame)
    noise[1] = 2e-7
    for name in ("mean_l2", "mean_l1", "mean_cosine", "mean_mahalanobis", "cartesian"):
        assert (measure(ALL[name], frame + noise) == 0).all(), name
        noise[1, 0] = 1e-3
        assert (measure(ALL[name], frame + noise) > 0).any(), name
        noise[1] = 2e-7


def test_mahalanobis_tells_frames_apart_where_the_covariance_is_singular():
    z = embeddings(6).cumsum(0)  # 6 frames in 8 dimensions: with the pseudo-inverse all distances are equal
    apart = z - z.mean(0)
    plain = torch.einsum("ti,ij,tj->t", apart, torch.linalg.pinv(apart.T @ apart / 6), apart).sqrt()
    assert plain.max() - plain.min() < 1e-6
    shrunk = measure(ALL["mean_mahalanobis"], z)
    assert shrunk.max() > 1.1 * shrunk.min()
    torch.testing.assert_close(measure(ALL["mean_mahalanobis"], 64 * z), shrunk)


def test_a_vector_without_direction_is_at_cosine_distance_one():
    z = torch.tensor([[1.0, 0], [0, 0], [3, 0], [0, 2]])
    values = measure(ALL["mean_cosine"], z)[:, 0]
    assert values[1] == 1 and (values[[0, 2, 3]] < 1).all()
    assert (measure(ALL["mean_cosine"], torch.tensor([[1.0, 2], [-1, -2]])) == 1).all()  # the mean has none


def test_coordinates_have_an_extent_for_each_axis():
    with pytest.raises(ValueError, match=r"an extent for each of the K axes, got values of shape \(1, 4, 3\) and 1"):
        Coordinates(torch.zeros(1, 4, 3))
    with pytest.raises(ValueError, match=r"got values of shape \(1, 4\)"):
        Coordinates(torch.zeros(1, 4))
