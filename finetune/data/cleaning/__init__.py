"""Text put right, or reported, by small named steps; personal data among them."""
