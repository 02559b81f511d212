"""How good a search is, as numbers."""
