"""The console, and standard error as the last resort."""
