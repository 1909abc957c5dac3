"""SearchSpace: which architectures may be searched, what compute counts, what training ranks them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import cached_property

from octnas.architecture import Alpha, Architecture, Downsample
from octnas.costs.latency import DeviceProfile
from octnas.errors import SpaceError, unknown_name
from octnas.space.added import with_backbones
from octnas.space.agreement import check_proxy
from octnas.space.counting import CountTable
from octnas.space.feasible import Feasible
from octnas.space.limited import CostName
from octnas.space.members import Dimension, Members
from octnas.space.schema import Definition, Granularity, Proxy, Target, parse_definition
from octnas.space.spread import median_cost

__all__ = ["SearchSpace", "parse_space"]


class SearchSpace:
    """The architectures that a definition admits, each at the target's width, stem and input.

    GFLOPs are the target's, in 10^9 multiply-adds. Spaces with equal definitions are equal.

    Raises:
        SpaceError: the proxy's low channels would not be whole and distinct, or other layers would be
            octave at the proxy's input than at the target's.
    """

    def __init__(self, definition: Definition, *, source: str | None = None) -> None:
        self.definition = definition
        self._members = {
            name: Members(
                backbone=name,
                granularity=definition.granularity,
                alphas=definition.alphas,
                downsample=definition.downsample,
                target=definition.target_of(name),
            )
            for name in definition.backbones
        }
        for name, members in self._members.items():
            check_proxy(members, definition.proxy_of(name), source or definition.name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SearchSpace) and self.definition == other.definition

    def __hash__(self) -> int:
        return hash(self.to_yaml())

    def __repr__(self) -> str:
        return (
            f"SearchSpace({self.name!r}, granularity={self.granularity!r}, backbones={list(self.backbones)})"
        )

    @property
    def name(self) -> str:
        """Its name in the catalog."""
        return self.definition.name

    @property
    def description(self) -> str:
        """What it is for."""
        return self.definition.description

    @property
    def granularity(self) -> Granularity:
        """Who chooses an alpha: a stage, a block, a layer, or a stage with steps by layer."""
        return self.definition.granularity

    @property
    def alphas(self) -> tuple[Fraction, ...]:
        """Allowed shares of low channels, ascending."""
        return self.definition.alphas

    @property
    def backbones(self) -> tuple[str, ...]:
        """Backbones searched."""
        return self.definition.backbones

    @property
    def downsample(self) -> tuple[Downsample, ...]:
        """What a layer with stride 2 and no low channels may do."""
        return self.definition.downsample

    @property
    def target(self) -> Target:
        """The network whose compute is counted."""
        return self.definition.target

    @property
    def proxy(self) -> Proxy:
        """The small training that ranks candidates."""
        return self.definition.proxy

    def proxy_of(self, backbone: str) -> Proxy:
        """The proxy with the width and stem that this backbone has in it."""
        self.members(backbone)
        return self.definition.proxy_of(backbone)

    def members(self, backbone: str) -> Members:
        """The architectures of one backbone.

        Raises:
            UnknownNameError: the space does not search this backbone.
        """
        if backbone not in self._members:
            raise unknown_name(f"backbone of space {self.name}", backbone, self._members)
        return self._members[backbone]

    def to_yaml(self) -> str:
        """YAML that `parse_space` reads back as an equal space."""
        return self.definition.to_yaml()

    def size(self) -> int:
        """Number of distinct architectures, exact: steps that give the same integers count once."""
        return sum(members.size for members in self._members.values())

    def smallest(self) -> Architecture:
        """The cheapest member; ties to the backbone that stands first."""
        members = min(self._members.values(), key=lambda members: members.graph.min_cost)
        return members.architecture(members.graph.smallest(), self.downsample[0])

    def largest(self) -> Architecture:
        """The dearest member; ties to the backbone that stands first."""
        members = max(self._members.values(), key=lambda members: members.graph.max_cost)
        return members.architecture(members.graph.largest(), self.downsample[0])

    @property
    def min_gflops(self) -> float:
        """The cheapest member's cost in 10^9 multiply-adds."""
        return min(members.graph.min_cost for members in self._members.values()) / 1e9

    @cached_property
    def median_gflops(self) -> float:
        """The median over all distinct members, in 10^9 multiply-adds, by the exact count (to within one cell
        of its table where the target's size has no common quantum)."""
        graphs = [members.graph for members in self._members.values()]
        return median_cost([CountTable(graph, graph.max_cost - graph.min_cost) for graph in graphs]) / 1e9

    @property
    def max_gflops(self) -> float:
        """The dearest member's cost in 10^9 multiply-adds."""
        return max(members.graph.max_cost for members in self._members.values()) / 1e9

    def contains(self, arch: Architecture) -> bool:
        """Whether an architecture is a member."""
        return arch.backbone in self._members and self._members[arch.backbone].choices(arch) is not None

    def macs(self, arch: Architecture) -> int:
        """Multiply-adds at the target's input, exact, of any architecture at the target's width and stem."""
        return self.members(arch.backbone).macs(arch.low_channels)

    def gflops(self, arch: Architecture) -> float:
        """10^9 multiply-adds at the target's input."""
        return self.macs(arch) / 1e9

    def proxy_architecture(self, arch: Architecture) -> Architecture:
        """The same alphas at the proxy's width and stem."""
        proxy = self.definition.proxy_of(arch.backbone)
        return arch.rescaled(width=proxy.width, stem=proxy.stem)

    def uniform(self, backbone: str, alpha: Alpha, downsample: Downsample = "pooled") -> Architecture:
        """One alpha for the whole target network; need not be a member."""
        target = self.members(backbone).target
        return Architecture.uniform(
            backbone,
            alpha=alpha,
            input_size=target.input_size,
            downsample=downsample,
            width=target.width,
            stem=target.stem,
        )

    def restricted(self, *, backbones: Sequence[str] | None = None, data: str | None = None) -> SearchSpace:
        """The same space with fewer backbones, users' networks beside or in place of them, or another data
        set for the proxy.

        Where a user's network would not have the same octave layers in the space's proxy as in its target,
        all proxies have their target's stem and a larger input, the smallest at which it has.

        Raises:
            UnknownNameError: a backbone that the space does not search.
            SpaceError: a user's network that the space's target or proxy does not suit.
        """
        changed = self.definition
        if data is not None:
            changed = changed.model_copy(update={"proxy": self.proxy.model_copy(update={"data": data})})
        if backbones is not None:
            changed = with_backbones(changed, backbones)
        return SearchSpace(changed)

    def dimensions(self, backbone: str) -> tuple[Dimension, ...]:
        """What a sampler chooses for this backbone, in whole numbers from 0; names start with its name."""
        return self.members(backbone).dimensions

    def encode(self, arch: Architecture) -> dict[str, int]:
        """The dimensions' values of a member: `decode(arch.backbone, encode(arch)) == arch`.

        Raises:
            SpaceError: the architecture is no member.
        """
        members = self.members(arch.backbone)
        choices = members.choices(arch)
        if choices is None:
            raise SpaceError(
                f"architecture {arch.digest} must be a member of space {self.name}, but it is not"
            )
        return members.encode(choices, arch.downsample)

    def decode(self, backbone: str, values: Mapping[str, int]) -> Architecture:
        """The member that a value for each dimension spells.

        Raises:
            SpaceError: a dimension is missing, unknown, or its value out of range.
        """
        members = self.members(backbone)
        return members.architecture(*members.decode(values))

    def feasible(
        self,
        budget_gflops: float | None = None,
        *,
        budget_ms: float | None = None,
        profile: DeviceProfile | None = None,
        objective: CostName = "gflops",
    ) -> Feasible:
        """The members whose target costs at most `budget_gflops` (10^9 multiply-adds) and takes at most
        `budget_ms`, predicted by the profile of a device; arguments as for `Feasible`.

        Raises:
            BudgetError: there is none; the message names the smallest reachable cost.
        """
        return Feasible(self, budget_gflops, budget_ms=budget_ms, profile=profile, objective=objective)


def parse_space(text: str, *, source: str = "search space") -> SearchSpace:
    """The space that a YAML text spells; `source` is what errors call it.

    Raises:
        SpaceError: one line with the source, the line and the key at fault.
    """
    return SearchSpace(parse_definition(text, source=source), source=source)
