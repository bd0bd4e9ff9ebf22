"""One module for each question: an order, trades, statistics, SQL, gaps, secrets, a bundle."""
