"""Update rules in plain arithmetic, each written once, and what executes them."""
