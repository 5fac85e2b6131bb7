"""Many responses of one model searched together, as arrays over the responses."""
