"""A kind of study: many edits of facts one after another, and what they leave of the rest."""
