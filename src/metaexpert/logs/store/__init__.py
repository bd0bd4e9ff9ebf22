"""A VictoriaLogs store that many machines feed: asked with the filters of the reader, answering with its entries."""
