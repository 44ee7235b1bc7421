"""From a run of photos to frames."""
