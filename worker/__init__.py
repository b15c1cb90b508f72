"""The fitjobs worker: claims jobs and runs the torch loop; it knows no HTTP."""
