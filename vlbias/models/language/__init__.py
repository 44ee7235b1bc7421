"""Language models that run on text only: causal ones and masked ones, one adapter for both."""
