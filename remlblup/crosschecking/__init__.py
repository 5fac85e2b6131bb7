"""Cross-checking: what other programs print is read, judged by our likelihood, and models are written for them."""
