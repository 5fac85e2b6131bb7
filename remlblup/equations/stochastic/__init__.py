"""V = ZGZ' + R by products alone: nothing of the size n × n is formed or factorised."""
