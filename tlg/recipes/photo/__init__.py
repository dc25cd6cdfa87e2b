"""Makes `tlg-photo`: a head for photographs on a backbone that an installed package carries."""
