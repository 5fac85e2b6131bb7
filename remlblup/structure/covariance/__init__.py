"""Structures of G: one small file each."""
