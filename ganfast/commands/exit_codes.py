"""What a script sees of a command that has ended."""

DONE = 0
FAILED = 1
USAGE = 2
SKIPPED = 3
"""Done, without the inputs that could not be read."""
INTERRUPTED = 130
TERMINATED = 143
"""By SIGTERM, as schedulers end a job; all is kept as after Ctrl-C."""

IN_WORDS = (
    "exit codes: 0 done, 1 the work failed, 2 wrong usage, 3 done but some inputs were skipped, "
    "130 interrupted (Ctrl-C), 143 terminated (SIGTERM)"
)
