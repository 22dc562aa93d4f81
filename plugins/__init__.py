"""The built-in plugins. They use the public hooks like anybody's, so each is also an example to copy."""
