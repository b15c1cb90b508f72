"""What people type: the command line `fitjobs`; knows the vocabulary and HTTP only."""
