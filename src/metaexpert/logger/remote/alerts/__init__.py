"""Alerts to Telegram, Discord and webhooks, each delivered at least once."""
