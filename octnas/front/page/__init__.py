"""The front page: one HTML file that holds a search, or several over one another, and fetches nothing."""

from octnas.front.page.page import html_page

__all__ = ["html_page"]
