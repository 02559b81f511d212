"""Cases made from cases: other ones for the search, smaller ones for its findings."""
