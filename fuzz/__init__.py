"""Judging outcomes against the contract, and searching for cases that break it."""
