"""What a run is asked to do: the schema, its validation, and Hydra composition."""
