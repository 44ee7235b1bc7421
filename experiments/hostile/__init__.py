"""Hostile worlds: rates, draws and judgements."""
