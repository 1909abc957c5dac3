"""SearchSpace: which architectures may be searched, what compute counts, what training ranks them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import cached_property

from octnas.architecture import Alpha, Architecture, Downsample, low_channels
from octnas.backbones import layer_table
from octnas.costs.latency import DeviceProfile
from octnas.errors import ArchitectureError, SpaceError, unknown_name
from octnas.space.counting import CountTable
from octnas.space.feasible import Feasible
from octnas.space.limited import CostName
from octnas.space.members import Dimension, Members
from octnas.space.schema import Definition, Granularity, Proxy, Target, parse_definition
from octnas.space.spread import median_cost

__all__ = ["SearchSpace", "parse_space"]

MOST_NAMED = 8
"""Alphas that a message lists one by one."""


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
                target=definition.target,
            )
            for name in definition.backbones
        }
        for members in self._members.values():
            _check_alphas(members, definition.proxy, source or definition.name)

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
        return arch.rescaled(width=self.proxy.width, stem=self.proxy.stem)

    def uniform(self, backbone: str, alpha: Alpha, downsample: Downsample = "pooled") -> Architecture:
        """One alpha for the whole target network; need not be a member."""
        self.members(backbone)
        target = self.target
        return Architecture.uniform(
            backbone,
            alpha=alpha,
            input_size=target.input_size,
            downsample=downsample,
            width=target.width,
            stem=target.stem,
        )

    def restricted(self, *, backbones: Sequence[str] | None = None, data: str | None = None) -> SearchSpace:
        """The same space with fewer backbones or another data set for the proxy.

        Raises:
            UnknownNameError: a backbone that the space does not search.
        """
        changes: dict[str, object] = {}
        if backbones is not None:
            for name in backbones:
                self.members(name)
            changes["backbones"] = tuple(name for name in self.backbones if name in backbones)
        if data is not None:
            changes["proxy"] = self.proxy.model_copy(update={"data": data})
        return SearchSpace(self.definition.model_copy(update=changes))

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


def _check_alphas(members: Members, proxy: Proxy, source: str) -> None:
    """Target and proxy must both have every member: whole and distinct low channels, multiples of the groups
    of grouped layers, in the same octave layers."""
    where = f"{source}: {members.backbone}"
    for key, width in (("target.width", members.target.width), ("proxy.width", proxy.width)):
        try:
            table = layer_table(members.backbone, width=width, stem=proxy.stem)
        except ArchitectureError as error:
            raise SpaceError(f"{where}, `{key}`: {error}") from None
    for slot, here, there in zip(
        members.table.slots, members.octave, table.octave_slots(proxy.input_size), strict=True
    ):
        if here != there:
            words = ("can", "cannot") if here else ("cannot", "can")
            raise SpaceError(
                f"{where}, {slot.name} {words[0]} be octave at the target's {members.target.input_size} px "
                f"but {words[1]} at the proxy's {proxy.input_size} px: change "
                "`proxy.input_size` or `proxy.stem`"
            )
    for slot in members.slots:
        before, own = -1, table.slots[slot.index]
        for alpha in members.alphas:
            low = low_channels(alpha, slot.channels)
            what = f"{where}, {slot.name}: alpha {float(alpha):g} is {low} of {slot.channels} channels"
            if low % slot.multiple:
                shares = _shares(slot.channels // slot.multiple)
                raise SpaceError(
                    f"{what}, no multiple of its {slot.multiple} groups: choose `alphas` of {shares}"
                )
            scaled = Fraction(low * proxy.width, members.target.width)
            if scaled.denominator != 1 or scaled == before:
                fault = "not whole" if scaled.denominator != 1 else "the same as of the alpha before it"
                raise SpaceError(
                    f"{what}, in the proxy {float(scaled):g} of {own.channels}, {fault}: choose `alphas` "
                    f"that are different multiples of 1/{own.channels // own.multiple}, "
                    "or a wider `proxy.width`"
                )
            before = int(scaled)


def _shares(parts: int) -> str:
    """ "0, 1/4, 2/4, 3/4, 1"; all of few, or what they are multiples of."""
    if parts > MOST_NAMED:
        return f"multiples of 1/{parts}"
    return ", ".join(["0", *(f"{i}/{parts}" for i in range(1, parts)), "1"])
