"""What a job will do, told before it runs: points and start as torch will draw them, and the steps."""
