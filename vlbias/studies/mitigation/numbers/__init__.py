"""From a run of mitigations to frames."""
