"""Encoders in which image and text meet before a head says whether they match (ViLT, BLIP, FLAVA …)."""
