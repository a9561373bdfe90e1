"""The commands of `ganfast`, one file each.

``add(commands)`` gives a command its flags and imports nothing heavy: usage and its mistakes are
told at once. Its ``run(arguments)`` imports what works, and may return an exit code.
"""
