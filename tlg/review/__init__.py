"""How good a whole collection's answers are, told from a few that a person has looked at."""
