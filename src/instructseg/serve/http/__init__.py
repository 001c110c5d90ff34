"""The HTTP layer: routes, request parsing, limits, access, errors in words."""
