"""An entry in its forms: values, a line, text on a console, an RFC 5424 message. Writer and reader share them."""
