"""Whether answers follow the meaning of items or their form (Han et al., ICLR 2025)."""
