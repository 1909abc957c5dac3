"""OctBatchNorm2d against one nn.BatchNorm2d a branch, on the same channels."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from octnas.errors import ArchitectureError
from octnas.nn import OctBatchNorm2d


def channel_sets(channels: int, low: int, groups: int) -> tuple[list[int], list[int]]:
    each, cut = channels // groups, (channels - low) // groups
    return (
        [c for c in range(channels) if c % each < cut],
        [c for c in range(channels) if c % each >= cut],
    )


@pytest.mark.parametrize(("low", "groups"), [(0, 1), (3, 1), (8, 1), (12, 1), (4, 4), (6, 2)])
@pytest.mark.parametrize("momentum", [0.1, None])
def test_each_branch_is_normalised_by_its_channels(low: int, groups: int, momentum: float | None) -> None:
    torch.manual_seed(0)
    channels = 12
    norm = OctBatchNorm2d(channels, low, groups=groups, momentum=momentum)
    nn.init.uniform_(norm.weight)
    nn.init.normal_(norm.bias)
    sets = channel_sets(channels, low, groups)
    references = []
    for index in sets:
        reference = nn.BatchNorm2d(max(len(index), 1), momentum=momentum)
        if index:
            reference.weight.data = norm.weight.data[index]
            reference.bias.data = norm.bias.data[index]
        references.append(reference)
    for training in (True, True, False):
        norm.train(training)
        x = [
            torch.randn(4, len(index), side, side) * 2 + 1 if index else None
            for index, side in zip(sets, (6, 3), strict=True)
        ]
        out = norm((x[0], x[1]))
        for branch, got, reference, index in zip(x, out, references, sets, strict=True):
            if branch is None:
                assert got is None
                continue
            reference.train(training)
            torch.testing.assert_close(got, reference(branch))
            for name in ("running_mean", "running_var"):
                torch.testing.assert_close(getattr(norm, name)[index], getattr(reference, name))
    assert int(norm.num_batches_tracked) == 2


def test_state_dict_is_that_of_the_ordinary_normalisation() -> None:
    plain = nn.BatchNorm2d(8)
    with torch.no_grad():
        for value in plain.state_dict().values():
            value.copy_(torch.rand(value.shape) * 9)
    norm = OctBatchNorm2d(8, 3)
    norm.load_state_dict(plain.state_dict(), strict=True)
    for name, value in plain.state_dict().items():
        assert torch.equal(norm.state_dict()[name], value)


def test_low_must_fit_the_channels_and_the_groups() -> None:
    with pytest.raises(ArchitectureError, match="0 <= low <= 8"):
        OctBatchNorm2d(8, 9)
    with pytest.raises(ArchitectureError, match="multiple of groups=4"):
        OctBatchNorm2d(8, 2, groups=4)
