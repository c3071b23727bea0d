"""From the files that users have to splits that can be trusted."""
