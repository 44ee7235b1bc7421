"""Figures and the page of one or more runs."""
