"""Distances and similarities of a predicted distribution and a soft label."""
