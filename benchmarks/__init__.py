"""Measures what we claim, side by side with the peers, in ratios of one run."""
