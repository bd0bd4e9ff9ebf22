"""The watcher behind `metaexpert watch`: notices experts that died, hang or fell silent, and tells of it."""
