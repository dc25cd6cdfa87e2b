"""What labelling tools export of a reviewed sample, a file of ours for each kind."""
