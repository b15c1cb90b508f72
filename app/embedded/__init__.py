"""`fitjobs up`: Redis, workers and API as child processes of one command on one machine.

It knows how processes are started, watched and ended, and nothing of jobs.
"""
