"""Structures of effects that lie at places: the correlation falls with the distance."""
