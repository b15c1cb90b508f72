"""Pictures of histories: one Vega-Lite spec, its images, and their twin for terminals."""
