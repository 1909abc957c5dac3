"""The predicted latency of a space's architectures, in whole nanoseconds, by the profile of a device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from octnas.architecture import Architecture, Downsample
from octnas.costs.latency import DeviceProfile, LatencyTable
from octnas.space.graph import ChoiceGraph
from octnas.space.limited import Bound
from octnas.space.region import Region
from octnas.space.spread import Part, Spread, spread

if TYPE_CHECKING:
    from octnas.space.space import SearchSpace

__all__ = ["Latencies"]


class Latencies:
    """Tables and graphs of each backbone and way of downsampling, made when they are first asked for."""

    def __init__(self, space: SearchSpace, profile: DeviceProfile) -> None:
        self.profile = profile
        self._space = space
        self._tables: dict[tuple[str, Downsample], LatencyTable] = {}
        self._graphs: dict[tuple[str, Downsample], tuple[ChoiceGraph, ChoiceGraph]] = {}

    def ns(self, arch: Architecture) -> int:
        """Nanoseconds of a member, or of a network that has one alpha of the space, or none, everywhere."""
        return self._table(arch.backbone, arch.downsample).ns(arch.low_channels)

    def plain_ms(self, backbone: str, downsample: Downsample) -> float:
        """Milliseconds of the network without low channels."""
        return self._table(backbone, downsample).plain_ns / 1e6

    def graphs(self, backbone: str, downsample: Downsample) -> tuple[ChoiceGraph, ChoiceGraph]:
        """The backbone's choices as paths that cost multiply-adds, and the same paths costing nanoseconds."""
        key = backbone, downsample
        if key not in self._graphs:
            self._graphs[key] = self._space.members(backbone).timed_graphs(self._table(*key))
        return self._graphs[key]

    def spread(self) -> Spread:
        """Least, median and greatest ms over all distinct members of the space, the median to within the
        resolution of a table."""
        parts = []
        for name in self._space.backbones:
            for way, downsample in enumerate(self._space.members(name).downsample):
                macs, ns = self.graphs(name, downsample)
                whole = Region(Bound(cost="latency", graph=ns, cap=ns.max_cost))
                parts.append(Part(ways=(way,), graphs={"gflops": macs, "latency": ns}, region=whole))
        return spread(parts, "latency", 1e6)

    def _table(self, backbone: str, downsample: Downsample) -> LatencyTable:
        key = backbone, downsample
        if key not in self._tables:
            self._tables[key] = self._space.members(backbone).latency_table(self.profile, downsample)
        return self._tables[key]
