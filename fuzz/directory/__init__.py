"""The campaign directory: findings, corpus shards and figures, each with its one writer."""
