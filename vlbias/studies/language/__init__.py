"""Language models: odds of candidates in texts of several worlds."""
