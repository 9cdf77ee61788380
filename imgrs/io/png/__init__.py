"""PNG, in strips from the top down, and out in strips made apart."""
