"""One module for each question about the logs: an order, trades, statistics, SQL, verification, secrets, a bundle."""
