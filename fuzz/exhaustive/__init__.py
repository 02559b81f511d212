"""Every case of a small scope: the enumeration, its processes, and the ledger."""
