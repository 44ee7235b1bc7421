"""The run folder: written once per cell, read lazily; pandas and pyarrow only."""
