"""Where each dataset lies on disk and what was published about it."""
