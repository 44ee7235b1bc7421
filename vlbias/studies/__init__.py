"""Kinds of study: a kind is one folder."""
