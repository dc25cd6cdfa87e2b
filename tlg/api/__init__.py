"""What `import tlg` offers; the names are listed in `tlg/__init__.py`, each is imported when it is first used."""
