"""Potential outcomes cell by cell: what kinds of study that compute them share."""
