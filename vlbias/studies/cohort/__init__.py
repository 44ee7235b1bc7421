"""Studies of cohorts: mediation by observed variables, adjusted by a causal knowledge graph."""
