"""What judges: the contract's clauses, and what they need to know of a case."""
