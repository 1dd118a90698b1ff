"""Damaged files, links, pipes and requests, by the thousand: README.md says what is tried and how often."""
