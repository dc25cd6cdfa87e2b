"""How the table of words that ImageNet's classes answer to is made from WordNet. Not needed to annotate."""
