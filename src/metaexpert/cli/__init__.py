"""The command line: it parses, calls the library, prints and gives an exit code.

``app`` holds the commands, ``dispatch`` finds the wanted one, ``output`` prints; ``run``, ``logs`` and ``config``
are the commands themselves, each imported only when it is called.
"""
