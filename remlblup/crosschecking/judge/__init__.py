"""Their estimates in our likelihood: which is higher, whether theirs is a maximum, and of which model."""
