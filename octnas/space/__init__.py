"""Search spaces: strict YAML in, architectures out; size, extremes, feasible sampling. No tensor library."""

from __future__ import annotations

from octnas.space.catalog import catalog, load_space
from octnas.space.feasible import Feasible
from octnas.space.latencies import Latencies
from octnas.space.limited import CostName
from octnas.space.members import Dimension, Members
from octnas.space.optimum import Optimum
from octnas.space.schema import Definition, Granularity, Proxy, Rungs, Target
from octnas.space.space import SearchSpace, parse_space

__all__ = [
    "CostName",
    "Definition",
    "Dimension",
    "Feasible",
    "Granularity",
    "Latencies",
    "Members",
    "Optimum",
    "Proxy",
    "Rungs",
    "SearchSpace",
    "Target",
    "catalog",
    "load_space",
    "parse_space",
]
