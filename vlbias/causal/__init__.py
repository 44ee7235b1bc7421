"""The engine: potential outcomes of a staged model, exactly and without redoing what cannot change."""
