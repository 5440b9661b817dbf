"""What a script needs of the script management: so far its logs, in `xrlog`."""
