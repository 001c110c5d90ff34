"""Scripts that draw the pictures of the docs or edit weights."""
