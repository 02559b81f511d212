"""Mutation testing of what judges: ``python -m tests.mutants``, for people ``make mutants``."""
