"""The hub of one logger: routes, numbers, health, and what an entry goes to beside its files."""
