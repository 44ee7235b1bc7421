"""Data sets whose persons were annotated: one file each; groups are attributes, or several crossed."""
