"""The programs that are compared: one small file each; `..registry.PEERS` lists them."""
