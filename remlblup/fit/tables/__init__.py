"""Tables of estimates, and functions of them."""
