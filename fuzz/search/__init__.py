"""One worker process: its orders, its engine, and what an execution is."""
