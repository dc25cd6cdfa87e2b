"""The page on which people review a sample of an output's answers."""
