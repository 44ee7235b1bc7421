"""Photos of a study: what kinds of study on photos share."""
