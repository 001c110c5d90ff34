"""Tables 6-9 of the paper: definitions, runs, scores and the tables written from them."""
