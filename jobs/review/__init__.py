"""People look at some of an output's answers: which ones, what they say, and what follows for all."""
