"""The supervisor of a campaign, and the lives of its workers."""
