"""The page for people, mounted at `/`."""
