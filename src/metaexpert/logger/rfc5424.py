"""The RFC 5424 message of an entry, there and back.

The mapping itself is described in `metaexpert.logger.entry.rfc5424`.
"""

from metaexpert.logger.entry.rfc5424 import MessageError, from_layout, parse_message, render_message, to_layout

__all__ = ["MessageError", "from_layout", "parse_message", "render_message", "to_layout"]
