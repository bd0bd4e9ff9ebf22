"""From a call to a line of bytes: the chain of processors, and the fast call that stands for it."""
