"""`instructseg bench gpu`: one prepared check of a machine with a GPU, in parts that fail alone."""
