"""Photos and clips composed from instance masks, with the expressions that describe them."""
