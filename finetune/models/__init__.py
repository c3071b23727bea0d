"""Base models: found, trusted, loaded, adapted, merged and compared."""
