"""Where models, data, outcomes and mitigations meet: the study and its runner."""
