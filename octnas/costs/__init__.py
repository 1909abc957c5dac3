"""What a network costs: multiply-adds, parameters and activation memory, in closed form and counted."""

from __future__ import annotations

from octnas.costs.flops import Cost, CostTable, LayerCost, Pair, conv_macs, cost

__all__ = ["Cost", "CostTable", "LayerCost", "Pair", "conv_macs", "cost"]
