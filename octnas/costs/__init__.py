"""What a network costs: multiply-adds, parameters and activation memory, in closed form and counted."""

from __future__ import annotations

from octnas.costs.flops import CostTable, Joint, Pair, conv_macs
from octnas.costs.network import Cost, LayerCost, cost

__all__ = ["Cost", "CostTable", "Joint", "LayerCost", "Pair", "conv_macs", "cost"]
