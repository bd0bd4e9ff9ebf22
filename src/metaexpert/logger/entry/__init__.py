"""What an entry is: its values, its text on a console, its RFC 5424 message. Writer and reader share this."""
