"""The Pareto front of a search: its members, its hypervolume, its tables and its pictures."""

from octnas.front.pareto import best, hypervolume, pareto_front
from octnas.front.result import SearchResult

__all__ = ["SearchResult", "best", "hypervolume", "pareto_front"]
