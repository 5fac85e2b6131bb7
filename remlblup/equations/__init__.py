"""Ways to work with V = ZGZ' + R: Henderson's equations, V itself."""
