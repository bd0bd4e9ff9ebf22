"""The command line: parses, calls the library, prints, and returns an exit code.

``app`` holds the commands, ``dispatch`` finds the wanted one, ``output`` writes, ``tables`` formats; ``run``,
``watch``, ``control``, ``logs`` and ``config`` are the commands themselves, each imported only when it is called.
"""
