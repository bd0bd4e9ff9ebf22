"""The files of other loggers: recognised by their shape, and read as entries of ours."""
