"""What a study of mitigations computes."""
