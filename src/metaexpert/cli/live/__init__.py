"""`metaexpert logs live`: the experts and their log on a screen (extra `live`, Textual)."""
