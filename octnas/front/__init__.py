"""The Pareto front of a search: its members, its hypervolume, its claim, its tables and its pictures."""

from octnas.front.claim import Claim, choose_to_confirm
from octnas.front.pareto import best, hypervolume, pareto_front
from octnas.front.result import SearchResult

__all__ = ["Claim", "SearchResult", "best", "choose_to_confirm", "hypervolume", "pareto_front"]
