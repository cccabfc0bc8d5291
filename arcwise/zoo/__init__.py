"""Models and their cards: what a file is, what it eats, what it may be used for."""
