"""What tells a search that a case is new: branch arms and outcomes, counted."""
